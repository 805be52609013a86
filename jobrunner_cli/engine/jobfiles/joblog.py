"""The log of a job: composed once, from what the container printed and what became of it, then put where it is read."""

from __future__ import annotations

import datetime
import json
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, BinaryIO, Self

from jobrunner_cli.engine.errors import JobFilesError
from jobrunner_cli.engine.jobfiles.copying import (
    copy_content,
    create,
    file_errors,
    make_directories,
    write_all,
)
from jobrunner_cli.engine.jobfiles.stores import METADATA, WorkspaceStores
from jobrunner_cli.engine.jobfiles.walk import held, look, printable
from jobrunner_cli.engine.loglines import HEAD_BYTES, TAIL_BYTES, LogGap

#: What a log says of its job, in this order (section 5).
KEYS = (
    "job_definition_id",
    "job_definition_request_id",
    "commit",
    "docker_image_id",
    "exit_code",
    "created_at",
    "completed_at",
    "database_name",
    "status_message",
    "hint",
)

_COMPOSED = "log.txt"
_LINES_PER_LOOK = 1024
_LONGEST_PATH = 4096
#: Characters to which paths are padded at most, lest one long path makes every line long.
_WIDEST = 255


def log_directory(high_base: Path, job_id: str, finalized_at: float) -> Path:
    """Where the log of a job is kept for good: below the high privacy base, by the month (UTC) of its finalization."""
    month = datetime.datetime.fromtimestamp(finalized_at, datetime.UTC)
    return high_base / "logs" / f"{month:%Y-%m}" / f"os-job-{job_id}"


def compose(
    lines: Iterable[bytes],
    facts: Mapping[str, str | None],
    outputs: Mapping[str, str],
    held_back: Mapping[str, str],
    *,
    control: Path,
    refused: Mapping[str, str] | None = None,
    refused_more: int = 0,
    unmatched_files: Sequence[str] = (),
    unmatched_more: int = 0,
    head_bytes: int = HEAD_BYTES,
    tail_bytes: int = TAIL_BYTES,
    stop: threading.Event | None = None,
) -> Path:
    """Write the log of a job into its control directory, all of it or nothing; its path.

    `lines` are the container's, with timestamps and without line ends, and LogGap where some are missing; of endless
    output the start and the end are kept, and how much was cut out is said between them. `facts` has a text or None for
    each of KEYS, secrets masked; `outputs` path -> level, `held_back` path -> reason. `refused` and `unmatched_files` are
    named after them, and how many more of each there are, for whoever looks for an output that is not there.
    Raises JobFilesError, DiskFullError, Stopped.
    """
    with file_errors("write the job's log"), held(make_directories(control, mode=0o700)) as parent:
        temporary = f".{_COMPOSED}.partial"
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=parent)
        with os.fdopen(create(parent, temporary, mode=0o600), "wb", buffering=1 << 16) as file:
            _write_lines(file, lines, head_bytes, tail_bytes, stop or threading.Event())
            sections = [*_summary(facts, outputs, held_back)]
            sections += _named(
                "Files that matched a pattern and could not be taken:", _table(refused or {}), refused_more
            )
            unmatched = (f"  {printable(path)}" for path in unmatched_files)
            sections += _named("Files that matched no pattern:", unmatched, unmatched_more)
            file.writelines(line.encode("utf-8", "backslashreplace") + b"\n" for line in sections)
        os.rename(temporary, _COMPOSED, src_dir_fd=parent, dst_dir_fd=parent)
    return control / _COMPOSED


def composed(control: Path) -> Path | None:
    """The log that was composed in a control directory before; None if there is none.

    It is what a repeated publication goes by: the container may be gone.
    """
    path = control / _COMPOSED
    return path if path.is_file() else None


def metadata(
    facts: Mapping[str, str | None], outputs: Mapping[str, str], container_metadata: Mapping[str, Any]
) -> dict[str, Any]:
    """What `metadata.json` holds. `container_metadata` is the engine's description, masked."""
    return {
        **{key: facts.get(key) for key in KEYS},
        "outputs": dict(outputs),
        "container_metadata": dict(container_metadata),
    }


