"""A log file with a new one each day in UTC, which several processes may write at once, and which no trouble ends."""

from __future__ import annotations

import fcntl
import io
import logging
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from jobrunner_cli.engine.errors import ConfigurationError

log = logging.getLogger(__name__)

_DAY = 86_400


class DailyFile(logging.Handler):
    """Writes lines to a file; the one of an earlier day gets its date behind its name, and the oldest of those go.

    Where nothing can be written, that is said in the log once until it can be again, and the lines are lost.
    """

    def __init__(self, path: Path, *, kept: int, clock: Callable[[], float] = time.time) -> None:
        """`kept` files of earlier days stay; `clock` is in UNIX seconds. Raises ConfigurationError for an impossible file."""
        super().__init__()
        self._path = path
        self._kept = kept
        self._clock = clock
        self._failing = False
        try:
            self._open()
        except OSError as error:
            msg = f"DEBUG_LOG_FILE cannot be opened: {path}: {error.strerror}"
            raise ConfigurationError(
                msg, hint="it is a file in a directory that is there and may be written to"
            ) from error

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line of a record."""
        try:
            line = f"{self.format(record)}\n".encode(errors="backslashreplace")
            self._see_to_the_file()
            self._file.write(line)
        except Exception as error:  # noqa: BLE001 (a log that cannot be written ends nothing)
            if not self._failing:
                # First, for this line comes here, too.
                self._failing = True
                log.warning("%s cannot be written: %s", self._path, getattr(error, "strerror", None) or error)
            return
        self._failing = False

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def _open(self) -> None:
        self._file = io.FileIO(os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640), "a")
        there = os.fstat(self._file.fileno())
        #: the day of what is in it
        self._day = int(there.st_mtime if there.st_size else self._clock()) // _DAY

    def _see_to_the_file(self) -> None:
        """Have the file open that is to be written to now."""
        today = int(self._clock()) // _DAY
        if today > self._day and self._has_the_name():
            self._put_aside()
        self._day = today
        # Another process, or a program for that, may have given it another name.
        if not self._has_the_name():
            self._file.close()
            self._open()
            self._day = today

    def _put_aside(self) -> None:
        # Everybody who has it open comes here; the first one renames it, and the others see that.
        fcntl.flock(self._file.fileno(), fcntl.LOCK_EX)
        try:
            dated = self._path.with_name(f"{self._path.name}.{datetime.fromtimestamp(self._day * _DAY, UTC):%Y-%m-%d}")
            # A clock that was set back and forth must not cost the log of a day.
            if self._has_the_name() and not dated.exists():
                self._path.rename(dated)
                self._remove_oldest()
        finally:
            fcntl.flock(self._file.fileno(), fcntl.LOCK_UN)

    def _has_the_name(self) -> bool:
        if self._file.closed:
            return False
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._file.fileno()))
        except OSError:
            return False

    def _remove_oldest(self) -> None:
        form = re.compile(rf"{re.escape(self._path.name)}\.\d{{4}}-\d\d-\d\d")
        dated = sorted(path for path in self._path.parent.iterdir() if form.fullmatch(path.name))
        for path in dated[: -self._kept]:
            with suppress(OSError):
                path.unlink()
