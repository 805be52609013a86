"""The one safe way below a job's directory: handles of directories, never a path that could lead elsewhere.

What a repository or an action puts into its working copy is hostile until proven harmless. So every step goes from an
open directory to a name in it, never through a link; what is opened is looked at before it is used; and nothing
recurses, because three thousand levels of directories are made quickly. Names that are not UTF-8 are carried as
Python's surrogate escapes.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Self

from jobrunner_cli.engine.errors import JobFilesError

_SAFE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | _SAFE
_REGULAR = os.O_RDONLY | os.O_NOCTTY | _SAFE

#: What `open` says of a name that is not a directory, or is a link.
_NOT_A_DIRECTORY = frozenset({errno.ENOTDIR, errno.ELOOP})
#: What a step below an untrusted directory may say without anything being wrong on our side.
_THEIR_FAULT = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ENXIO}
)
#: Handles that a walk holds at most; the way back up beyond them is by `..`, checked.
_MOST_OPEN = 64
_MOST_LINKS = 40
#: Steps of a path beyond its own components: links could otherwise make hours of a directory full of them.
_MOST_DETOURS = 100
_TOO_FAR = "it is a link that leads on and on"
_SHOWN_CHARACTERS = 500

Owner = tuple[int, int] | None


class Stopped(Exception):  # noqa: N818 - not an error: the runner is on its way out
    """The stop event was set: what was begun is done again another time."""


class RefusedFileError(JobFilesError):
    """A name below the working copy is not a file that may be read; the message is the reason, without the name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A name in a directory below the root of a walk. It is to be used before the next one is asked for."""

    #: path of its directory below the root, empty for the root
    directory: str
    name: str
    #: handle of its directory
    parent: int
    #: what the directory says of it; None with a barrier
    item: os.DirEntry[str] | None
    #: it is a directory that the walk does not enter, and why
    barrier: str | None = None

    @property
    def path(self) -> str:
        """Its path below the root."""
        return f"{self.directory}/{self.name}" if self.directory else self.name


def look(stop: threading.Event) -> None:
    """Raise Stopped if the event is set."""
    if stop.is_set():
        raise Stopped


def printable(path: str, *, most: int = _SHOWN_CHARACTERS) -> str:
    """A name for people: undecodable bytes and control characters escaped, endless ones cut."""
    text = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return text if len(text) <= most else text[:most] + "…"


def split_path(path: str) -> tuple[str, ...]:
    """The components of a path that stays below where it starts. Raises JobFilesError for any other."""
    parts = tuple(path.split("/"))
    if any(part in {"", ".", ".."} or "\0" in part for part in parts):
        msg = f"{printable(path)!r} is not a plain path below a directory"
        raise JobFilesError(msg)
    return parts


@contextmanager
def held(handle: int) -> Iterator[int]:
    """A handle that is closed at the end of the block."""
    try:
        yield handle
    finally:
        os.close(handle)


def open_directory(name: str | os.PathLike[str], parent: int | None = None) -> int:
    """A handle of a directory; the last component is never followed if it is a link. Raises OSError."""
    return os.open(name, _DIRECTORY, dir_fd=parent)


def open_trusted(path: str | os.PathLike[str]) -> int:
    """A handle of a directory of ours, where an operator may have put a link to another disk. Raises OSError."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def enter_or_make(
    parent: int,
    name: str,
    *,
    mode: int = 0o777,
    owner: Owner = None,
    replace_files: bool = False,
    replace_links: bool = False,
) -> int:
    """A handle of the directory of that name, made if absent.

    What stands there and is not a directory is unlinked if its kind may be replaced; otherwise raises OSError.
    """
    try:
        return open_directory(name, parent)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in _NOT_A_DIRECTORY:
            raise
        is_link = stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
        if not (replace_links if is_link else replace_files):
            raise
        os.unlink(name, dir_fd=parent)
    # Another job of the workspace may make it at the same moment; then it is opened like any other.
    with suppress(FileExistsError):
        os.mkdir(name, mode, dir_fd=parent)
    handle = open_directory(name, parent)
    if owner is not None:
        os.fchown(handle, *owner)
    return handle


