"""A workspace's directory into an archive, out of one, and the two compared, byte by byte.

Archives are written as `.tar.gz` whose members are below a directory of the workspace's name. Only files and
directories are carried: a link or a special file is refused and named, before anything is done.
"""

from __future__ import annotations

import gzip
import os
import stat
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from jobrunner_cli.engine.errors import JobFilesError
from jobrunner_cli.engine.jobfiles.archive_reading import Member, members
from jobrunner_cli.engine.jobfiles.copying import CHUNK, create, file_errors, write_all
from jobrunner_cli.engine.jobfiles.stores import STAGING
from jobrunner_cli.engine.jobfiles.walk import (
    Entry,
    descend,
    held,
    look,
    open_trusted,
    printable,
    split_path,
    walk,
)

#: Characters of a path below a workspace; outputs are never stored deeper.
_LONGEST_PATH = 1 << 15
_LEVEL = 6
_NS = 1_000_000_000
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_SHOWN = 3

#: Hears how many bytes are done.
Tell = Callable[[int], object]
#: Path -> size and modification time in nanoseconds of each file.
Files = Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much there is."""

    files: int
    #: bytes of their contents
    size: int


def survey(directory: Path, *, stop: threading.Event) -> tuple[Extent, Files]:
    """What would be packed of a directory. Raises JobFilesError that names what cannot be, Stopped."""
    files: dict[str, tuple[int, int]] = {}
    odd: list[str] = []
    with file_errors(f"look through {directory}"), held(open_trusted(directory)) as root:
        for entry, info in _entries(root, stop):
            reason = entry.barrier or (None if info is None else _oddity(info))
            if reason is not None:
                odd.append(f"{printable(entry.path)} ({reason})")
            elif info is not None and stat.S_ISREG(info.st_mode):
                files[entry.path] = (info.st_size, info.st_mtime_ns)
    if odd:
        more = f" and {len(odd) - _SHOWN} more" if len(odd) > _SHOWN else ""
        msg = f"{directory} has what an archive does not carry: {', '.join(sorted(odd)[:_SHOWN])}{more}"
        raise JobFilesError(msg, hint="remove it, or put what it leads to in its place")
    return Extent(files=len(files), size=sum(size for size, _ in files.values())), files


def pack(directory: Path, archive: Path, name: str, *, stop: threading.Event, tell: Tell) -> None:
    """Write a directory into a new archive, below `name` in it; when this returns, it survives a power cut.

    Raises JobFilesError, DiskFullError, Stopped.
    """
    done = 0
    with file_errors(f"pack {directory}"), held(open_trusted(directory)) as root, _new_file(archive) as file:
        with (
            gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=_LEVEL) as packed,
            tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT, bufsize=CHUNK) as tar,
        ):
            tar.addfile(_header(name, os.fstat(root)))
            for entry, info in _entries(root, stop):
                if info is None:
                    raise _unfit(entry.path, entry.barrier or "it is gone")
                if stat.S_ISDIR(info.st_mode):
                    tar.addfile(_header(f"{name}/{entry.path}", info))
                else:
                    with held(os.open(entry.name, _FILE, dir_fd=entry.parent)) as handle:
                        header = _header(f"{name}/{entry.path}", os.fstat(handle))
                        with os.fdopen(os.dup(handle), "rb") as content:
                            tar.addfile(header, _Watched(content, stop))
                    done += header.size
                    tell(done)
                # Otherwise all of them are kept, and there may be millions.
                tar.members = []  # type: ignore[attr-defined]
        file.flush()
        os.fsync(file.fileno())
        # What is read back to be compared is to come from the disk.
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def inspect(archive: Path, name: str, *, stop: threading.Event) -> tuple[Extent, str]:
    """How much is in an archive, and what the paths in it begin with: the name and a slash, or nothing.

    Raises JobFilesError for an archive that is damaged or carries what it should not, Stopped.
    """
    files = size = 0
    below = True
    with file_errors(f"read {archive}"):
        for member in members(archive):
            look(stop)
            below = below and f"{member.path}/".startswith(f"{name}/")
            files += not member.is_directory
            size += member.size
    return Extent(files=files, size=size), f"{name}/" if below else ""


def unpack(archive: Path, directory: Path, prefix: str, *, stop: threading.Event, tell: Tell) -> None:
    """Lay out an archive in a new directory, with permissions and times. Raises JobFilesError, DiskFullError, Stopped."""
    done = 0
    modes: list[tuple[str, Member]] = []
    with file_errors(f"unpack {archive}"):
        directory.mkdir(mode=0o700)
        with held(open_trusted(directory)) as root:
            for member in members(archive):
                look(stop)
                path = _below(member, prefix)
                *above, last = split_path(path) if path else ("",)
                if member.is_directory:
                    os.close(descend(root, (*above, last) if path else (), make=True))
                    modes.append((path, member))
                    continue
                with held(descend(root, above, make=True)) as parent, held(create(parent, last, mode=0o600)) as handle:
                    for data in member.chunks():
                        look(stop)
                        write_all(handle, data)
                    _give(handle, member)
                done += member.size
                tell(done)
            # The deepest first: writing into a directory changes its time, and its permissions may forbid it.
            for path, member in sorted(modes, key=lambda item: item[0].count("/") if item[0] else -1, reverse=True):
                with held(descend(root, split_path(path) if path else ())) as handle:
                    _give(handle, member)


def compare(
    archive: Path, directory: Path, prefix: str, *, stop: threading.Event, tell: Tell, partly: bool = False
) -> Files:
    """Check that an archive and a directory hold the same, every byte, and return what the directory holds.

    With `partly`, what is in the archive may be missing from the directory, but not the reverse. Raises JobFilesError
    that names the first difference, Stopped.
    """
    seen: set[str] = set()
    done = 0
    with file_errors(f"compare {archive} with {directory}"), held(open_trusted(directory)) as root:
        for member in members(archive):
            look(stop)
            path = _below(member, prefix)
            seen.add(path)
            if (
                not member.is_directory
                and not _is_same(root, path, member, stop)
                and not (partly and not _is_there(root, path))
            ):
                raise _difference(archive, directory, path)
            done += member.size
            tell(done)
    _, files = survey(directory, stop=stop)
    for path in files:
        if path not in seen:
            raise _difference(archive, directory, path)
    return files


def _is_same(root: int, path: str, member: Member, stop: threading.Event) -> bool:
    """Whether the file of that path has the member's content."""
    try:
        handle = _open(root, path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    with held(handle):
        if os.fstat(handle).st_size != member.size:
            return False
        for expected in member.chunks():
            look(stop)
            found = b""
            while len(found) < len(expected) and (data := os.read(handle, len(expected) - len(found))):
                found += data
            if found != expected:
                return False
        return not os.read(handle, 1)


def _is_there(root: int, path: str) -> bool:
    try:
        os.close(_open(root, path))
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _open(root: int, path: str) -> int:
    *above, last = split_path(path)
    with held(descend(root, above)) as parent:
        return os.open(last, _FILE, dir_fd=parent)


def _entries(root: int, stop: threading.Event) -> Iterator[tuple[Entry, os.stat_result | None]]:
    """What is below a workspace's directory, without what was staged and never put in place."""
    staging = "/".join(STAGING)
    for entry in walk(root, stop=stop, longest_path=_LONGEST_PATH):
        if entry.path == staging or entry.path.startswith(f"{staging}/"):
            continue
        yield entry, None if entry.item is None else entry.item.stat(follow_symlinks=False)


def _oddity(info: os.stat_result) -> str | None:
    """Why something is not carried. A file of several names is: its content is what counts."""
    if stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode):
        return None
    return "a link" if stat.S_ISLNK(info.st_mode) else "a special file"


