"""The beginning of what a job prints, kept in its control directory while an engine keeps the newest part alone.

`log.head` holds whole lines, secrets masked, as they came; when it has grown to its full size, nothing is added any
more. After a crash a last line without its end is as good as absent.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from jobrunner_cli.engine.jobfiles.copying import write_all
from jobrunner_cli.engine.loglines import HEAD_BYTES

_NAME = "log.head"
_BLOCK = 1 << 16
#: Seconds for which a line that is followed by others may not be on the disk.
_DELAY = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class LogHead:
    """What is kept of the beginning."""

    #: without line ends
    lines: list[bytes]
    #: it has its full size: what follows is the engine's business
    full: bool


def read_head(control: Path, *, full_bytes: int = HEAD_BYTES) -> LogHead | None:
    """What is kept in a control directory; None if it is nothing, or not for this process to read."""
    try:
        with (control / _NAME).open("rb") as stream:
            data = stream.read()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    *lines, _torn = data.split(b"\n")
    return LogHead(lines=lines, full=len(data) >= full_bytes) if lines else None


class HeadFile:
    """Adds to it. One writer at a time."""

    def __init__(self, control: Path, *, full_bytes: int = HEAD_BYTES) -> None:
        """Open it, made if absent, behind its last whole line. Raises OSError."""
        present = read_head(control, full_bytes=full_bytes)
        #: its lines, as they were found
        self.found = [] if present is None else present.lines
        self._full_bytes = full_bytes
        self._size = sum(len(line) + 1 for line in self.found)
        self._waiting = bytearray()
        self._written_at = time.monotonic()
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._handle = os.open(control / _NAME, flags, 0o600)
        os.ftruncate(self._handle, self._size)
        os.lseek(self._handle, self._size, os.SEEK_SET)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            with suppress(OSError):
                self.flush()
        finally:
            os.close(self._handle)

    @property
    def is_full(self) -> bool:
        """Whether nothing is to be added any more."""
        return self._size + len(self._waiting) >= self._full_bytes

    def add(self, line: bytes) -> None:
        """Add a line; it is on the disk when others have followed. Raises OSError."""
        self._waiting += line + b"\n"
        if len(self._waiting) >= _BLOCK or time.monotonic() - self._written_at > _DELAY:
            self.flush()

    def flush(self) -> None:
        """Write what waits. Raises OSError; then the file ends as it did before, and what waited is dropped."""
        data, self._waiting = bytes(self._waiting), bytearray()
        self._written_at = time.monotonic()
        try:
            write_all(self._handle, data)
        except OSError:
            os.ftruncate(self._handle, self._size)
            os.lseek(self._handle, self._size, os.SEEK_SET)
            raise
        self._size += len(data)
