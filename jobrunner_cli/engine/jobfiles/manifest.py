"""The manifest of a workspace: which action made which output, and what became of it (section 5)."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

from jobrunner_cli.engine.errors import JobFilesError
from jobrunner_cli.engine.jobfiles.copying import file_errors, read_small, write_small
from jobrunner_cli.engine.jobfiles.stores import (
    METADATA,
    REASON_SUFFIX,
    RELEASED_LEVEL,
    STAGING,
    Store,
    WorkspaceStores,
    may_be_output,
    staging_parts,
    workspace_lock,
)
from jobrunner_cli.engine.jobfiles.walk import descend, held, open_trusted, split_path
from jobrunner_cli.engine.work import StoredOutput

_NAME = "manifest.json"
_CLAIMS = "paths.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What an entry says of the job that made the output, in the words of the manifest."""

    job_id: str
    job_request: str
    action: str
    #: `repo` and `commit` are those of the code that ran
    repo: str
    commit: str


def read(stores: WorkspaceStores) -> dict[str, Any]:
    """The manifest; an empty one if there is none yet. Raises JobFilesError if it is damaged."""
    with file_errors(f"read the manifest of workspace {stores.workspace}"):
        try:
            parent = open_trusted(stores.medium / METADATA)
        except FileNotFoundError:
            return _empty(stores)
        with held(parent):
            data = read_small(parent, _NAME)
    if data is None:
        return _empty(stores)
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _damaged(stores, "it is not JSON") from error
    if isinstance(found, dict) and "workspace" in found:
        # The first manifests of existing installations named the workspace, and no outputs yet.
        found.setdefault("outputs", {})
    entries = found.get("outputs") if isinstance(found, dict) else None
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
        raise _damaged(stores, "it has no outputs")
    manifest: dict[str, Any] = found
    return manifest


def record(
    stores: WorkspaceStores,
    outputs: Sequence[StoredOutput],
    origin: Origin,
    *,
    remove_obsolete: bool,
    known: dict[str, Any] | None = None,
    replaced: Collection[str] = (),
    force_name: bool = True,
) -> tuple[str, ...]:
    """Enter the outputs that a job has put in place; the paths that were removed as obsolete.

    For whoever holds the workspace's lock since before they were put there; `known` is what `read` has told since
    then, and is changed. Those `replaced` by another job since keep that job's entries. With `remove_obsolete`, what
    the manifest still attributes to the action and is not among the outputs is removed from both stores; so is what was
    released of files in whose place there are directories now, or the reverse. That comes first, so that a crash in
    between leaves entries to go by. Without `force_name` it survives a power cut from when the caller forces the
    metadata directory of the medium store to the disk. May be repeated. Raises JobFilesError, DiskFullError.
    """
    with file_errors(f"write the manifest of workspace {stores.workspace}"):
        manifest = read(stores) if known is None else known
        entries: dict[str, Any] = manifest["outputs"]
        before = dict(entries)
        new = {output.path: entry(output, origin) for output in outputs if output.path not in replaced}
        gone = _take_displaced(entries, new)
        entries.update(new)
        made = {output.path for output in outputs}
        obsolete = _take_obsolete(stores, entries, made, origin) if remove_obsolete else {}
        gone |= obsolete
        if gone:
            _remove_files(stores, gone, entries, claimed_by_others(stores, origin.job_id))
        if entries != before or not exists(stores):
            _write(stores, manifest, force_name=force_name)
    return tuple(sorted(obsolete))


