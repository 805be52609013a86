"""Removing trees that hostile code has made: of any depth, without permissions, with any names."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from jobrunner_cli.engine.jobfiles.walk import Descent, held, open_directory

#: Something that still writes there loses such a race sooner or later; an endless writer wins it, and is an error.
_TRIES = 100
#: What is seen when something still writes there, or when a listing skipped a name while others were removed.
_TRY_AGAIN = frozenset({errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.EISDIR, errno.ENOTDIR})


def remove_tree(parent: int, name: str) -> None:
    """Remove whatever goes by that name in a directory. Absent is fine.

    Never follows a link, never leaves the file system, needs few handles at any depth. Raises OSError.
    """
    for tries_left in reversed(range(_TRIES)):
        try:
            info = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        try:
            if stat.S_ISDIR(info.st_mode):
                _remove_directory(parent, name)
            else:
                os.unlink(name, dir_fd=parent)
        except OSError as error:
            if error.errno not in _TRY_AGAIN or not tries_left:
                raise
        else:
            return


def _remove_directory(parent: int, name: str) -> None:
    make_ours(parent, name)
    with held(open_directory(name, parent)) as root, Descent(root) as descent:
        waiting = [(name, _unlink_all(root))]
        while True:
            here, below = waiting[-1]
            if below:
                inner = below.pop()
                make_ours(descent.handle, inner)
                descent.enter(inner)
                waiting.append((inner, _unlink_all(descent.handle)))
                continue
            waiting.pop()
            if not waiting:
                break
            descent.leave()
            os.rmdir(here, dir_fd=descent.handle)
    os.rmdir(name, dir_fd=parent)


def _unlink_all(directory: int) -> list[str]:
    """Unlink every name that is not a directory; the directories are what is returned."""
    below: list[str] = []
    with os.scandir(directory) as items:
        for item in items:
            if item.is_dir(follow_symlinks=False):
                below.append(item.name)
            else:
                os.unlink(item.name, dir_fd=directory)
    return below


def make_ours(parent: int, name: str) -> None:
    """Give ourselves all rights to a directory of ours, by way of a handle that needs none and follows no link.

    Raises OSError.
    """
    user = os.geteuid()
    if user == 0:
        return
    with held(os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)) as handle:
        info = os.fstat(handle)
        if info.st_mode & stat.S_IRWXU != stat.S_IRWXU and info.st_uid == user:
            Path(f"/proc/self/fd/{handle}").chmod(stat.S_IRWXU)
