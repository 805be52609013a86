"""What the kernel does for us where the file system can: clones of files, copies that pass no memory of ours, and
forcing a whole file system to the disk at once.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import os
from collections.abc import Callable

#: The request to share all blocks of a file with another (ioctl_ficlonerange(2)).
_FICLONE = 0x40049409
#: Bytes below which a clone is not tried: a file system writes the source to the disk first, and that takes longer.
LEAST_CLONED = 1 << 20
#: Bytes that one call copies at most; the stop event is looked at between two.
_PIECE = 1 << 24
#: Files, or directories, from which on it is quicker to force their whole file system than each of them.
MANY = 64

#: What a file system says that cannot copy by itself between these two files; whatever else is wrong, copying says, too.
_NO_OFFLOAD = frozenset(
    {errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.EBADF, errno.ETXTBSY, errno.ENOTTY}
)


def clone(source: int, target: int, size: int) -> bool:
    """Make an empty open file share the blocks of another, of `size` bytes; false if that cannot be done here.

    The clone is of one moment, whoever writes to the source meanwhile; it may be longer or shorter than `size`.
    """
    if size < LEAST_CLONED:
        return False
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        # Copying will do, or will say what is wrong. A file that was cut, even from nothing, ext4 writes to the disk
        # when it is closed.
        if os.fstat(target).st_size:
            os.ftruncate(target, 0)
        return False
    return True


def copy_piece(source: int, target: int, start: int, end: int) -> int | None:
    """Have the kernel copy bytes from `start` to at most `end`; how many, or None if it cannot between these files.

    Raises OSError.
    """
    try:
        return os.copy_file_range(source, target, min(_PIECE, end - start), start, start) or None
    except OSError as error:
        if error.errno in _NO_OFFLOAD:
            return None
        raise


def can_force_file_system() -> bool:
    """Whether `force_file_system` works here."""
    return _syncfs() is not None


def force_file_system(handle: int) -> None:
    """Force everything that was written to the file system of an open file before now to the disk.

    What could not be written since the handle was opened is an error (syncfs(2)). Raises OSError.
    """
    syncfs = _syncfs()
    if syncfs is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    number = syncfs(handle)
    if number:
        raise OSError(number, os.strerror(number))


@functools.cache
def _syncfs() -> Callable[[int], int] | None:
    """The system's function, which returns an error's number, or None where there is none."""
    # Some milliseconds that only a job with many files needs.
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    function = getattr(library, "syncfs", None)
    if function is None:
        return None
    return lambda handle: ctypes.get_errno() if function(ctypes.c_int(handle)) else 0
