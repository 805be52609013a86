"""Working copies on their way to an engine elsewhere and back: the same there, the same again here, nothing outside."""

from __future__ import annotations

import io
import os
import shutil
import stat
import tarfile
import threading
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

import pytest

from jobrunner_cli.engine.errors import DiskFullError, ExecutorUnavailableError, JobFilesError
from jobrunner_cli.engine.jobfiles import layout, matching, transfer
from jobrunner_cli.engine.jobfiles.tarstream import END, TarEntry, TarKind, header, padding
from jobrunner_cli.engine.jobfiles.unpacking import fetch
from jobrunner_cli.engine.jobfiles.walk import Stopped
from jobrunner_cli.engine.work import EntryKind, InputFile
from support.jobfiles import NEVER, Job, ListedTree, small_disk

USER = (4321, 8765)
SPEC = {
    "highly_sensitive": {"all": "out/*"},
    "moderately_sensitive": {"csv": "*.csv", "deep": "a/*/*.txt", "metadata": "metadata/*"},
}


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    job = Job(base=tmp_path / "here")
    job.lay_out({"project.yaml": "x", "data/in.csv": "1,2\n"})
    yield job
    layout.remove(job.directory)


def as_engine_tells(work: Path) -> bytes:
    """A working copy as a Docker engine packs it: whole seconds, the second name of a file as a link to the first."""
    stream = io.BytesIO()

    def seconds(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.mtime = int(entry.mtime)
        return entry

    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8") as archive:
        archive.add(work, "workspace", filter=seconds)
    return stream.getvalue()


def getting(*streams: bytes) -> Getter:
    return Getter(streams)


class Getter:
    """What stands for the engine: the same stream each time, in pieces, and how often it was asked for."""

    def __init__(self, streams: tuple[bytes, ...]) -> None:
        self._streams = streams
        self.asked = 0
        self.closed = 0

    def __call__(self) -> Generator[bytes]:
        data = self._streams[min(self.asked, len(self._streams) - 1)]
        self.asked += 1
        try:
            for place in range(0, len(data), 5000):
                yield data[place : place + 5000]
        finally:
            self.closed += 1


def fetched(job: Job, get: Getter, spec: Mapping[str, Mapping[str, str]] = SPEC) -> matching.Matched:
    fetch(get, job.directory, spec, stop=NEVER)
    return matching.match(job.directory, spec, stop=NEVER)


def unpacked(chunks: Iterator[bytes]) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks)), encoding="utf-8") as archive:
        return {entry.name: entry for entry in archive}


# -- to the engine


def test_everything_that_is_laid_out_is_sent_and_belongs_to_the_job(tmp_path: Path) -> None:
    job = Job(base=tmp_path)
    odd = os.fsdecode(b"caf\xe9\n" + b"x" * 200)
    tree = [
        (b"run.sh", EntryKind.EXECUTABLE, b"#!"),
        (b"a/b/c.txt", EntryKind.FILE, b"c" * 100_000),
        (b"a/link", EntryKind.LINK, b"../../outside"),
        (os.fsencode(odd), EntryKind.FILE, b""),
    ]
    layout.lay_out_code(job.directory, ListedTree(entries=tree), owner=None, stop=NEVER)
    sent = unpacked(transfer.packed(job.directory, user=USER, stop=NEVER))
    assert set(sent) == {"run.sh", "a", "a/b", "a/b/c.txt", "a/link", odd}
    assert {(entry.uid, entry.gid) for entry in sent.values()} == {USER}
    assert sent["run.sh"].mode & 0o111
    assert sent["a/b/c.txt"].size == 100_000
    assert (sent["a/link"].type, sent["a/link"].linkname) == (tarfile.SYMTYPE, "../../outside")
    assert all(len(piece) < 3 << 20 for piece in transfer.packed(job.directory, user=USER, stop=NEVER))


def test_inputs_are_sent_with_the_directories_that_replace_what_the_code_had(tmp_path: Path) -> None:
    job = Job(base=tmp_path)
    tree = [(b"out", EntryKind.LINK, b"elsewhere"), (b"code.py", EntryKind.FILE, b"1")]
    layout.lay_out_code(job.directory, ListedTree(entries=tree), owner=None, stop=NEVER)
    source = job.high / "out/deep/x.csv"
    source.parent.mkdir(parents=True)
    source.write_text("1,2\n")
    inputs = [InputFile(path="out/deep/x.csv", action="a")]
    layout.lay_out_inputs(job.directory, job.high, inputs, owner=None, stop=NEVER)
    layout.mark_prepared(job.directory, now_ns=5, owner=None)

    sent = unpacked(transfer.packed_inputs(job.directory, user=USER, stop=NEVER))
    assert list(sent) == ["out", "out/deep", "out/deep/x.csv", ".opensafely-timestamp"]
    assert sent["out"].isdir()
    assert set(unpacked(transfer.packed(job.directory, user=USER, stop=NEVER))) == {*sent, "code.py"}


