"""Tar streams (POSIX.1-2001, "pax"): headers written, and streams read that may say anything.

What is read is bounded: a header's records, a name, the digits of a number. Nothing recurses, and only one entry and
one piece of content are held at a time. Names are bytes on the wire and surrogate escapes here.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn

from jobrunner_cli.engine.errors import ExecutorUnavailableError, JobFilesError
from jobrunner_cli.engine.jobfiles.walk import look

BLOCK = 512
#: Two blocks of zeros.
END = bytes(2 * BLOCK)

#: Bytes of the records before one entry: a path, a link's target, and whatever attributes an engine adds.
_LONGEST_RECORDS = 1 << 20
#: Headers of records that may come before one entry.
_MOST_RECORDS = 8
_LONGEST_NUMBER = 40
_LARGEST = (1 << 63) - 1
#: What the fields of a header can hold.
_SHORT_NAME = 100
_OCTAL_LIMITS = {8: 1 << 21, 12: 1 << 33}
_NANO = 10**9


class TarKind(StrEnum):
    """What an entry is; the values are those of the format."""

    FILE = "0"
    HARD_LINK = "1"
    LINK = "2"
    CHARACTER_DEVICE = "3"
    BLOCK_DEVICE = "4"
    DIRECTORY = "5"
    FIFO = "6"


_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_TARGET = "x", "g", "L", "K"
#: Old writers' files, and files that want to lie in one piece.
_ALSO_FILES = frozenset({"\0", "7"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TarEntry:
    """The header of one entry."""

    name: str
    kind: TarKind
    #: bytes of content that follow; 0 for all but files
    size: int = 0
    #: what a link leads to, or the other name of a hard link
    target: str = ""
    mode: int = 0
    uid: int = 0
    gid: int = 0
    #: modification time in nanoseconds since 1970
    mtime_ns: int = 0


def header(entry: TarEntry) -> bytes:
    """The blocks that come before an entry's content. Its content is to be followed by `padding(entry.size)`."""
    name, target = os.fsencode(entry.name), os.fsencode(entry.target)
    seconds, rest = divmod(abs(entry.mtime_ns), _NANO)
    fits = entry.mtime_ns >= 0 and seconds < _OCTAL_LIMITS[12]
    sign = b"-" if entry.mtime_ns < 0 else b""
    records = {} if fits and not rest else {b"mtime": b"%s%d.%09d" % (sign, seconds, rest)}
    if len(name) > _SHORT_NAME or not name.isascii():
        records[b"path"] = name
    if len(target) > _SHORT_NAME or not target.isascii():
        records[b"linkpath"] = target
    for key, value, limit in (
        (b"uid", entry.uid, _OCTAL_LIMITS[8]),
        (b"gid", entry.gid, _OCTAL_LIMITS[8]),
        (b"size", entry.size, _OCTAL_LIMITS[12]),
    ):
        if value >= limit:
            records[key] = b"%d" % value
    # The first bytes of a stream are a name, in which an engine looks for the marks of a compressed one.
    before = b""
    if records:
        data = b"".join(_record(key, value) for key, value in records.items())
        before = _block(b"./pax", _PAX, len(data), 0o644, 0, 0, 0, b"") + data + padding(len(data))
    return before + _block(
        name, entry.kind.value, entry.size, entry.mode, entry.uid, entry.gid, seconds if fits else 0, target
    )


def padding(size: int) -> bytes:
    """What fills up the last block of so many bytes."""
    return bytes(-size % BLOCK)


def _record(key: bytes, value: bytes) -> bytes:
    """A record, which begins with its own length."""
    body = b" " + key + b"=" + value + b"\n"
    length = len(body)
    while length != len(body) + len(str(length)):
        length = len(body) + len(str(length))
    return str(length).encode() + body