def descend(
    root: int,
    parts: Sequence[str],
    *,
    make: bool = False,
    owner: Owner = None,
    replace_files: bool = False,
    replace_links: bool = False,
) -> int:
    """A handle of the directory that the components lead to, made on the way if `make`. Raises OSError."""
    handle = os.dup(root)
    try:
        for part in parts:
            above = handle
            if make:
                handle = enter_or_make(
                    above, part, owner=owner, replace_files=replace_files, replace_links=replace_links
                )
            else:
                handle = open_directory(part, above)
            os.close(above)
    except BaseException:
        os.close(handle)
        raise
    return handle


def why_not_regular(info: os.stat_result) -> str | None:
    """Why what `lstat` or `fstat` describes is not a file with one name; None if it is one."""
    mode = info.st_mode
    if stat.S_ISREG(mode):
        return "it is a hard link, one of several names of a file" if info.st_nlink > 1 else None
    kinds = (
        (stat.S_ISDIR, "it is a directory"),
        (stat.S_ISLNK, "it is a link"),
        (stat.S_ISFIFO, "it is a named pipe"),
        (stat.S_ISSOCK, "it is a socket"),
    )
    return next((reason for test, reason in kinds if test(mode)), "it is a device")


def open_regular(parent: int, name: str) -> tuple[int, os.stat_result]:
    """A handle for reading a regular file with one name, on its directory's device, and what `fstat` says of it.

    It is looked at before it is opened, because opening a device can have effects, and afterwards, because it may
    have been swapped. Raises RefusedFileError or OSError.
    """
    reason = why_not_regular(os.stat(name, dir_fd=parent, follow_symlinks=False))
    if reason is not None:
        raise RefusedFileError(reason)
    handle = os.open(name, _REGULAR, dir_fd=parent)
    info = os.fstat(handle)
    reason = why_not_regular(info)
    if reason is None and info.st_dev != os.fstat(parent).st_dev:
        reason = "it is on another file system"
    if reason is not None:
        os.close(handle)
        raise RefusedFileError(reason)
    return handle, info


class Descent:
    """The chain of directories from a root down to where a walk is; only the deepest few are held open.

    The root's handle belongs to the caller and outlives the descent.
    """

    def __init__(self, root: int) -> None:
        info = os.fstat(root)
        self._root = root
        self._chain = [(info.st_dev, info.st_ino)]
        self._open: deque[int] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.to_root()

    @property
    def handle(self) -> int:
        """The directory where the walk is."""
        return self._open[-1] if self._open else self._root

    @property
    def depth(self) -> int:
        """How many levels below the root."""
        return len(self._chain) - 1

    def enter(self, name: str) -> None:
        """Go down into a directory. Raises RefusedFileError for one on another file system, else OSError."""
        handle = open_directory(name, self.handle)
        info = os.fstat(handle)
        if info.st_dev != self._chain[0][0]:
            os.close(handle)
            msg = "it is on another file system"
            raise RefusedFileError(msg)
        self._chain.append((info.st_dev, info.st_ino))
        self._open.append(handle)
        if len(self._open) > _MOST_OPEN:
            os.close(self._open.popleft())

    def leave(self) -> None:
        """Go up one level. Raises JobFilesError if the directory was moved in the meantime."""
        self._chain.pop()
        left = self._open.pop()
        try:
            if not self._open and self.depth:
                handle = open_directory("..", left)
                self._open.append(handle)
                info = os.fstat(handle)
                if (info.st_dev, info.st_ino) != self._chain[-1]:
                    msg = "a directory was moved while it was being read"
                    raise JobFilesError(msg)
        finally:
            os.close(left)

    def to_root(self) -> None:
        """Go all the way up."""
        del self._chain[1:]
        while self._open:
            os.close(self._open.pop())