def add_missing(stores: WorkspaceStores, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Enter what was found of earlier jobs' outputs where the manifest has no entry for the path.

    A file that was changed or removed since it was looked at is left out: whoever did that enters it. Raises
    JobFilesError, OSError.
    """
    with workspace_lock(stores), ExitStack() as closing:
        manifest = read(stores)
        # Opening a store makes it, and there may be none: its files are gone, or packed away.
        high = closing.enter_context(Store(stores.high)) if entries else None
        for path, found in entries.items():
            info = None if high is None else high.look_at(path)
            if info is not None and (info.st_size, info.st_mtime) == (found["size"], found["timestamp"]):
                manifest["outputs"].setdefault(path, dict(found))
        _write(stores, manifest)


def exists(stores: WorkspaceStores) -> bool:
    """Whether there is a manifest, in whatever state."""
    return os.path.lexists(stores.medium / METADATA / _NAME)


def claim(stores: WorkspaceStores, staging: int, paths: Iterable[str]) -> None:
    """Note in a job's staging directory which paths it is about to put in place, before it does.

    Until they are in the manifest under its name, another job must not take them for its own obsolete ones, should the
    runner be killed in between. Raises OSError.
    """
    write_small(staging, _CLAIMS, json.dumps(list(paths)).encode(), durable=False)


def _empty(stores: WorkspaceStores) -> dict[str, Any]:
    return {"workspace": stores.workspace, "repo": None, "outputs": {}}


def _damaged(stores: WorkspaceStores, why: str) -> JobFilesError:
    path = stores.medium / METADATA / _NAME
    return JobFilesError(
        f"the manifest {path} is damaged: {why}",
        hint="restore it from a backup, or move it away to begin a new one",
    )


def entry(output: StoredOutput, origin: Origin) -> dict[str, Any]:
    """The entry of an output (section 5)."""
    return {
        "level": output.level,
        **asdict(origin),
        "size": output.size,
        "timestamp": float(output.timestamp),
        "content_hash": output.content_hash,
        "excluded": output.excluded,
        "message": output.message,
        "row_count": output.row_count,
        "col_count": output.col_count,
    }


def _write(stores: WorkspaceStores, manifest: Mapping[str, Any], *, force_name: bool = True) -> None:
    """One output a line: readable, and far cheaper to make than indentation."""
    # What a directory was called before it was renamed, or another program, may have left another name there.
    head = {"workspace": stores.workspace, "repo": None, **manifest} | {"workspace": stores.workspace}
    del head["outputs"]
    lines = [f"  {json.dumps(path)}: {json.dumps(entry)}" for path, entry in sorted(manifest["outputs"].items())]
    listing = "{\n" + ",\n".join(lines) + "\n}" if lines else "{}"
    text = json.dumps(head)[:-1] + f', "outputs": {listing}}}\n'
    with held(open_trusted(stores.medium / METADATA)) as parent:
        write_small(parent, _NAME, text.encode(), durable=True, force_name=force_name)


def _take_displaced(entries: dict[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Take out the entries of files that a new output stands in place of: a directory where a file was, or the reverse."""
    above = {"/".join(parts[:depth]) for parts in map(split_path, new) for depth in range(1, len(parts))}
    displaced = {path for path in entries if path in above}
    #: directory -> whether it is below a new output, or in its place: many entries have the same one
    below: dict[str, bool] = {"": False}
    for path in entries:
        directory = path.rpartition("/")[0]
        if directory not in below:
            parts = directory.split("/")
            below[directory] = any("/".join(parts[: depth + 1]) in new for depth in range(len(parts)))
        if below[directory]:
            displaced.add(path)
    return {path: entries.pop(path) for path in displaced}


def _take_obsolete(
    stores: WorkspaceStores, entries: dict[str, Any], made: Collection[str], origin: Origin
) -> dict[str, Any]:
    """Take out the entries of the files that the action no longer makes and that are to be removed."""
    owned = [path for path, entry in entries.items() if entry.get("action") == origin.action and path not in made]
    if not owned:
        return {}
    kept = {path.casefold(): path for path in (*(entries.keys() - set(owned)), *made)}
    _forget_other_spellings(stores, entries, [path for path in owned if path.casefold() in kept], kept)
    kept_or_claimed = kept.keys() | claimed_by_others(stores, origin.job_id)
    return {path: entries.pop(path) for path in owned if path.casefold() not in kept_or_claimed}


def _forget_other_spellings(
    stores: WorkspaceStores, entries: dict[str, Any], respelled: Sequence[str], kept: Mapping[str, str]
) -> None:
    """Drop the entries of files that changed nothing but the case of their names, on a file system that knows none.

    Where case counts, both files are there, and both stay. `kept`: without case -> the path that is another's, or new.
    """
    if not respelled:
        return
    with Store(stores.high) as high:
        for path in respelled:
            before, after = high.look_at(path) if may_be_output(path) else None, high.look_at(kept[path.casefold()])
            if before is None or (after is not None and os.path.samestat(before, after)):
                del entries[path]


def _remove_files(
    stores: WorkspaceStores, gone: Mapping[str, Any], entries: Mapping[str, Any], claimed: Collection[str]
) -> None:
    """Remove what there is of outputs whose entries were taken out, but nothing of those that have one.

    In the medium store one name may be an output's and the reason's why another one is held back.
    """
    released = {path.casefold() for path, entry in entries.items() if is_released(entry)}
    with Store(stores.high) as high, Store(stores.medium) as medium:
        for path in filter(may_be_output, gone):
            if is_released(gone[path]) or not is_reason(entries, path):
                medium.unlink(path)
            reason = path + REASON_SUFFIX
            if reason.casefold() not in released and reason.casefold() not in claimed:
                medium.unlink(reason)
            high.unlink(path)
        high.force()
        medium.force()


def is_released(entry: Mapping[str, Any]) -> bool:
    """Whether an entry is that of an output that is in the medium store, too."""
    return entry.get("level") == RELEASED_LEVEL and not entry.get("excluded")


def is_reason(entries: Mapping[str, Mapping[str, Any]], path: str) -> bool:
    """Whether what goes by a path in the medium store is, by these entries, the reason why an output is held back."""
    held_back = entries.get(path.removesuffix(REASON_SUFFIX), {}) if path.endswith(REASON_SUFFIX) else {}
    return bool(held_back.get("excluded")) and not is_released(entries.get(path, {}))


def claimed_by_others(stores: WorkspaceStores, job_id: str) -> set[str]:
    """What jobs that are not yet in the manifest are putting in place, without regard to case. Raises OSError."""
    claimed: set[str] = set()
    own = staging_parts(job_id)[-1]
    try:
        staging = open_trusted(stores.high.joinpath(*STAGING))
    except FileNotFoundError:
        return claimed
    with held(staging), os.scandir(staging) as items:
        for name in (item.name for item in items):
            if name == own:
                continue
            try:
                with held(descend(staging, (name,))) as directory:
                    claimed.update(path.casefold() for path in json.loads(read_small(directory, _CLAIMS) or b"[]"))
            except (OSError, ValueError):
                # Discarded at this moment, or cut off while it was written, before anything was put in place.
                continue
    return claimed
