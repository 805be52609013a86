"""Working copies made to harm: nothing outside is read, nothing takes for ever, and all of it can be removed."""

from __future__ import annotations

import ctypes
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from jobrunner_cli.engine.errors import JobFilesError
from jobrunner_cli.engine.jobfiles import layout, matching, publish
from jobrunner_cli.engine.jobfiles.walk import held, open_directory
from jobrunner_cli.engine.work import InputFile
from support.jobfiles import NEVER, Job, files_below, make_deep

pytestmark = pytest.mark.slow

SECRET = "secret"

#: Of renameat2(2): below the current directory, and both names stay.
_HERE = -100
_EXCHANGE = 2


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    job = Job(base=tmp_path)
    job.lay_out({"project.yaml": "x"})
    yield job
    layout.remove(job.directory)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory that no job may come to, with the names that jobs use."""
    outside = tmp_path / "outside"
    (outside / "out").mkdir(parents=True)
    for path in ("a.csv", "out/a.csv"):
        (outside / path).write_text(SECRET)
    return outside


@contextmanager
def swapped(path: Path, *others: Path) -> Iterator[None]:
    """While the block runs, what is at a path is exchanged with each of the others, in one step, without end."""
    libc = ctypes.CDLL(None, use_errno=True)
    done, begun = threading.Event(), threading.Event()

    def swap() -> None:
        while not done.is_set():
            for other in others:
                libc.renameat2(_HERE, os.fsencode(path), _HERE, os.fsencode(other), _EXCHANGE)
                begun.set()

    thread = threading.Thread(target=swap)
    thread.start()
    begun.wait()
    try:
        yield
    finally:
        done.set()
        thread.join()


def attempt(job: Job, pattern: str) -> bool:
    """Match, stage and publish, which may also be refused; nothing but the job's own content is stored by it.

    Whether something was stored.
    """
    with suppress(JobFilesError):
        job.publish(high=pattern)
    publish.discard_staging(job.stores, job.id)
    stored = files_below(job.high)
    assert stored in ({}, {"out/a.csv": b"mine"})
    (job.high / "out/a.csv").unlink(missing_ok=True)
    return bool(stored)


@pytest.mark.parametrize("kind", ["link", "pipe", "hard link", "directory"])
def test_a_file_that_is_swapped_all_the_time_never_gives_away_what_is_outside(
    job: Job, outside: Path, kind: str
) -> None:
    file, other = job.make("out/a.csv", "mine"), job.work / "other"
    match kind:
        case "link":
            other.symlink_to(outside / "a.csv")
        case "pipe":
            os.mkfifo(other)
        case "hard link":
            os.link(outside / "a.csv", other)
        case "directory":
            other.mkdir()
    with swapped(file, other):
        stored = sum(attempt(job, "out/*.csv") for _ in range(400))
    assert 0 < stored < 400
    assert (outside / "a.csv").read_text() == SECRET


def test_a_directory_that_is_swapped_all_the_time_leads_nowhere_else(job: Job, outside: Path) -> None:
    job.make("out/a.csv", "mine")
    (job.work / "link").symlink_to(outside)
    with swapped(job.work / "out", job.work / "link"):
        stored = sum(attempt(job, "out/*.csv") for _ in range(400))
    assert 0 < stored < 400


def test_removal_while_directories_become_links_removes_nothing_else(job: Job, outside: Path) -> None:
    removed = 0
    for turn in range(30):
        other = Job(base=job.base, id=f"turn{turn}")
        other.lay_out({f"out/deep/{number}.txt": "x" for number in range(30)})
        link = job.base / f"link{turn}"
        link.symlink_to(outside)
        with swapped(other.work / "out", link), suppress(JobFilesError):
            layout.remove(other.directory)
            removed += 1
        layout.remove(other.directory)
        assert not other.directory.root.exists()
    assert removed > 0
    assert (outside / "a.csv").read_text() == (outside / "out/a.csv").read_text() == SECRET


def test_inputs_laid_out_while_links_are_planted_stay_inside(job: Job, outside: Path) -> None:
    for path in ("out/a.csv", "out/new.csv"):
        (job.high / path).parent.mkdir(parents=True, exist_ok=True)
        (job.high / path).write_text("input")
    inputs = [InputFile(path=path, action="extract") for path in ("out/a.csv", "out/new.csv")]
    laid_out = 0
    for turn in range(200):
        (job.work / "out").mkdir(exist_ok=True)
        link = job.base / f"link{turn}"
        link.symlink_to(outside / "out")
        with swapped(job.work / "out", link), suppress(JobFilesError):
            layout.lay_out_inputs(job.directory, job.high, inputs, owner=None, stop=NEVER)
            laid_out += 1
    assert laid_out > 0
    assert files_below(outside) == {"a.csv": SECRET.encode(), "out/a.csv": SECRET.encode()}


def test_links_that_lead_on_and_on_cost_little(job: Job) -> None:
    """Each is a valid way, of 32,000 steps: gone for each of thousands, it would take hours."""
    job.make("d/real.csv", "content")
    winding = "d/../" * 800
    previous = "d/real.csv"
    for number in range(40):
        (job.work / f"chain{number}").symlink_to(winding + previous)
        previous = f"chain{number}"
    for number in range(1000):
        (job.work / f"{number}.csv").symlink_to(previous)
    (job.work / "fine.csv").symlink_to("d/../" * 40 + "d/real.csv")
    found = job.match(high="*.csv")
    assert list(found.outputs) == ["fine.csv"]
    assert set(found.refused.values()) == {"it is a link that leads on and on"}
    assert len(found.refused) + found.refused_more == 1000


def test_terabytes_of_holes_are_refused_by_name_and_some_holes_are_not(job: Job) -> None:
    for number in range(20):
        os.truncate(job.make(f"terabyte{number:02}.csv", "start"), 1 << 40)
    os.truncate(job.make("some.csv", "start"), 64 << 20)
    found = job.match(high="*.csv")
    assert list(found.outputs) == ["some.csv"]
    assert len(found.refused) == 20
    assert all("sparse" in reason for reason in found.refused.values())


def test_holes_of_many_files_add_up(job: Job) -> None:
    for number in range(10):
        os.truncate(job.make(f"{number}.csv", "start"), matching.MOST_BYTES_OF_NOTHING // 4)
    found = job.match(high="*.csv")
    assert (len(found.outputs), len(found.refused)) == (4, 6)


def test_many_links_to_one_large_file_do_not_become_as_many_copies(job: Job) -> None:
    os.truncate(job.make("large.bin"), matching.MOST_BYTES_OF_NOTHING // 4)
    for number in range(10):
        (job.work / f"{number}.csv").symlink_to("large.bin")
    found = job.match(high="*.csv")
    # The first counts for its holes, and each one after it as a whole.
    assert (len(found.outputs), len(found.refused)) == (4, 6)
    assert all("many links" in reason for reason in found.refused.values())
    assert found.size == 4 * (matching.MOST_BYTES_OF_NOTHING // 4)


def test_more_outputs_than_a_runner_can_keep_in_mind_are_an_error(job: Job) -> None:
    above = "/".join(["d" * 240] * 13)
    job.make(f"{above}/first.csv")
    with held(open_directory(job.work / above)) as directory:
        for number in range(matching.MOST_CHARACTERS // len(above) + 1):
            os.close(os.open(f"{number}.csv", os.O_CREAT | os.O_WRONLY, dir_fd=directory))
    with pytest.raises(JobFilesError, match="more files than can be stored") as raised:
        job.match(high=f"{above}/*.csv")
    assert "shorter names" in (raised.value.hint or "")


def test_a_copy_has_no_rights_and_owner_of_the_jobs_file(job: Job) -> None:
    job.make("tool.csv", "x\n").chmod(0o6777)
    job.publish(moderate="tool.csv")
    for store in (job.high, job.medium):
        info = (store / "tool.csv").stat()
        assert not info.st_mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
        assert info.st_uid == os.geteuid()


@pytest.mark.parametrize("kind", ["link", "file"])
def test_a_working_copy_that_is_replaced_as_a_whole_is_not_entered(job: Job, outside: Path, kind: str) -> None:
    job.work.rename(job.work.with_name("moved"))
    if kind == "link":
        job.work.symlink_to(outside)
    else:
        job.work.write_text("x")
    with pytest.raises(JobFilesError, match="cannot look for the outputs"):
        job.match(high="*.csv")
    layout.remove(job.directory)
    assert (outside / "a.csv").read_text() == SECRET


@pytest.mark.slow
def test_a_hundred_thousand_files_and_some_links(job: Job) -> None:
    for number in range(100):
        directory = job.work / f"d{number}"
        directory.mkdir()
        for inner in range(1000):
            (directory / f"{inner}.tmp").touch()
        for inner in range(200):
            (directory / f"{inner}.csv").symlink_to("/etc/passwd")
    make_deep(job.work / "d7", 3000, name="n" * 100)
    before = len(os.listdir("/proc/self/fd"))
    found = job.match(high="*/*.csv")
    assert found.outputs == {}
    assert (len(found.refused), found.refused_more) == (100, 19_900)
    assert (len(found.unmatched_files), found.unmatched_files_more) == (100, 99_900)
    layout.remove(job.directory)
    assert not job.directory.root.exists()
    assert len(os.listdir("/proc/self/fd")) == before
