"""Bytes from one open file into another, and small files written so that a reader sees the old one or the new."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from jobrunner_cli.engine.errors import DiskFullError, JobFilesError
from jobrunner_cli.engine.jobfiles.offload import clone, copy_piece
from jobrunner_cli.engine.jobfiles.walk import held, look, open_trusted, printable

#: Bytes between two looks at the stop event.
CHUNK = 1 << 20
#: Bytes up to which reading and writing is as quick as having the kernel copy.
SMALL = 1 << 16

_NEW_FILE = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


class Digest(Protocol):
    """What takes note of the bytes that are copied, such as a hash."""

    def update(self, data: bytes | memoryview, /) -> None:
        """The next bytes."""
        ...


@contextmanager
def file_errors(doing: str) -> Iterator[None]:
    """Turn the system's errors into ours; `doing` completes "cannot …"."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        if isinstance(error.filename, str):
            reason = f"{printable(error.filename)}: {reason}"
        msg = f"cannot {doing}: {reason}"
        if is_full(error):
            raise DiskFullError(msg, hint="free some space; it is tried again") from error
        raise JobFilesError(msg) from error


def is_full(error: OSError) -> bool:
    """Whether it says that no space is left, on the disk or in the quota."""
    return error.errno in _NO_SPACE


def require_space(handle: int, info: os.stat_result) -> None:
    """Check that a copy of a file fits on the file system of an open file, before the disk is filled with it.

    Small files are let through: there the disk itself tells soon enough. Raises OSError with ENOSPC.
    """
    if info.st_size < CHUNK:
        return
    system = os.fstatvfs(handle)
    free = system.f_bfree if os.geteuid() == 0 else system.f_bavail
    # Some network file systems report no size at all.
    if system.f_blocks and min(info.st_size, allocated(info)) > free * system.f_frsize:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def allocated(info: os.stat_result) -> int:
    """Bytes that a file takes up, holes left out."""
    return info.st_blocks * 512


def create(parent: int, name: str, *, mode: int = 0o666) -> int:
    """A handle for writing and reading a file that did not exist before. Raises OSError."""
    return os.open(name, os.O_RDWR | _NEW_FILE, mode, dir_fd=parent)


def write_all(handle: int, data: bytes | memoryview, position: int | None = None) -> None:
    """Write all of it, where the file is at or from a position on. Raises OSError."""
    written = os.write(handle, data) if position is None else os.pwrite(handle, data, position)
    while written < len(data):
        data = memoryview(data)[written:]
        if position is not None:
            position += written
        written = os.write(handle, data) if position is None else os.pwrite(handle, data, position)


def copy_content(
    source: int,
    target: int,
    info: os.stat_result,
    *,
    stop: threading.Event,
    digest: Digest | None = None,
    advance: Callable[[int], None] | None = None,
) -> int:
    """Copy a file from its start into an empty one, by the cheapest way that the file system has; bytes copied.

    `info` is what was known of it when it was opened: what it grows by in the meantime is left out, so that nobody
    can keep the copy going for ever. Holes stay holes. `digest` gets the bytes that the copy has, whatever becomes of
    the source; `advance` is called with how many bytes were copied since the last call. Raises Stopped, OSError, with
    ENOSPC before anything is written if the copy does not fit.
    """
    work = _Copy(source, target, stop=stop, digest=digest, advance=advance)
    if clone(source, target, info.st_size):
        return work.account_for_clone(info.st_size)
    require_space(target, info)
    if allocated(info) >= info.st_size:
        return work.copy(0, info.st_size)
    copied = 0
    for start, end in _extents(source, info.st_size):
        work.count_hole(start - copied)
        copied = work.copy(start, end)
        if copied < end:
            return copied
    size = max(copied, min(info.st_size, os.fstat(source).st_size))
    work.count_hole(size - copied)
    os.ftruncate(target, size)
    return size


