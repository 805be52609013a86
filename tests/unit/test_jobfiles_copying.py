"""Copies of files: the same content whichever way the file system can make them, and a hash of what the copy holds."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from jobrunner_cli.engine.jobfiles.copying import CHUNK, SMALL, copy_content, create
from jobrunner_cli.engine.jobfiles.walk import Stopped
from support.disks import Disk, disk_of
from support.jobfiles import NEVER

pytestmark = pytest.mark.slow

SIZES = [0, 1, SMALL, SMALL + 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 17]


@pytest.fixture(scope="module")
def xfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    with disk_of("xfs", tmp_path_factory.mktemp("disk")) as disk:
        yield disk


@pytest.fixture(params=["here", "in memory", "to memory", "xfs", "from xfs"])
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A directory to copy from and one to copy to: on one file system, or on two."""
    with ExitStack() as closing:
        kinds = {"in memory": ("shm", "shm"), "to memory": ("here", "shm"), "xfs": ("xfs", "xfs")}
        found = []
        for number, kind in enumerate(
            kinds.get(request.param, ("xfs", "here") if request.param == "from xfs" else ("here",) * 2)
        ):
            base = tmp_path
            if kind == "xfs":
                base = request.getfixturevalue("xfs").path / tmp_path.name
            if kind == "shm":
                base = Path(closing.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))
            found.append(base / str(number))
            found[-1].mkdir(parents=True, exist_ok=True)
        yield found[0], found[1]


def copied(
    source: Path, target: Path, *, hashed: bool = True, size: int | None = None, stop: threading.Event = NEVER
) -> tuple[int, str, list[int]]:
    """Copy a file; bytes that were copied, their hash, and what was told of the progress."""
    digest, told = hashlib.sha256(), []
    reading = os.open(source, os.O_RDONLY)
    above = os.open(target.parent, os.O_RDONLY)
    writing = create(above, target.name)
    try:
        info = os.fstat(reading)
        if size is not None:
            info = os.stat_result((*info[:6], size, *info[7:]), {"st_blocks": info.st_blocks})
        done = copy_content(reading, writing, info, stop=stop, digest=digest if hashed else None, advance=told.append)
    finally:
        for handle in (reading, above, writing):
            os.close(handle)
    return done, digest.hexdigest(), told


@pytest.mark.parametrize("hashed", [True, False])
def test_every_way_of_copying_gives_the_same_content(places: tuple[Path, Path], hashed: bool) -> None:
    for size in SIZES:
        content = os.urandom(size)
        source, target = (place / f"{size}-{hashed}" for place in places)
        source.write_bytes(content)
        done, digest, told = copied(source, target.with_name(f"{target.name}.copy"), hashed=hashed)
        assert target.with_name(f"{target.name}.copy").read_bytes() == content
        assert done == sum(told) == size
        if hashed:
            assert digest == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("hashed", [True, False])
def test_holes_stay_holes(places: tuple[Path, Path], hashed: bool) -> None:
    source, target = places[0] / "sparse", places[1] / "sparse.copy"
    with source.open("wb") as file:
        file.write(b"begin")
        file.seek(20 * CHUNK)
        file.write(b"middle")
        file.truncate(40 * CHUNK)
    done, digest, told = copied(source, target, hashed=hashed)
    assert done == sum(told) == 40 * CHUNK
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_blocks * 512 < CHUNK
    if hashed:
        assert digest == hashlib.sha256(source.read_bytes()).hexdigest()


def test_what_a_source_grows_by_is_left_out_and_what_it_lacks_is_not_made_up(places: tuple[Path, Path]) -> None:
    content = os.urandom(3 * CHUNK)
    source = places[0] / "changing"
    source.write_bytes(content)
    grown = places[1] / "grown"
    assert copied(source, grown, size=2 * CHUNK)[:2] == (2 * CHUNK, hashlib.sha256(content[: 2 * CHUNK]).hexdigest())
    assert grown.read_bytes() == content[: 2 * CHUNK]
    shrunk = places[1] / "shrunk"
    assert copied(source, shrunk, size=4 * CHUNK)[:2] == (3 * CHUNK, hashlib.sha256(content).hexdigest())
    assert shrunk.read_bytes() == content


def test_the_hash_is_that_of_the_copy_while_the_source_is_written_to(places: tuple[Path, Path]) -> None:
    source = places[0] / "written"
    source.write_bytes(bytes(8 * CHUNK))
    done, begun = threading.Event(), threading.Event()

    def write() -> None:
        with source.open("r+b", buffering=0) as file:
            while not done.is_set():
                file.seek(int.from_bytes(os.urandom(3)) % (8 * CHUNK - 8))
                file.write(os.urandom(8))
                begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    begun.wait()
    try:
        for turn in range(10):
            target = places[1] / f"copy{turn}"
            _, digest, _ = copied(source, target)
            assert digest == hashlib.sha256(target.read_bytes()).hexdigest()
    finally:
        done.set()
        writer.join()


def test_a_copy_is_broken_off(places: tuple[Path, Path]) -> None:
    source = places[0] / "long"
    source.write_bytes(bytes(2 * CHUNK))
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        copied(source, places[1] / "broken", stop=stop)


def test_copies_share_blocks_where_the_file_system_can(xfs: Disk) -> None:
    source = xfs.path / "large"
    source.write_bytes(os.urandom(64 << 20))
    before = xfs.free()
    for number, hashed in enumerate((True, False)):
        copied(source, xfs.path / f"shared{number}", hashed=hashed)
    assert before - xfs.free() < 8 << 20
