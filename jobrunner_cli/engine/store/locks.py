"""Who may work on a work directory: the runner lock, and the directory's own id."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from jobrunner_cli.engine.errors import ConfigurationError, DiskFullError, RunnerActiveError

#: Seconds between two tries: flock has no time limit, and no event tells of its release.
_RETRY_AFTER = 0.02
#: Seconds for which every acquisition tries at least: somebody who only looks holds the lock for an instant.
_LOOKERS_PATIENCE = 0.2


class RunnerLock:
    """The lock that the one runner of a work directory holds. It dies with its process, however that ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor is not None

    def acquire(self, timeout: float = 0.0) -> None:
        """Take the lock, waiting at most so many seconds.

        Raises RunnerActiveError, naming the process that holds it, ConfigurationError where the lock's file cannot be
        made or written, and DiskFullError where there is no space for it.
        """
        if self._descriptor is not None:
            return
        descriptor = _open(self.path)
        try:
            _take(self.path, descriptor, max(timeout, _LOOKERS_PATIENCE))
            _write_pid(self.path, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Give it back; without holding it, nothing happens."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            try:
                os.ftruncate(descriptor, 0)
            finally:
                os.close(descriptor)

    def __enter__(self) -> RunnerLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def holder_pid(path: Path) -> int | None:
    """The process that holds the runner lock, None if nobody does. 0 is a holder that has not written its id yet.

    Looks by trying a shared lock, which the holder does not notice and an acquisition waits out.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return None if _try(descriptor, fcntl.LOCK_SH) else _written_pid(descriptor)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        msg = f"the runner lock {path} cannot be opened: {error.strerror}"
        raise ConfigurationError(msg, hint="WORKDIR must be a directory that this user may write to") from error


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _take(path: Path, descriptor: int, patience: float) -> None:
    deadline = time.monotonic() + patience
    while not _try(descriptor, fcntl.LOCK_EX):
        if time.monotonic() >= deadline:
            pid = _written_pid(descriptor)
            msg = f"{f'process {pid}' if pid else 'another process'} is at work on {path.parent}"
            raise RunnerActiveError(msg, hint="stop it first, or give this one another WORKDIR")
        time.sleep(_RETRY_AFTER)


def _write_pid(path: Path, descriptor: int) -> None:
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:
        msg = f"the runner lock {path} cannot be written: {error.strerror}"
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DiskFullError(msg, hint="its directory needs a few kilobytes of space") from error
        raise ConfigurationError(msg, hint="WORKDIR must be on a disk that can be written to") from error


def _written_pid(descriptor: int) -> int:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else 0


def workdir_id(workdir: Path) -> str:
    """The work directory's own id: random, made once, the same for every process ever after.

    It labels what the runner makes in a shared engine. Raises ConfigurationError where it cannot be read or made.
    """
    path = workdir / "owner-id"
    try:
        if not path.exists():
            workdir.mkdir(parents=True, exist_ok=True)
            _publish_once(path, secrets.token_hex(16))
        text = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"the id of the work directory, {path}, cannot be read or made: {error}"
        raise ConfigurationError(msg) from error
    if not re.fullmatch(r"[0-9a-f]{32}", text):
        msg = f"{path} does not hold the id of a work directory"
        raise ConfigurationError(msg, hint="restore the file; removing it orphans the containers of unfinished jobs")
    return text


def _publish_once(path: Path, text: str) -> None:
    """Make a file whole or not at all, leaving one that another process made in the meantime."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with draft.open("x", encoding="ascii") as stream:
            stream.write(text + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
