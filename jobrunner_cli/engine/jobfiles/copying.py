"""Bytes from one open file into another, and small files written so that a reader sees the old one or the new."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from jobrunner_cli.engine.errors import DiskFullError, JobFilesError
from jobrunner_cli.engine.jobfiles.walk import held, look, open_trusted, printable

#: Bytes between two looks at the stop event.
CHUNK = 1 << 20

_NEW_FILE = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


class Digest(Protocol):
    """What takes note of the bytes that are copied, such as a hash."""

    def update(self, data: bytes, /) -> None:
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
    """Check that a copy of a file fits on the file system of an open directory, before the disk is filled with it.

    Raises OSError with ENOSPC.
    """
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


def write_all(handle: int, data: bytes) -> None:
    """Write all of it. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def copy_content(
    source: int, target: int, info: os.stat_result, *, stop: threading.Event, digest: Digest | None = None
) -> int:
    """Copy a file from its start into an empty one; bytes copied.

    `info` is what was known of it when it was opened: what it grows by in the meantime is left out, so that nobody
    can keep the copy going for ever. Holes stay holes. Raises Stopped, OSError.
    """
    copied = 0
    sparse = allocated(info) < info.st_size
    for start, end in _extents(source, info.st_size) if sparse else ((0, info.st_size),):
        _count_hole(start - copied, digest, stop)
        os.lseek(source, start, os.SEEK_SET)
        os.lseek(target, start, os.SEEK_SET)
        copied = start
        while copied < end:
            look(stop)
            data = os.read(source, min(CHUNK, end - copied))
            if not data:
                break
            if digest is not None:
                digest.update(data)
            write_all(target, data)
            copied += len(data)
        if copied < end:
            return copied
    if sparse:
        _count_hole(info.st_size - copied, digest, stop)
        os.ftruncate(target, info.st_size)
        copied = info.st_size
    return copied


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
        end = min(os.lseek(handle, start, os.SEEK_HOLE), size)
        yield min(start, size), end


def _count_hole(length: int, digest: Digest | None, stop: threading.Event) -> None:
    if digest is None or length <= 0:
        return
    zeros = bytes(min(CHUNK, length))
    while length > 0:
        look(stop)
        digest.update(zeros[:length] if length < len(zeros) else zeros)
        length -= len(zeros)


def keep_times(handle: int, info: os.stat_result) -> None:
    """Give a copy the modification time of what it was made from."""
    os.utime(handle, ns=(info.st_mtime_ns, info.st_mtime_ns))


def write_small(parent: int, name: str, data: bytes, *, durable: bool) -> None:
    """Put a small file in place in an open directory, all of it or nothing.

    If `durable`, it survives a power cut from here on. One writer per name at a time. Raises OSError.
    """
    temporary = f".{name}.partial"
    with suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=parent)
    with held(create(parent, temporary)) as handle:
        write_all(handle, data)
        if durable:
            os.fsync(handle)
    os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
    if durable:
        os.fsync(parent)


def read_small(parent: int, name: str) -> bytes | None:
    """A small file of ours in an open directory; None if it is not there. Raises OSError."""
    try:
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
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
