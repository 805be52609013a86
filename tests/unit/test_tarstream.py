"""Tar streams: what is written is read the same by everybody, and what is read may say anything."""

from __future__ import annotations

import io
import tarfile
import threading
import tracemalloc
from collections.abc import Iterator
from itertools import chain, repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner_cli.engine.errors import ExecutorUnavailableError, JobFilesError
from jobrunner_cli.engine.jobfiles.tarstream import BLOCK, END, TarEntry, TarKind, TarReader, header, padding
from jobrunner_cli.engine.jobfiles.walk import Stopped

NEVER = threading.Event()

#: Names as file systems have them: any bytes but NUL and the slash.
NAMES = st.binary(min_size=1, max_size=300).filter(lambda name: not set(name) & {0, 0x2F})
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(lambda names: b"/".join(names).decode("utf-8", "surrogateescape"))


def entries_of(data: bytes, piece: int = 700) -> list[tuple[TarEntry, bytes]]:
    """Every entry of a stream that comes in pieces, with its content."""
    chunks = (data[place : place + piece] for place in range(0, len(data), piece))
    reader = TarReader(chunks, stop=NEVER)
    found = []
    while (entry := reader.next()) is not None:
        found.append((entry, b"".join(reader.content())))
    return found


def written(entry: TarEntry, content: bytes = b"") -> bytes:
    return header(entry) + content + padding(len(content))