def _block(name: bytes, kind: str, size: int, mode: int, uid: int, gid: int, mtime: int, target: bytes) -> bytes:
    parts = [
        name[:_SHORT_NAME].ljust(_SHORT_NAME, b"\0"),
        _octal(mode & 0o7777, 8),
        _octal(uid, 8),
        _octal(gid, 8),
        _octal(size, 12),
        _octal(mtime, 12),
        b" " * 8,
        kind.encode(),
        target[:_SHORT_NAME].ljust(_SHORT_NAME, b"\0"),
        b"ustar\x0000",
    ]
    block = b"".join(parts).ljust(BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _octal(value: int, width: int) -> bytes:
    """A number with its final NUL; 0 for one that does not fit and is in a record instead."""
    return b"%0*o\0" % (width - 1, value if value < _OCTAL_LIMITS[width] else 0)


class TarReader:
    """Reads one stream: `next` for each entry, `content` for what it has; content that is not asked for is skipped.

    Raises ExecutorUnavailableError for a stream that breaks off, JobFilesError for one that is no tar stream, Stopped.
    """

    def __init__(self, chunks: Iterator[bytes], *, stop: threading.Event) -> None:
        self._chunks = chunks
        self._stop = stop
        self._buffer = memoryview(b"")
        #: bytes of the present entry, padding included, that were not read yet
        self._left = 0
        self._padding = 0

    def next(self) -> TarEntry | None:
        """The next entry; None at the end of the stream."""
        for _ in self.content():
            pass
        self._read(self._padding)
        self._padding = 0
        records: dict[str, bytes] = {}
        for before in range(_MOST_RECORDS):
            block = self._read(BLOCK)
            if not any(block):
                if before or any(self._read(BLOCK)):
                    self._refuse("it ends in the middle of an entry")
                return None
            kind = self._checked_kind(block)
            if kind == _PAX:
                self._take_records(records, self._read_records(block))
            elif kind == _GNU_NAME:
                records["path"] = self._read_records(block).rstrip(b"\0")
            elif kind == _GNU_TARGET:
                records["linkpath"] = self._read_records(block).rstrip(b"\0")
            elif kind == _PAX_GLOBAL:
                self._read_records(block)
            else:
                return self._entry(block, kind, records)
        return self._refuse("it has too many headers before an entry")

    def content(self) -> Iterator[bytes]:
        """What is left of the present entry's content, in pieces as they come."""
        while self._left:
            look(self._stop)
            piece = self._some(self._left)
            self._left -= len(piece)
            yield piece

    def _entry(self, block: bytes, kind: str, records: dict[str, bytes]) -> TarEntry:
        if kind in _ALSO_FILES:
            kind = TarKind.FILE.value
        if kind not in set(TarKind) or any(key.startswith("GNU.sparse.") for key in records):
            self._refuse(f"it has an entry of an unknown type ({kind!r})")
        name, target = self._name(block), block[157:257].partition(b"\0")[0]
        size = self._number(block[124:136], records.get("size"))
        entry = TarEntry(
            name=os.fsdecode(records.get("path", name)),
            kind=TarKind(kind),
            # Only a file has content; what others say of a size is what they link to.
            size=size if kind == TarKind.FILE else 0,
            target=os.fsdecode(records.get("linkpath", target)),
            mode=self._number(block[100:108], None) & 0o7777,
            uid=self._number(block[108:116], records.get("uid")),
            gid=self._number(block[116:124], records.get("gid")),
            mtime_ns=self._time(block[136:148], records.get("mtime")),
        )
        self._left = entry.size
        self._padding = -entry.size % BLOCK
        return entry

    def _checked_kind(self, block: bytes) -> str:
        told = self._number(block[148:156], None)
        if told != sum(block) - sum(block[148:156]) + 8 * ord(" "):
            self._refuse("a header is damaged")
        return chr(block[156])

    @staticmethod
    def _name(block: bytes) -> bytes:
        name = block[:100].partition(b"\0")[0]
        prefix = block[345:500].partition(b"\0")[0] if block[257:263] == b"ustar\0" else b""
        return prefix + b"/" + name if prefix else name

    def _read_records(self, block: bytes) -> bytes:
        size = self._number(block[124:136], None)
        if size > _LONGEST_RECORDS:
            self._refuse(f"a header has {size} bytes")
        data = self._read(size)
        self._read(-size % BLOCK)
        return data

    def _take_records(self, records: dict[str, bytes], data: bytes) -> None:
        position = 0
        while position < len(data):
            digits, space, _ = data[position : position + 20].partition(b" ")
            end = position + int(digits) if space and digits.isdigit() else 0
            key, sign, value = data[position + len(digits) + 1 : end].partition(b"=")
            if end > len(data) or not (sign and value.endswith(b"\n")):
                self._refuse("a header's records are damaged")
            records[key.decode("utf-8", "surrogateescape")] = value[:-1]
            position = end

    def _number(self, field: bytes, record: bytes | None) -> int:
        """A number that is not negative: decimal in a record, else octal, or binary where the first bit is set."""
        if record is not None:
            if not (record.isdigit() and len(record) <= _LONGEST_NUMBER):
                self._refuse("a number in a header is malformed")
            value = int(record)
        elif field[0] & 0x80:
            value = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
        else:
            digits = field.partition(b"\0")[0].strip()
            if digits.strip(b"01234567"):
                self._refuse("a number in a header is malformed")
            value = int(digits or b"0", 8)
        if value > _LARGEST:
            self._refuse("a number in a header is too large")
        return value

    def _time(self, field: bytes, record: bytes | None) -> int:
        """Nanoseconds; a time that no file system has is as good as any other."""
        if record is None:
            return min(self._number(field, None) * _NANO if not field[0] & 0x80 else 0, _LARGEST)
        whole, _, fraction = record.removeprefix(b"-").partition(b".")
        if not (whole.isdigit() and len(whole) <= _LONGEST_NUMBER and (not fraction or fraction.isdigit())):
            self._refuse("a time in a header is malformed")
        value = int(whole) * _NANO + int(fraction[:9].ljust(9, b"0"))
        return min(value, _LARGEST) * (-1 if record.startswith(b"-") else 1)

    def _read(self, size: int) -> bytes:
        """So many bytes, which are few."""
        parts = []
        while size:
            part = self._some(size)
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _some(self, most: int) -> bytes:
        """Some of the next bytes, at least one."""
        while not self._buffer:
            look(self._stop)
            chunk = next(self._chunks, None)
            if chunk is None:
                msg = "the stream of files from the engine broke off"
                raise ExecutorUnavailableError(msg)
            self._buffer = memoryview(chunk)
        piece = bytes(self._buffer[:most])
        self._buffer = self._buffer[most:]
        return piece

    @staticmethod
    def _refuse(why: str) -> NoReturn:
        msg = f"the engine's stream of files cannot be read: {why}"
        raise JobFilesError(msg)
