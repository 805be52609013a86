"""Completing the manifest of a workspace from what the rows of its jobs recorded, where it is absent or older.

Only what the manifest does not know is added, so that it can be done again and beside jobs that end meanwhile. Of two
jobs that made a file, the later one owns it. Files that are gone are left out.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from jobrunner_cli.engine.jobfiles import manifest
from jobrunner_cli.engine.jobfiles.checks import LARGEST_COUNTED, Level4Limits, check
from jobrunner_cli.engine.jobfiles.copying import CHUNK, file_errors, make_directories
from jobrunner_cli.engine.jobfiles.stores import METADATA, RELEASED_LEVEL, Store, WorkspaceStores, may_be_output
from jobrunner_cli.engine.jobfiles.walk import (
    RefusedFileError,
    descend,
    held,
    look,
    open_regular,
    open_trusted,
    split_path,
)
from jobrunner_cli.engine.work import RecordedOutputs, StoredOutput

_LOCK = ".rebuild.lock"
#: Rows and columns are only counted; what may be released was decided when the job ended.
_NO_LIMITS = Level4Limits(max_bytes=LARGEST_COUNTED, max_csv_rows=LARGEST_COUNTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What was done to a manifest, or, in a trial, would be."""

    #: the paths that were added, sorted
    added: tuple[str, ...]
    #: how many outputs it knew before
    known: int
    #: recorded paths that it does not know and of which there is no file any more
    gone: int


def is_complete(stores: WorkspaceStores, recorded: Collection[str]) -> bool:
    """Whether there is a manifest, and it knows those of these recorded outputs that are there.

    Raises JobFilesError if the manifest is damaged.
    """
    if not manifest.exists(stores):
        return False
    if not recorded:
        return True
    known = manifest.read(stores)["outputs"]
    unknown = [path for path in recorded if path not in known and may_be_output(path)]
    if not unknown:
        return True
    with file_errors(f"look at the outputs of workspace {stores.workspace}"), Store(stores.high) as high:
        return not any(high.has(path) for path in unknown)


def complete(
    stores: WorkspaceStores,
    history: Sequence[RecordedOutputs],
    *,
    stop: threading.Event,
    trial: bool = False,
    tell: Callable[[int, int], object] | None = None,
) -> Completion:
    """Add to the manifest what the rows recorded, the last row first, and it does not know; make it if it is absent.

    In a trial nothing is written. `tell` hears how many files have been looked at, and how many there are. Raises
    JobFilesError if the manifest is damaged, DiskFullError, Stopped.
    """
    with file_errors(f"complete the manifest of workspace {stores.workspace}"), _alone(stores, trial=trial):
        known = manifest.read(stores)["outputs"]
        unknown = {path: owner for path, owner in _owners(history).items() if path not in known}
        found: dict[str, dict[str, Any]] = {}
        # Reading files may take hours, and other jobs of the workspace need its lock.
        for number, (path, owner) in enumerate(sorted(unknown.items())):
            if tell is not None:
                tell(number, len(unknown))
            output = _look_at(stores, path, owner, stop)
            if output is not None:
                found[path] = manifest.entry(output, _origin(owner))
        if not trial and (found or (history and not manifest.exists(stores))):
            manifest.add_missing(stores, found)
    return Completion(added=tuple(found), known=len(known), gone=len(unknown) - len(found))


@contextmanager
def _alone(stores: WorkspaceStores, *, trial: bool) -> Iterator[None]:
    """Two that complete one manifest do it one after the other, and the second finds nothing left to do."""
    if trial:
        yield
        return
    with held(make_directories(stores.medium / METADATA, durable=True)) as parent:
        handle = os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666, dir_fd=parent)
        with held(handle):
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def _owners(history: Sequence[RecordedOutputs]) -> Mapping[str, RecordedOutputs]:
    """Path -> the last job that made it."""
    owners: dict[str, RecordedOutputs] = {}
    for recorded in history:
        for path in recorded.levels:
            if may_be_output(path):
                owners.setdefault(path, recorded)
    return owners


def _look_at(stores: WorkspaceStores, path: str, owner: RecordedOutputs, stop: threading.Event) -> StoredOutput | None:
    """What is to be said of a file in the high privacy store; None if there is none."""
    look(stop)
    *above, last = split_path(path)
    try:
        with held(open_trusted(stores.high)) as root, held(descend(root, above)) as parent:
            handle, info = open_regular(parent, last)
    except (FileNotFoundError, NotADirectoryError, RefusedFileError):
        return None
    level, message = owner.levels[path], owner.held_back.get(path)
    with held(handle):
        digest = hashlib.sha256()
        while data := os.read(handle, CHUNK):
            look(stop)
            digest.update(data)
        counted = check(path, handle, info.st_size, limits=_NO_LIMITS, stop=stop) if level == RELEASED_LEVEL else None
    return StoredOutput(
        path=path,
        level=level,
        size=info.st_size,
        timestamp=info.st_mtime,
        content_hash=digest.hexdigest(),
        excluded=message is not None,
        message=message,
        row_count=None if counted is None else counted.row_count,
        col_count=None if counted is None else counted.col_count,
    )


def _origin(owner: RecordedOutputs) -> manifest.Origin:
    return manifest.Origin(
        job_id=owner.job_id,
        job_request=owner.job_request_id,
        action=owner.action,
        repo=owner.repo,
        commit=owner.commit,
    )