@given(
    path=PATHS,
    target=PATHS,
    content=st.binary(max_size=2000),
    mtime_ns=st.integers(-(10**18), 9 * 10**18),
    user=st.integers(0, 2**32 - 2),
    piece=st.integers(1, 1500),
)
def test_what_is_written_is_read_again(
    path: str, target: str, content: bytes, mtime_ns: int, user: int, piece: int
) -> None:
    about = {"uid": user, "gid": user // 2, "mtime_ns": mtime_ns, "mode": 0o640}
    file = TarEntry(name=path, kind=TarKind.FILE, size=len(content), **about)
    link = TarEntry(name=path, kind=TarKind.LINK, target=target, **about)
    data = written(file, content) + written(link) + END
    assert entries_of(data, piece) == [(file, content), (link, b"")]


@given(path=PATHS, target=PATHS, mtime_ns=st.integers(0, 9 * 10**18))
def test_what_is_written_is_what_others_read(path: str, target: str, mtime_ns: int) -> None:
    data = (
        written(TarEntry(name=path, kind=TarKind.FILE, size=3, mtime_ns=mtime_ns, uid=3_000_000), b"abc")
        + written(TarEntry(name="l", kind=TarKind.LINK, target=target))
        + END
    )
    with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8") as archive:
        file, link = archive.getmembers()
        content = archive.extractfile(file)
        assert content is not None
        assert content.read() == b"abc"
    assert (file.name, file.uid) == (path, 3_000_000)
    assert file.mtime == pytest.approx(mtime_ns / 10**9)
    assert link.linkname == target


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_what_others_write_is_read(form: int) -> None:
    stream = io.BytesIO()
    long = "/".join(["a" * 40] * 4) if form == tarfile.USTAR_FORMAT else "b" * 300
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for name, kind in ((long, tarfile.REGTYPE), ("dir", tarfile.DIRTYPE), ("pipe", tarfile.FIFOTYPE)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.uid, entry.mtime = kind, 1234, 1_600_000_000
            entry.size = 700 if kind == tarfile.REGTYPE else 0
            archive.addfile(entry, io.BytesIO(b"x" * 700))
        entry = tarfile.TarInfo("link")
        entry.type, entry.linkname = tarfile.SYMTYPE, "t" * 90
        archive.addfile(entry)
    found = entries_of(stream.getvalue())
    assert [(entry.name.rstrip("/"), entry.kind.name) for entry, _ in found] == [
        (long, "FILE"),
        ("dir", "DIRECTORY"),
        ("pipe", "FIFO"),
        ("link", "LINK"),
    ]
    assert found[0][1] == b"x" * 700
    assert (found[0][0].uid, found[0][0].mtime_ns) == (1234, 1_600_000_000 * 10**9)
    assert found[3][0].target == "t" * 90


def test_content_that_nobody_wants_is_passed_over() -> None:
    data = written(TarEntry(name="a", kind=TarKind.FILE, size=5000), b"a" * 5000)
    data += written(TarEntry(name="b", kind=TarKind.FILE, size=1), b"b") + END
    reader = TarReader(iter([data]), stop=NEVER)
    first, second = reader.next(), reader.next()
    assert first is not None
    assert second is not None
    assert (first.name, second.name, reader.next()) == ("a", "b", None)


WHOLE = written(TarEntry(name="é" * 70, kind=TarKind.FILE, size=900), b"z" * 900) + END


@pytest.mark.parametrize("length", [0, 1, 511, 512, 600, 1024, 1300, 2000, 2500, len(WHOLE) - 1024, len(WHOLE) - 1])
def test_stream_that_breaks_off_is_no_stream_that_ended(length: int) -> None:
    with pytest.raises(ExecutorUnavailableError, match="broke off"):
        entries_of(WHOLE[:length])


def raw(kind: bytes, size: bytes, *, name: bytes = b"n", data: bytes = b"") -> bytes:
    """A header with a right checksum and anything in it, and what follows."""
    block = bytearray(BLOCK)
    block[: len(name)] = name
    block[124 : 124 + len(size)] = size
    block[148:156] = b" " * 8
    block[156:157] = kind
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + data + padding(len(data))


def records(data: bytes) -> bytes:
    return raw(b"x", b"%011o\0" % len(data), data=data) + raw(b"0", b"0")


HOSTILE = {
    "garbage": b"\x1f\x8b" + b"garbage" * 200,
    "wrong checksum": WHOLE[:10] + b"?" + WHOLE[11:],
    "size that is no number": raw(b"0", b"12x4"),
    "size beyond all": raw(b"0", b"\xff" * 12),
    "endless records": raw(b"x", b"77777777777\0"),
    "endless long name": raw(b"L", b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff"),
    "headers without end": raw(b"x", b"0") * 100,
    "global headers without end": raw(b"g", b"0") * 100,
    "records without a length": records(b"path=x\n"),
    "record without an end": records(b"99 path=x\n"),
    "record of no length": records(b"0 path=x\n"),
    "record without a sign": records(b"8 pathx\n"),
    "size of many digits": records(b"1012 size=" + b"9" * 1001 + b"\n"),
    "negative size": records(b"11 size=-1\n"),
    "time that is none": records(b"13 mtime=1e9\n"),
    "sparse file": records(b"22 GNU.sparse.major=1\n"),
    "old sparse file": raw(b"S", b"0"),
    "unknown kind": raw(b"?", b"0"),
    "end in the middle": raw(b"x", b"0") + END,
    "half an end": bytes(BLOCK) + raw(b"0", b"0"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_stream_that_is_none_is_refused_in_a_line(what: str) -> None:
    with pytest.raises(JobFilesError, match="the engine's stream of files cannot be read: ") as caught:
        entries_of(HOSTILE[what] + END)
    assert "\n" not in caught.value.message


@given(data=st.binary(max_size=3000), place=st.integers(0, len(WHOLE)))
def test_no_bytes_at_all_do_worse_than_an_error(data: bytes, place: int) -> None:
    for stream in (data, WHOLE[:place] + data + WHOLE[place + len(data) :]):
        try:
            entries_of(stream)
        except (JobFilesError, ExecutorUnavailableError):
            continue


def test_memory_does_not_grow_with_the_stream() -> None:
    def chunks() -> Iterator[bytes]:
        yield header(TarEntry(name="big", kind=TarKind.FILE, size=1 << 30))
        yield from repeat(bytes(1 << 16), 1 << 14)
        for number in range(2000):
            yield written(TarEntry(name=f"{number}-" + "é" * 400, kind=TarKind.FILE, size=10), b"0123456789")
        yield END

    reader = TarReader(chunks(), stop=NEVER)
    tracemalloc.start()
    try:
        while reader.next() is not None:
            pass
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_endless_stream_is_left_when_that_is_wanted() -> None:
    stop = threading.Event()
    seen = 0

    def chunks() -> Iterator[bytes]:
        nonlocal seen
        yield header(TarEntry(name="endless", kind=TarKind.FILE, size=1 << 60))
        for _ in chain(range(10)):
            yield bytes(1 << 16)
        stop.set()
        for chunk in repeat(bytes(1 << 16)):
            seen += 1
            yield chunk

    reader = TarReader(chunks(), stop=stop)
    reader.next()
    with pytest.raises(Stopped):
        reader.next()
    assert seen <= 1
