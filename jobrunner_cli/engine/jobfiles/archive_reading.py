"""Reading an archive from its start to its end, once, whatever it is compressed with; everything in it is input."""

from __future__ import annotations

import gzip
import lzma
import subprocess
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import IO

from jobrunner_cli.engine.errors import JobFilesError
from jobrunner_cli.engine.jobfiles.copying import CHUNK
from jobrunner_cli.engine.jobfiles.walk import printable, split_path

_NS = 1_000_000_000
_DAMAGED = (EOFError, zlib.error, lzma.LZMAError, tarfile.TarError, gzip.BadGzipFile)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A file or a directory in an archive. Its content is to be read before the next one is asked for."""

    #: its path in the archive, `/` between components, surrogate escapes for what is not UTF-8; empty for the root
    path: str
    is_directory: bool
    #: bytes of content
    size: int
    #: permissions alone
    mode: int
    #: user and group
    owner: tuple[int, int]
    #: nanoseconds
    mtime_ns: int
    #: the archive it is in
    archive: Path
    content: IO[bytes] | None

    def chunks(self) -> Iterator[bytes]:
        """The content. Raises JobFilesError if it is damaged."""
        left = self.size
        while left and self.content is not None:
            with _reading(self.archive):
                data = self.content.read(min(CHUNK, left))
            if not data:
                raise _damaged(self.archive, "it ends too early")
            left -= len(data)
            yield data


def members(archive: Path) -> Iterator[Member]:
    """Everything in an archive, in its order, up to its very end, so that check sums count.

    Raises JobFilesError for an archive that is damaged, or that has anything but plain files and directories in it;
    OSError.
    """
    with ExitStack() as closing:
        stream = closing.enter_context(_decompressed(archive))
        with _reading(archive):
            tar = closing.enter_context(tarfile.open(fileobj=stream, mode="r|", bufsize=CHUNK))
        while True:
            with _reading(archive):
                info = tar.next()
                # Otherwise all of them are kept, and there may be millions.
                tar.members = []  # type: ignore[attr-defined]
            if info is None:
                break
            yield _member(archive, tar, info)
        with _reading(archive):
            while stream.read(CHUNK):
                pass


def _member(archive: Path, tar: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    path = "/".join(part for part in info.name.split("/") if part not in {"", "."})
    if not (info.isfile() or info.isdir()):
        raise _refused(archive, f"{printable(info.name)} is neither a file nor a directory")
    if info.name.startswith("/") or (path and not _is_plain(path)) or (not path and info.isfile()):
        raise _refused(archive, f"{printable(info.name)} would be put elsewhere")
    return Member(
        path=path,
        is_directory=info.isdir(),
        size=info.size if info.isfile() else 0,
        mode=info.mode & 0o777,
        owner=(info.uid, info.gid),
        mtime_ns=_mtime_ns(info),
        archive=archive,
        content=tar.extractfile(info) if info.isfile() else None,
    )


def _is_plain(path: str) -> bool:
    try:
        split_path(path)
    except JobFilesError:
        return False
    return True


def _mtime_ns(info: tarfile.TarInfo) -> int:
    """The exact modification time, where the archive has it: a float has no room for nanoseconds."""
    try:
        return int(Decimal(info.pax_headers.get("mtime", str(info.mtime))) * _NS)
    except (InvalidOperation, ValueError, OverflowError):
        return int(info.mtime) * _NS


@contextmanager
def _decompressed(archive: Path) -> Iterator[IO[bytes] | gzip.GzipFile | lzma.LZMAFile]:
    if archive.name.endswith(".tar.zstd"):
        with _through_zstd(archive) as stream:
            yield stream
    elif archive.name.endswith(".tar.xz"):
        with lzma.open(archive) as packed:
            yield packed
    else:
        with gzip.open(archive) as packed:
            yield packed


@contextmanager
def _through_zstd(archive: Path) -> Iterator[IO[bytes]]:
    """Decompressed by the `zstd` program; the standard library of this Python cannot."""
    command = ["zstd", "--decompress", "--stdout", "--quiet", "--long=31", "--", str(archive)]
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=CHUNK
        )
    except FileNotFoundError:
        msg = f"{archive} can only be read with the program zstd, which is not installed"
        raise JobFilesError(msg, hint="install zstd, and try again") from None
    with process:
        assert process.stdout is not None
        try:
            yield process.stdout
            if process.wait() != 0:
                raise _damaged(archive, "zstd cannot decompress all of it")
        finally:
            process.kill()


@contextmanager
def _reading(archive: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGED as error:
        raise _damaged(archive, str(error) or "it ends too early") from error


def _damaged(archive: Path, why: str) -> JobFilesError:
    return JobFilesError(f"the archive {archive} is damaged: {why}", hint="restore it from a backup")


def _refused(archive: Path, why: str) -> JobFilesError:
    return JobFilesError(
        f"the archive {archive} is not unpacked: {why}", hint="unpack it by hand, if what is in it can be trusted"
    )