def test_sending_is_broken_off_when_that_is_wanted(job: Job) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        list(transfer.packed(job.directory, user=USER, stop=stop))


def test_record_of_what_was_sent_is_for_one_copy(job: Job) -> None:
    assert transfer.sent(job.directory) is None
    transfer.record_sent(job.directory, "copy1", "code")
    assert transfer.sent(job.directory) == ("copy1", "code")
    (job.directory.control / "sent").write_text("copy1\nco")
    assert transfer.sent(job.directory) is None
    transfer.forget_sent(job.directory)
    transfer.forget_sent(job.directory)
    assert transfer.sent(job.directory) is None


# -- and back


def make_everything(job: Job) -> None:
    """What a job may leave: outputs, files beside, links, second names, pipes, names of all kinds."""
    for path in ("x.csv", "out/a", "out/b.bin", "a/b/c.txt", "a/b/d.dat", "scratch/huge", "metadata/log.csv", "é.csv"):
        job.make(path, path * 100)
    job.make(os.fsdecode(b"\xff.csv"))
    (job.work / "data/in.csv").write_text("3,4,5\n")
    for link, target in {
        "l.csv": "scratch/huge",
        "out/up": "../a/b/d.dat",
        "out/absolute": "/workspace/x.csv",
        "out/outside": "../../control/code.json",
        "out/nowhere": "nowhere",
        "out/circle": "circle",
        "out/dir": "../a",
        "a/linked": "b",
    }.items():
        (job.work / link).symlink_to(target)
    os.link(job.work / "a/b/d.dat", job.work / "second.csv")
    os.link(job.work / "x.csv", job.work / "zz")
    os.mkfifo(job.work / "out/pipe")
    (job.work / "out/directory").mkdir()


def test_what_comes_back_is_matched_as_if_it_had_never_been_away(job: Job, tmp_path: Path) -> None:
    make_everything(job)
    expected = matching.match(job.directory, SPEC, stop=NEVER)
    assert {"out/b.bin", "l.csv", "a/b/c.txt"} <= set(expected.outputs)
    assert {"out/pipe", "out/outside", "second.csv", "x.csv", "out/circle"} <= set(expected.refused)
    contents = {path: (job.work / path).read_bytes() for path in expected.outputs if path != "out/absolute"}
    stream = as_engine_tells(job.work)

    away = Job(base=tmp_path / "there")
    shutil.copytree(job.directory.control, away.directory.control)
    get = getting(stream)
    assert fetched(away, get) == expected
    assert {path: (away.work / path).read_bytes() for path in contents} == contents
    assert (get.asked, get.closed) == (2, 2)


def test_only_what_matters_takes_up_space(job: Job) -> None:
    job.make("out/wanted", b"w" * 300_000)
    job.make("scratch/unwanted", b"u" * 30_000_000)
    fetched(job, getting(as_engine_tells(job.work)))
    info = (job.work / "scratch/unwanted").stat()
    assert info.st_size == 30_000_000
    assert info.st_blocks * 512 < 1_000_000
    assert (job.work / "out/wanted").read_bytes() == b"w" * 300_000


def test_holes_of_an_output_stay_holes(job: Job) -> None:
    with (job.work / "big.csv").open("wb") as file:
        file.write(b"begin")
        file.truncate(40 << 20)
    fetched(job, getting(as_engine_tells(job.work)))
    info = (job.work / "big.csv").stat()
    assert (info.st_size, info.st_blocks * 512 < 1 << 20) == (40 << 20, True)
    assert (job.work / "big.csv").read_bytes()[:6] == b"begin\0"


def test_fetching_again_leaves_nothing_of_the_first_time(job: Job) -> None:
    job.make("out/old")
    first = as_engine_tells(job.work)
    shutil.rmtree(job.work / "out")
    job.make("out/new")
    second = as_engine_tells(job.work)
    assert list(fetched(job, getting(first)).outputs) == ["out/old"]
    assert list(fetched(job, getting(second)).outputs) == ["out/new"]


def test_directory_that_is_gone_is_made(job: Job) -> None:
    job.make("out/a")
    stream = as_engine_tells(job.work)
    layout.remove(job.directory)
    assert list(fetched(job, getting(stream)).outputs) == ["out/a"]


def test_hollow_file_is_never_an_output(job: Job) -> None:
    """A second stream that lacks what a link leads to is an error, not a file full of zeros."""
    job.make("scratch/target", "content")
    (job.work / "out").mkdir()
    (job.work / "out/link").symlink_to("../scratch/target")
    stream = as_engine_tells(job.work)
    (job.work / "scratch/target").unlink()
    with pytest.raises(JobFilesError, match="scratch/target"):
        fetched(job, getting(stream, as_engine_tells(job.work)))


# -- streams that no engine sends


def entry(name: str, kind: TarKind = TarKind.FILE, content: bytes = b"", target: str = "") -> bytes:
    made = TarEntry(name=name, kind=kind, size=len(content), target=target, mode=0o777)
    return header(made) + content + padding(len(content))


