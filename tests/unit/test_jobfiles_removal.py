"""A job's directory can always be removed, whatever the job has made of it, and nothing else with it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from jobrunner_cli.engine.errors import JobFilesError
from jobrunner_cli.engine.jobfiles import layout, walk
from jobrunner_cli.engine.jobfiles.walk import open_directory
from support.jobfiles import NEVER, Job, as_nobody, make_deep, make_socket


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    job = Job(base=tmp_path)
    job.lay_out({"a.txt": "one"})
    yield job
    # pytest's own tidying up recurses, and trees of thousands of levels would end it.
    layout.remove(job.directory)


def test_an_absent_directory_is_fine(tmp_path: Path) -> None:
    layout.remove(Job(base=tmp_path / "nowhere").directory)
    (tmp_path / "volumes").mkdir()
    layout.remove(Job(base=tmp_path).directory)


@pytest.mark.parametrize("levels", [200, 3000])
def test_any_depth(job: Job, levels: int) -> None:
    make_deep(job.work, levels, name="d" * 50)
    before = len(os.listdir("/proc/self/fd"))
    layout.remove(job.directory)
    assert not job.directory.root.exists()
    assert len(os.listdir("/proc/self/fd")) == before


def test_odd_names_and_kinds(job: Job) -> None:
    for name in (b"new\nline", b'"quoted"', b"caf\xe9", b" ", b"-rf", b"\xff\xfe", b"*"):
        (job.work / os.fsdecode(name)).mkdir()
        (job.work / os.fsdecode(name) / os.fsdecode(name)).write_text("x")
    os.mkfifo(job.work / "pipe")
    make_socket(job.work / "socket")
    layout.remove(job.directory)
    assert not job.directory.root.exists()


def test_links_are_removed_and_not_what_they_lead_to(job: Job, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "below").mkdir(parents=True)
    (outside / "precious.txt").write_text("precious")
    (job.work / "link").symlink_to(outside)
    (job.work / "file").symlink_to(outside / "precious.txt")
    (job.work / "circle").symlink_to(".")
    os.link(outside / "precious.txt", job.work / "hard")
    layout.remove(job.directory)
    assert (outside / "precious.txt").read_text() == "precious"
    assert (outside / "below").is_dir()


def test_a_job_directory_that_is_a_link_is_only_unlinked(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "work").mkdir(parents=True)
    job = Job(base=tmp_path)
    job.directory.root.parent.mkdir()
    job.directory.root.symlink_to(outside)
    layout.remove(job.directory)
    assert not job.directory.root.is_symlink()
    assert (outside / "work").is_dir()


def test_directories_without_permissions(tmp_path: Path) -> None:
    def act(base: Path) -> None:
        job = Job(base=base)
        job.lay_out({"a.txt": "one"})
        for mode in (0o000, 0o400, 0o100, 0o200, 0o500):
            inner = job.work / f"mode-{mode}" / "inner"
            inner.mkdir(parents=True)
            (inner / "file").write_text("x")
            inner.chmod(mode)
            inner.parent.chmod(mode)
        job.work.chmod(0)
        layout.remove(job.directory)
        assert not job.directory.root.exists()

    as_nobody(act)


def test_while_something_still_writes_there_it_is_removed_or_that_is_said(job: Job) -> None:
    begun = threading.Event()

    def write() -> None:
        with suppress(OSError):
            for number in range(300):
                directory = job.work / f"dir-{number % 7}"
                directory.mkdir(exist_ok=True)
                (directory / f"file-{number}").touch()
                begun.set()
        begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    begun.wait()
    with suppress(JobFilesError):
        layout.remove(job.directory)
    writer.join()
    layout.remove(job.directory)
    assert not job.directory.root.exists()


def test_a_walk_sees_everything_once_at_any_depth_with_few_handles(job: Job) -> None:
    make_deep(job.work, 500)
    job.make("b/c.txt")
    seen = []
    most = 0
    root = open_directory(job.work)
    for entry in walk.walk(root, stop=NEVER, longest_path=10_000):
        seen.append(entry.path)
        most = max(most, len(os.listdir("/proc/self/fd")))
    os.close(root)
    deep = "/".join(["d"] * 500)
    assert sorted(seen) == sorted(
        ["a.txt", "b", "b/c.txt", *("/".join(["d"] * depth) for depth in range(1, 501)), f"{deep}/bottom.txt"]
    )
    assert most < 150


def test_a_walk_stops_when_told(job: Job) -> None:
    stop = threading.Event()
    stop.set()
    root = open_directory(job.work)
    with pytest.raises(walk.Stopped):
        list(walk.walk(root, stop=stop, longest_path=100))
    os.close(root)