def _header(name: str, info: os.stat_result) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    is_directory = stat.S_ISDIR(info.st_mode)
    header.type = tarfile.DIRTYPE if is_directory else tarfile.REGTYPE
    header.size = 0 if is_directory else info.st_size
    header.mode = stat.S_IMODE(info.st_mode)
    header.uid, header.gid = info.st_uid, info.st_gid
    seconds, nanoseconds = divmod(info.st_mtime_ns, _NS)
    header.mtime = seconds
    if nanoseconds and seconds >= 0:
        header.pax_headers = {"mtime": f"{seconds}.{nanoseconds:09}"}
    return header


def _give(handle: int, member: Member) -> None:
    """Give what was unpacked the owner, where we may, the permissions and the time that it had."""
    if os.geteuid() == 0:
        os.fchown(handle, *member.owner)
    os.fchmod(handle, member.mode)
    os.utime(handle, ns=(member.mtime_ns, member.mtime_ns))


def _below(member: Member, prefix: str) -> str:
    if not prefix:
        return member.path
    return "" if f"{member.path}/" == prefix else member.path.removeprefix(prefix)


@contextmanager
def _new_file(path: Path) -> Iterator[IO[bytes]]:
    """A new file that only its owner may read: nobody is to see in an archive what the store hides."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w+b") as file:
        yield file


class _Watched:
    """A file whose reading is broken off when the stop event is set."""

    def __init__(self, content: IO[bytes], stop: threading.Event) -> None:
        self._content = content
        self._stop = stop

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        look(self._stop)
        return self._content.read(size)


def _unfit(path: str, reason: str) -> JobFilesError:
    return JobFilesError(f"{printable(path)} cannot be packed: {reason}")


def _difference(archive: Path, directory: Path, path: str) -> JobFilesError:
    return JobFilesError(
        f"{archive} and {directory} differ: {printable(path)}", hint="has something changed it in the meantime?"
    )