class _Copy:
    """One copy under way."""

    def __init__(
        self,
        source: int,
        target: int,
        *,
        stop: threading.Event,
        digest: Digest | None,
        advance: Callable[[int], None] | None,
    ) -> None:
        self._source = source
        self._target = target
        self._stop = stop
        self._digest = digest
        self._advance = advance
        # What is to be hashed has to come by here anyway, and the kernel is no faster at that.
        self._offloads = digest is None

    def copy(self, start: int, end: int) -> int:
        """Copy a stretch; where it ended, which is before `end` if the source has become shorter."""
        position = start
        # Filling a buffer again and again is cheaper than getting new memory for each of many pieces.
        buffer = memoryview(bytearray(CHUNK)) if end - start > CHUNK and not self._offloads else None
        while position < end:
            look(self._stop)
            done = self._copy_some(position, end, buffer)
            if not done:
                break
            position += done
            self._tell(done)
        return position

    def _copy_some(self, position: int, end: int, buffer: memoryview | None) -> int:
        if self._offloads and end - position > SMALL:
            done = copy_piece(self._source, self._target, position, end)
            if done is not None:
                return done
            self._offloads = False
        data: bytes | memoryview
        if buffer is None:
            data = os.pread(self._source, min(CHUNK, end - position), position)
        else:
            data = buffer[: os.preadv(self._source, [buffer[: end - position]], position)]
        if self._digest is not None:
            self._digest.update(data)
        write_all(self._target, data, position)
        return len(data)

    def account_for_clone(self, size: int) -> int:
        """Cut a clone of a source that has grown to `size` bytes, and read it for the hash; how many bytes it has."""
        info = os.fstat(self._target)
        if info.st_size > size:
            os.ftruncate(self._target, size)
        size = min(info.st_size, size)
        if self._digest is None:
            self._tell(size)
            return size
        position = 0
        for start, end in _extents(self._target, size):
            self.count_hole(start - position)
            position = start
            while position < end:
                look(self._stop)
                data = os.pread(self._target, min(CHUNK, end - position), position)
                if not data:
                    raise OSError(errno.EIO, "a copy became shorter while it was read")
                self._digest.update(data)
                position += len(data)
                self._tell(len(data))
        self.count_hole(size - position)
        return size

    def count_hole(self, length: int) -> None:
        """Take note of so many bytes that are not there."""
        if length <= 0:
            return
        self._tell(length)
        if self._digest is None:
            return
        zeros = bytes(min(CHUNK, length))
        while length > 0:
            look(self._stop)
            self._digest.update(zeros[:length] if length < len(zeros) else zeros)
            length -= len(zeros)

    def _tell(self, done: int) -> None:
        if self._advance is not None:
            self._advance(done)


def _extents(handle: int, size: int) -> Iterator[tuple[int, int]]:
    """Start and end of each stretch of a file that is not a hole."""
    end = 0
    while end < size:
        try:
            start = os.lseek(handle, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        if start >= size:
            return
        end = min(os.lseek(handle, start, os.SEEK_HOLE), size)
        yield start, end


def keep_times(handle: int, info: os.stat_result) -> None:
    """Give a copy the modification time of what it was made from."""
    os.utime(handle, ns=(info.st_mtime_ns, info.st_mtime_ns))


def write_small(parent: int, name: str, data: bytes, *, durable: bool, force_name: bool = True) -> None:
    """Put a small file in place in an open directory, all of it or nothing.

    If `durable`, it survives a power cut from here on; without `force_name`, from when the caller forces the directory
    to the disk, and until then what was there before may come back. One writer per name at a time. Raises OSError.
    """
    temporary = f".{name}.partial"
    with suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=parent)
    with held(create(parent, temporary)) as handle:
        write_all(handle, data)
        if durable:
            os.fsync(handle)
    os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
    if durable and force_name:
        os.fsync(parent)


def read_small(parent: int, name: str) -> bytes | None:
    """A small file of ours in an open directory; None if it is not there. Raises OSError."""
    try:
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
    except FileNotFoundError:
        return None
    with held(handle):
        return b"".join(iter(lambda: os.read(handle, CHUNK), b""))


def make_directories(path: Path, *, mode: int = 0o777, durable: bool = False) -> int:
    """A handle of a directory of ours, made with those above it if absent; `mode` is that of the last.

    If `durable`, what was made survives a power cut from here on. Raises OSError.
    """
    try:
        return open_trusted(path)
    except FileNotFoundError:
        pass
    with held(make_directories(path.parent, durable=durable)) as parent:
        with suppress(FileExistsError):
            os.mkdir(path.name, mode, dir_fd=parent)
        if durable:
            os.fsync(parent)
    return open_trusted(path)