def walk(root: int, *, stop: threading.Event, longest_path: int) -> Iterator[Entry]:
    """Every name below a directory, without following a link: all names of a directory, then what is below them.

    A directory that cannot be read, is on another file system, or whose path is longer than `longest_path`
    characters is not entered and comes once more, with a barrier. Raises Stopped, JobFilesError, OSError.
    """
    with Descent(root) as descent:
        waiting = [("", (yield from _names(descent, "", stop)))]
        while waiting:
            directory, below = waiting[-1]
            if not below:
                waiting.pop()
                if waiting:
                    descent.leave()
                continue
            name = below.popleft()
            path = f"{directory}/{name}" if directory else name
            barrier = "its path is too long" if len(path) > longest_path else _barrier(descent, name)
            if barrier is None:
                waiting.append((path, (yield from _names(descent, path, stop))))
            else:
                yield Entry(directory=directory, name=name, parent=descent.handle, item=None, barrier=barrier)


def _names(descent: Descent, directory: str, stop: threading.Event) -> Generator[Entry, None, deque[str]]:
    below: deque[str] = deque()
    parent = descent.handle
    with os.scandir(parent) as items:
        for item in items:
            look(stop)
            if item.is_dir(follow_symlinks=False):
                below.append(item.name)
            yield Entry(directory=directory, name=item.name, parent=parent, item=item)
    return below


def _barrier(descent: Descent, name: str) -> str | None:
    try:
        descent.enter(name)
    except RefusedFileError as error:
        return error.message
    except OSError as error:
        return their_fault(error)
    return None


def their_fault(error: OSError) -> str:
    """Why a step below an untrusted directory failed; raises it again if the fault may be ours."""
    if error.errno not in _THEIR_FAULT:
        raise error
    return "it cannot be read: " + os.strerror(error.errno or 0).lower()


def open_inside(root: int, path: str, *, root_names: Sequence[str] = ()) -> tuple[int, os.stat_result]:
    """A handle for reading the regular file that a path below a directory leads to, and what `fstat` says of it.

    Links are resolved here, one component at a time, and never lead out of the directory; an absolute one counts
    from the root if it begins with one of the `root_names`, the names that the directory goes by for the job.
    Raises RefusedFileError with the reason.
    """
    pending = [*reversed(split_path(path))]
    steps_left = len(pending) + _MOST_DETOURS
    links = 0
    try:
        with Descent(root) as descent:
            while pending:
                name = pending.pop()
                steps_left -= 1
                if steps_left < 0:
                    raise RefusedFileError(_TOO_FAR)
                if name in {"", "."}:
                    continue
                if name == "..":
                    _go_up(descent)
                    continue
                if stat.S_ISLNK(os.stat(name, dir_fd=descent.handle, follow_symlinks=False).st_mode):
                    links += 1
                    target = os.readlink(name, dir_fd=descent.handle)
                    pending.extend(reversed(_link_parts(descent, target, links, root_names)))
                elif pending:
                    descent.enter(name)
                else:
                    return open_regular(descent.handle, name)
    except OSError as error:
        nowhere = links and error.errno == errno.ENOENT
        raise RefusedFileError("it is a link that leads nowhere" if nowhere else their_fault(error)) from error
    msg = "it is a link to a directory"
    raise RefusedFileError(msg)


def _go_up(descent: Descent) -> None:
    if not descent.depth:
        msg = "it is a link that leads out of the working copy"
        raise RefusedFileError(msg)
    descent.leave()


def _link_parts(descent: Descent, target: str, links: int, root_names: Sequence[str]) -> list[str]:
    if links > _MOST_LINKS:
        raise RefusedFileError(_TOO_FAR)
    if not target.startswith("/"):
        return target.split("/")
    for name in root_names:
        if target.startswith(name + "/"):
            descent.to_root()
            return target[len(name) :].split("/")
    msg = "it is a link that leads out of the working copy"
    raise RefusedFileError(msg)