ROOT = entry("workspace/", TarKind.DIRECTORY)
LINK = entry("workspace/link", TarKind.LINK, target="/etc")

HOSTILE = {
    "nothing": END,
    "a file alone": entry("workspace", content=b"x") + END,
    "another root": ROOT + entry("elsewhere/x") + END,
    "absolute": ROOT + entry("/etc/evil") + END,
    "upwards": ROOT + entry("workspace/../evil") + END,
    "upwards in the middle": ROOT + entry("workspace/a/../../evil") + END,
    "the root again": ROOT + entry("workspace/", TarKind.DIRECTORY) + END,
    "twice": ROOT + entry("workspace/a") + entry("workspace/a") + END,
    "a directory twice": ROOT + entry("workspace/a/", TarKind.DIRECTORY) * 2 + END,
    "a file where a link is": ROOT + LINK + entry("workspace/link", content=b"x") + END,
    "below a link": ROOT + LINK + entry("workspace/link/evil", content=b"x") + END,
    "a directory below a link": ROOT + LINK + entry("workspace/link/evil/", TarKind.DIRECTORY) + END,
    "below a file": ROOT + entry("workspace/a") + entry("workspace/a/b") + END,
    "below nothing": ROOT + entry("workspace/a/b") + END,
    "second name of an outside file": ROOT + entry("workspace/a", TarKind.HARD_LINK, target="/etc/passwd") + END,
    "second name upwards": ROOT + entry("workspace/a", TarKind.HARD_LINK, target="workspace/../../x") + END,
    "second name below a link": ROOT + LINK + entry("workspace/a", TarKind.HARD_LINK, target="workspace/link/passwd") + END,
    "second name of nothing": ROOT + entry("workspace/a", TarKind.HARD_LINK, target="workspace/b") + END,
    "link without a target": ROOT + entry("workspace/a", TarKind.LINK) + END,
    "endless name": ROOT + entry("workspace/" + "x" * 300) + END,
    "endless target": ROOT + entry("workspace/a", TarKind.LINK, target="x" * 5000) + END,
    "name with a nought": ROOT + entry("workspace/" + "é" * 60 + "\0x") + END,
    "target with a nought": ROOT + entry("workspace/a", TarKind.LINK, target="é" * 60 + "\0x") + END,
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_stream_that_contradicts_itself_or_leads_outside_is_refused(job: Job, what: str) -> None:
    spec = {"highly_sensitive": {"a": "*", "b": "*/*"}}
    with pytest.raises(JobFilesError, match="stream of files") as caught:
        fetched(job, getting(HOSTILE[what]), spec)
    assert "\n" not in caught.value.message
    assert sorted(path.name for path in job.directory.root.iterdir()) == ["control", "hosts", "tmp", "work"]
    assert not any("evil" in path.name for path in job.base.rglob("*"))


@pytest.mark.parametrize("kind", [TarKind.CHARACTER_DEVICE, TarKind.BLOCK_DEVICE])
def test_device_is_refused_as_one_and_never_made(job: Job, kind: TarKind) -> None:
    found = fetched(job, getting(ROOT + entry("workspace/x.csv", kind) + END))
    assert os.stat(job.work / "x.csv").st_rdev == 0
    assert found.outputs == {}
    if os.geteuid() == 0:
        assert stat.S_ISCHR(os.stat(job.work / "x.csv").st_mode)
        assert found.refused == {"x.csv": "it is a device"}


def test_thousands_of_levels_are_taken_down(job: Job) -> None:
    names = [f"workspace/{'d/' * depth}" for depth in range(1, 1500)]
    levels = b"".join(entry(name, TarKind.DIRECTORY) for name in names)
    found = fetched(job, getting(ROOT + levels + entry(names[-1] + "x.csv") + entry("workspace/a.csv") + END))
    assert list(found.outputs) == ["a.csv"]


@pytest.mark.parametrize("length", [0, 100, 600, 1500, 2000])
def test_torn_stream_is_waited_out(job: Job, length: int) -> None:
    data = ROOT + entry("workspace/a.csv", content=b"x" * 1000)
    with pytest.raises(ExecutorUnavailableError):
        fetched(job, getting(data[:length]))


def test_endless_file_ends_when_that_is_wanted(job: Job) -> None:
    stop = threading.Event()

    def endless() -> Generator[bytes]:
        yield ROOT + header(TarEntry(name="workspace/a.csv", kind=TarKind.FILE, size=1 << 50))
        for number in range(1 << 40):
            yield bytes(1 << 16)
            if number == 100:
                stop.set()

    with pytest.raises(Stopped):
        fetch(endless, job.directory, SPEC, stop=stop)


def test_full_disk_leaves_nothing_behind_and_says_so(tmp_path: Path) -> None:
    with small_disk(tmp_path, 3) as small:
        job = Job(base=small)
        job.lay_out({"project.yaml": "x"})
        with pytest.raises(DiskFullError, match="take over what the job left"):
            fetched(job, getting(ROOT + entry("workspace/a.csv", content=b"x" * (8 << 20)) + END))
        assert not job.work.exists()
