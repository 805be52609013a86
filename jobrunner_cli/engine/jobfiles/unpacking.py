"""A job's working copy on its way back from an engine elsewhere: a tar stream, taken down into the local one.

The names, links and special files in it are the job's, and the stream itself is somebody else's word: each entry is
made anew below a handle, in a directory that was empty, so that nothing there was put by anybody else. Afterwards the
local working copy is matched, checked and published like that of any job.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing

from jobrunner_cli.engine.errors import JobFilesError
from jobrunner_cli.engine.jobfiles.copying import create, file_errors, is_full, make_directories, write_all
from jobrunner_cli.engine.jobfiles.layout import JobDirectory, Record, laid_out
from jobrunner_cli.engine.jobfiles.matching import selector
from jobrunner_cli.engine.jobfiles.removal import remove_tree
from jobrunner_cli.engine.jobfiles.tarstream import TarEntry, TarKind, TarReader
from jobrunner_cli.engine.jobfiles.walk import (
    Descent,
    RefusedFileError,
    descend,
    held,
    open_directory,
    open_inside,
    printable,
    split_path,
)

#: What the system says of entries that contradict each other, or that no file system of ours can hold.
_IMPOSSIBLE = frozenset(
    {
        errno.EEXIST,
        errno.ENOTDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.EISDIR,
        errno.EINVAL,
        errno.ENOENT,
        errno.EPERM,
        errno.EMLINK,
        errno.EFBIG,
    }
)
_SECOND = 10**9
#: Bytes that a file without its content is at most said to have.
_LARGEST_HOLLOW = 1 << 40

#: A stream of the working copy.
Get = Callable[[], Generator[bytes]]


def fetch(
    get: Get, directory: JobDirectory, output_spec: Mapping[str, Mapping[str, str]], *, stop: threading.Event
) -> None:
    """Make the local working copy what the job left in the one at the engine; may be repeated.

    Of files that no pattern matches, and that no matching link leads to, only name, size and time are taken over: they
    are hollow. Such links make it read the stream twice. Devices, which nobody reads, become ones that do nothing. Raises JobFilesError for a stream that
    contradicts itself or leads outside, DiskFullError (then nothing is left of it), Stopped, and what `get` raises.
    """
    with file_errors("take over what the job left"), held(make_directories(directory.root, mode=0o700)) as above:
        name = directory.work.name
        remove_tree(above, name)
        os.mkdir(name, 0o700, dir_fd=above)
        try:
            with held(open_directory(name, above)) as root:
                copy = _Copy(root, laid_out(directory), selector(output_spec), stop)
                with closing(get()) as chunks:
                    copy.take_all(chunks)
                if wanted := copy.behind_links(directory.root_names):
                    with closing(get()) as chunks:
                        copy.fill(chunks, wanted)
        except OSError as error:
            if is_full(error):
                remove_tree(above, name)
            raise


class _Copy:
    """The local working copy while it is being made."""

    def __init__(self, root: int, record: Record, selects: Callable[[str], bool], stop: threading.Event) -> None:
        self._root = root
        self._record = record
        self._selects = selects
        self._stop = stop
        #: name of the working copy in the stream
        self._base = ""
        #: the links that a pattern matches
        self._links: list[str] = []
        #: inode -> path of the files whose content was not taken
        self._hollow: dict[int, str] = {}

    def take_all(self, chunks: Iterator[bytes]) -> None:
        """Make every entry of the stream, whose first is the working copy itself."""
        at: tuple[str, ...] = ()
        with Descent(self._root) as descent:
            for parts, entry, content in self._entries(chunks):
                try:
                    at = _go(descent, at, parts[:-1])
                    self._make(descent.handle, parts, entry, content)
                except RefusedFileError as error:
                    raise _refusal(entry.name, error.message) from error
                except OSError as error:
                    if error.errno not in _IMPOSSIBLE:
                        raise
                    raise _refusal(entry.name, os.strerror(error.errno).lower()) from error

    def behind_links(self, root_names: Sequence[str]) -> set[str]:
        """The files to which links lead that a pattern matches, and whose content was not taken."""
        found = set()
        for link in self._links:
            try:
                handle, info = open_inside(self._root, link, root_names=root_names)
            except RefusedFileError:
                # Matching says why.
                continue
            os.close(handle)
            if (path := self._hollow.get(info.st_ino)) is not None:
                found.add(path)
        return found

    def fill(self, chunks: Iterator[bytes], paths: set[str]) -> None:
        """Take the content of these files from another stream of the same working copy."""
        left = set(paths)
        for parts, entry, content in self._entries(chunks):
            path = "/".join(parts)
            if path in left and entry.kind is TarKind.FILE:
                left.discard(path)
                flags = os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
                with (
                    held(descend(self._root, parts[:-1])) as parent,
                    held(os.open(parts[-1], flags, dir_fd=parent)) as file,
                ):
                    _write(file, content, entry.size)
                    self._keep_time(file, path, entry)
        if left:
            raise _refusal(min(left), "it was there before, and no longer is")

    def _entries(self, chunks: Iterator[bytes]) -> Iterator[tuple[tuple[str, ...], TarEntry, Iterator[bytes]]]:
        """Components below the working copy, header and content of each entry but the first, which is the root."""
        reader = TarReader(chunks, stop=self._stop)
        first = reader.next()
        if first is None or first.kind is not TarKind.DIRECTORY:
            raise _refusal(first.name if first else "", "it is not the working copy")
        self._base = first.name.rstrip("/") + "/"
        while (entry := reader.next()) is not None:
            yield self._parts(entry.name), entry, reader.content()

    def _parts(self, name: str) -> tuple[str, ...]:
        """The components below the working copy of a name in the stream. Raises JobFilesError."""
        if not name.startswith(self._base):
            raise _refusal(name, "it is not in the working copy")
        try:
            return split_path(name[len(self._base) :].removesuffix("/"))
        except JobFilesError:
            raise _refusal(name, "it leads out of the working copy") from None

    def _make(self, parent: int, parts: Sequence[str], entry: TarEntry, content: Iterator[bytes]) -> None:
        path, name = "/".join(parts), parts[-1]
        match entry.kind:
            case TarKind.DIRECTORY:
                os.mkdir(name, 0o700, dir_fd=parent)
            case TarKind.FILE:
                self._make_file(parent, name, path, entry, content)
            case TarKind.LINK:
                self._make_link(parent, name, path, entry)
            case TarKind.HARD_LINK:
                *above, other = self._parts(entry.target)
                with held(descend(self._root, above)) as source:
                    os.link(other, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
            case TarKind.FIFO:
                os.mkfifo(name, 0o600, dir_fd=parent)
            case TarKind.CHARACTER_DEVICE | TarKind.BLOCK_DEVICE:
                _make_device(parent, name)

    def _make_file(self, parent: int, name: str, path: str, entry: TarEntry, content: Iterator[bytes]) -> None:
        with held(create(parent, name, mode=0o600)) as file:
            if self._selects(path):
                _write(file, content, entry.size)
            else:
                os.ftruncate(file, min(entry.size, _LARGEST_HOLLOW))
                self._hollow[os.fstat(file).st_ino] = path
            self._keep_time(file, path, entry)

    def _make_link(self, parent: int, name: str, path: str, entry: TarEntry) -> None:
        if "\0" in entry.target:
            raise _refusal(entry.name, "it is a link without a possible target")
        os.symlink(entry.target, name, dir_fd=parent)
        time_ns = self._time(path, len(os.fsencode(entry.target)), entry.mtime_ns)
        os.utime(name, ns=(time_ns, time_ns), dir_fd=parent, follow_symlinks=False)
        if self._selects(path):
            self._links.append(path)

    def _keep_time(self, file: int, path: str, entry: TarEntry) -> None:
        time_ns = self._time(path, entry.size, entry.mtime_ns)
        os.utime(file, ns=(time_ns, time_ns))

    def _time(self, path: str, size: int, told_ns: int) -> int:
        """The modification time; engines tell whole seconds, and of what was laid out more is known."""
        before = self._record.get(path)
        if before is None or before[0] != size:
            return told_ns
        return before[1] if told_ns in {before[1], before[1] // _SECOND * _SECOND} else told_ns


def _go(descent: Descent, at: tuple[str, ...], wanted: Sequence[str]) -> tuple[str, ...]:
    """Go from one directory to another by way of what they have in common."""
    shared = 0
    for one, other in zip(at, wanted, strict=False):
        if one != other:
            break
        shared += 1
    for _ in range(len(at) - shared):
        descent.leave()
    for name in wanted[shared:]:
        descent.enter(name)
    return tuple(wanted)


def _write(file: int, content: Iterator[bytes], size: int) -> None:
    """Write the content of a file; where it is all zeros there is a hole, as there may have been before."""
    for piece in content:
        if piece.count(0) == len(piece):
            os.lseek(file, len(piece), os.SEEK_CUR)
        else:
            write_all(file, piece)
    os.ftruncate(file, size)


def _make_device(parent: int, name: str) -> None:
    """A device that nothing answers for, so that it is refused as what it is."""
    try:
        os.mknod(name, stat.S_IFCHR | 0o600, os.makedev(0, 0), dir_fd=parent)
    except PermissionError:
        # Systems that let nobody but root make one, and file systems without any.
        os.mknod(name, stat.S_IFSOCK | 0o600, dir_fd=parent)


def _refusal(name: str, why: str) -> JobFilesError:
    msg = f"the engine's stream of files has {printable(name)!r}, which cannot be taken over: {why}"
    return JobFilesError(msg)