def place(
    log: Path,
    *,
    directory: Path,
    metadata: Mapping[str, Any],
    stores: WorkspaceStores | None = None,
    action: str | None = None,
) -> None:
    """Put copies of a composed log where they are read: always in the job's log `directory`, with its metadata; with
    `stores` and `action`, as the action's log in both stores, too.

    Each is replaced in one step; when this returns, they survive a power cut. May be repeated.
    Raises JobFilesError, DiskFullError.
    """
    description = json.dumps(metadata, indent=2).encode() + b"\n"
    places = [(directory, "logs.txt")]
    if stores is not None and action is not None:
        places += [(store / METADATA, _log_name(action)) for store in (stores.high, stores.medium)]
    with file_errors("store the job's log"), _NewFiles(directory.name) as files:
        with held(os.open(log, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)) as source:
            info = os.fstat(source)
            for parent, name in places:
                copy_content(source, files.open(parent, name), info, stop=threading.Event())
        write_all(files.open(directory, "metadata.json"), description)
        files.put_in_place()


def _write_lines(
    file: BinaryIO, lines: Iterable[bytes], head_bytes: int, tail_bytes: int, stop: threading.Event
) -> None:
    written = kept = cut_lines = cut_bytes = 0
    gap: LogGap | None = None
    tail: deque[bytes] = deque()
    for number, line in enumerate(lines):
        if number % _LINES_PER_LOOK == 0:
            look(stop)
        if isinstance(line, LogGap):
            # One cut is enough: what came before this one is less than what will have come after it.
            gap = line if gap is None else gap.merged(line)
            cut_lines, cut_bytes = cut_lines + len(tail), cut_bytes + kept
            tail.clear()
            kept = 0
            continue
        size = len(line) + 1
        if not tail and not cut_lines and gap is None and written + size <= head_bytes:
            file.write(line + b"\n")
            written += size
            continue
        tail.append(line)
        kept += size
        while kept > tail_bytes:
            size = len(tail.popleft()) + 1
            kept -= size
            cut_lines += 1
            cut_bytes += size
    if cut_lines or gap is not None:
        cut = LogGap.of(cut_lines, cut_bytes) if gap is None else gap.widened(cut_lines, cut_bytes)
        file.write(cut + b"\n")
    file.writelines(line + b"\n" for line in tail)


def _summary(
    facts: Mapping[str, str | None], outputs: Mapping[str, str], held_back: Mapping[str, str]
) -> Iterator[str]:
    yield from ("", "")
    for key in KEYS:
        if value := facts.get(key):
            yield f"{key}: {value}".replace("\n", "\n  ")
    yield from ("", "outputs:")
    yield from _table(outputs) if outputs else ("  (no outputs)",)
    if held_back:
        yield from ("", "Invalid moderately_sensitive outputs:")
        yield from _table(held_back)


def _named(title: str, lines: Iterable[str], more: int) -> Iterator[str]:
    """A section of names, if there are any."""
    named = list(lines)
    if named:
        yield from ("", title, *named)
        if more:
            yield f"  and {more:,} more"


def _table(rows: Mapping[str, str]) -> Iterator[str]:
    names = [printable(path, most=_LONGEST_PATH) for path in rows]
    width = min(max(map(len, names), default=0), _WIDEST)
    return (f"  {name:<{width}}  - {text}" for name, text in zip(names, rows.values(), strict=True))


def _log_name(action: str) -> str:
    if "/" in action or "\0" in action or action in {"", ".", ".."}:
        msg = f"{printable(action)!r} cannot name a log"
        raise JobFilesError(msg, hint="rename the action")
    return f"{action}.log"


class _NewFiles:
    """Files that are written first and put in place together: the disk is waited for less often than one by one."""

    def __init__(self, job_name: str) -> None:
        self._job_name = job_name
        self._closing = ExitStack()
        self._parents: dict[Path, int] = {}
        self._waiting: list[tuple[int, str, str, int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for parent, temporary, _name, _handle in self._waiting:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=parent)
        self._closing.close()

    def open(self, directory: Path, name: str) -> int:
        """A handle of the file that is to have this name."""
        parent = self._parents.get(directory)
        if parent is None:
            parent = self._closing.enter_context(held(make_directories(directory, durable=True)))
            self._parents[directory] = parent
        temporary = f".{self._job_name}.{len(self._waiting)}.partial"
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=parent)
        handle = self._closing.enter_context(held(create(parent, temporary)))
        self._waiting.append((parent, temporary, name, handle))
        return handle

    def put_in_place(self) -> None:
        """Force all of them to the disk and give them their names, and force that to the disk."""
        for *_, handle in self._waiting:
            os.fsync(handle)
        for parent, temporary, name, _handle in self._waiting:
            os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
        self._waiting.clear()
        for parent in self._parents.values():
            os.fsync(parent)
