"""Laying out a job's directory: exactly the commit, the inputs over it, and never a step outside."""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path

import pytest

from jobrunner_cli.engine.errors import DiskFullError, JobFilesError
from jobrunner_cli.engine.jobfiles import layout, walk
from jobrunner_cli.engine.work import EntryKind, InputFile
from support.jobfiles import COMMIT, NEVER, Job, ListedTree, as_nobody, files_below, killed_at, small_disk, tree_of


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(base=tmp_path)


def lay_out(job: Job, *entries: tuple[bytes, EntryKind, bytes]) -> None:
    layout.lay_out_code(job.directory, ListedTree(entries=list(entries)), owner=None, stop=NEVER)


def lay_out_inputs(job: Job, *paths: str, stop: threading.Event = NEVER) -> None:
    inputs = [InputFile(path=path, action="extract") for path in paths]
    layout.lay_out_inputs(job.directory, job.high, inputs, owner=None, stop=stop)


def store(job: Job, path: str, text: str = "input") -> Path:
    file = job.high / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_exactly_the_entries_of_the_tree(job: Job) -> None:
    lay_out(
        job,
        (b"README.md", EntryKind.FILE, b"hello"),
        (b"analysis/empty.py", EntryKind.FILE, b""),
        (b"analysis/run.sh", EntryKind.EXECUTABLE, b"#!/bin/sh\n"),
        (b"analysis/to-etc", EntryKind.LINK, b"/etc/passwd"),
        (b"lib", EntryKind.SUBMODULE, b""),
        ('naïve\n"name".txt'.encode(), EntryKind.FILE, b"odd"),
        (b"caf\xe9.txt", EntryKind.FILE, b"latin"),
    )
    work = job.work
    assert sorted(os.listdir(os.fsencode(work))) == sorted(
        [b"README.md", b"analysis", b"lib", 'naïve\n"name".txt'.encode(), b"caf\xe9.txt"]
    )
    assert (work / "README.md").read_text() == "hello"
    assert not (work / "README.md").stat().st_mode & 0o111
    assert (work / "analysis/run.sh").stat().st_mode & 0o100
    assert os.readlink(work / "analysis/to-etc") == "/etc/passwd"
    assert list((work / "lib").iterdir()) == []
    assert (work / "analysis/empty.py").read_bytes() == b""


@pytest.mark.parametrize(
    "path",
    [
        b"../escaped.txt",
        b"a/../../escaped.txt",
        b"/tmp/escaped.txt",
        b"a//b.txt",
        b"./a.txt",
        b".git/hooks/post-checkout",
        b"sub/.GIT/config",
        b"",
        b"a/",
        b"x" * 300,
        b"/".join([b"d" * 200] * 30),
    ],
)
def test_paths_that_lead_elsewhere_are_refused_by_name(job: Job, path: bytes) -> None:
    with pytest.raises(JobFilesError, match=COMMIT):
        lay_out(job, (b"fine.txt", EntryKind.FILE, b"x"), (path, EntryKind.FILE, b"x"))
    assert list(job.base.rglob("escaped.txt")) == []
    assert not Path("/tmp/escaped.txt").exists()
    assert not layout.is_prepared(job.directory)


def test_nothing_is_written_through_a_link_of_the_tree(job: Job, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    target = str(outside).encode()
    for entries in (
        [(b"a", EntryKind.LINK, target), (b"a/file.txt", EntryKind.FILE, b"x")],
        [(b"a", EntryKind.LINK, target + b"/file.txt"), (b"a", EntryKind.FILE, b"x")],
        [(b"a", EntryKind.LINK, target), (b"a", EntryKind.SUBMODULE, b"")],
        [(b"a", EntryKind.FILE, b"x"), (b"a/file.txt", EntryKind.FILE, b"x")],
    ):
        with pytest.raises(JobFilesError, match="'a"):
            lay_out(job, *entries)
        assert list(outside.iterdir()) == []


@pytest.mark.parametrize("target", [b"", b"x" * 5000, b"a\0b"])
def test_links_without_a_possible_target_are_refused(job: Job, target: bytes) -> None:
    with pytest.raises(JobFilesError, match="link"):
        lay_out(job, (b"link", EntryKind.LINK, target))


def test_a_torn_entry_is_not_taken_for_a_whole_one(job: Job) -> None:
    class Torn(ListedTree):
        def read(self):
            for entry in ListedTree.read(self):
                yield type(entry)(path=entry.path, kind=entry.kind, size=entry.size + 1, chunks=entry.chunks)

    with pytest.raises(JobFilesError, match=r"5 of its 6 bytes"):
        layout.lay_out_code(job.directory, Torn(entries=[(b"a", EntryKind.FILE, b"12345")]), owner=None, stop=NEVER)


def test_what_is_laid_out_stays_and_another_commit_replaces_it(job: Job) -> None:
    job.lay_out({"a.txt": "one"})
    (job.work / "made.txt").write_text("by the job")
    job.lay_out({"a.txt": "one"})
    assert (job.work / "made.txt").exists()
    layout.lay_out_code(job.directory, tree_of({"b.txt": "two"}, commit="d" * 40), owner=None, stop=NEVER)
    assert files_below(job.work) == {"b.txt": b"two"}


def test_a_job_that_is_another_user_can_read_its_own_names_whatever_the_umask(job: Job) -> None:
    before = os.umask(0o077)
    try:
        lay_out(job, (b"a.txt", EntryKind.FILE, b"one"))
    finally:
        os.umask(before)
    assert "127.0.0.1\tlocalhost" in job.directory.hosts.read_text()
    assert stat.S_IMODE(job.directory.hosts.stat().st_mode) == 0o644


def test_what_an_older_version_laid_out_is_kept_and_gets_its_names(job: Job) -> None:
    lay_out(job, (b"a.txt", EntryKind.FILE, b"one"))
    (job.work / "a.txt").write_text("as it was")
    job.directory.hosts.unlink()
    lay_out(job, (b"a.txt", EntryKind.FILE, b"one"))
    assert "localhost" in job.directory.hosts.read_text()
    assert (job.work / "a.txt").read_text() == "as it was"


def test_a_layout_from_before_the_machine_was_started_anew_is_redone(job: Job) -> None:
    job.lay_out({"a.txt": "whole"})
    layout.mark_prepared(job.directory, now_ns=1, owner=None)
    for marker in ("code.json", "prepared"):
        path = job.directory.control / marker
        path.write_text(json.dumps({**json.loads(path.read_text()), "boot": "an earlier one"}))
    (job.work / "a.txt").write_text("")
    assert not layout.is_prepared(job.directory)
    job.lay_out({"a.txt": "whole"})
    assert (job.work / "a.txt").read_text() == "whole"


@pytest.mark.parametrize("marker", ["", "{", "[]", '{"boot": 3}'])
def test_a_torn_marker_counts_for_nothing(job: Job, marker: str) -> None:
    job.lay_out({"a.txt": "one"})
    layout.mark_prepared(job.directory, now_ns=1, owner=None)
    for name in ("code.json", "prepared"):
        (job.directory.control / name).write_text(marker)
    assert not layout.is_prepared(job.directory)
    (job.work / "a.txt").unlink()
    job.lay_out({"a.txt": "one"})
    assert (job.work / "a.txt").read_text() == "one"


def test_inputs_are_copied_with_their_time(job: Job) -> None:
    job.lay_out({"analysis/a.py": ""})
    os.utime(store(job, "output/deep/data.csv", "1,2"), (1_600_000_000, 1_600_000_000))
    lay_out_inputs(job, "output/deep/data.csv", "output/deep/data.csv")
    copy = job.work / "output/deep/data.csv"
    assert copy.read_text() == "1,2"
    assert copy.stat().st_mtime == 1_600_000_000
    assert copy.stat().st_nlink == 1


def test_a_missing_input_is_named_with_its_action(job: Job) -> None:
    job.lay_out()
    store(job, "there.csv")
    (job.high / "directory.csv").mkdir()
    (job.high / "link.csv").symlink_to("/etc/passwd")
    (job.high / "linked").symlink_to("/etc")
    for path in ("output/gone.csv", "directory.csv", "link.csv", "there.csv/below.csv", "linked/passwd"):
        with pytest.raises(JobFilesError, match=rf"{path}.*extract"):
            lay_out_inputs(job, path)
    with pytest.raises(JobFilesError, match="not a plain path"):
        lay_out_inputs(job, "../../secret.csv")


def test_inputs_replace_whatever_the_repository_planted(job: Job, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious.csv").write_text("precious")
    lay_out(
        job,
        (b"as-directory.csv/inner.txt", EntryKind.FILE, b"x"),
        (b"as-file", EntryKind.FILE, b"x"),
        (b"as-link.csv", EntryKind.LINK, str(outside / "precious.csv").encode()),
        (b"linked", EntryKind.LINK, str(outside).encode()),
    )
    paths = ("as-directory.csv", "as-file/data.csv", "as-link.csv", "linked/precious.csv", "linked/new/data.csv")
    for path in paths:
        store(job, path)
    lay_out_inputs(job, *paths)
    assert files_below(outside) == {"precious.csv": b"precious"}
    for path in paths:
        copy = job.work / path
        assert copy.read_text() == "input"
        assert stat.S_ISREG(copy.lstat().st_mode)
    assert not (job.work / "linked").is_symlink()


def test_the_timestamp_for_old_tools_replaces_a_planted_link(job: Job, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    for kind, name in ((EntryKind.LINK, b".opensafely-timestamp"), (EntryKind.FILE, b".opensafely-timestamp/a/b")):
        layout.remove(job.directory)
        lay_out(job, (name, kind, str(precious).encode()))
        assert not layout.is_prepared(job.directory)
        layout.mark_prepared(job.directory, now_ns=1_700_000_000_123_456_789, owner=None)
        assert (job.work / ".opensafely-timestamp").read_text() == "1700000000123456789"
        assert layout.is_prepared(job.directory)
    assert precious.read_text() == "precious"


def test_a_prepared_job_is_left_alone(job: Job) -> None:
    job.lay_out({"a.txt": "one"})
    store(job, "data.csv", "first")
    lay_out_inputs(job, "data.csv")
    layout.mark_prepared(job.directory, now_ns=1, owner=None)
    store(job, "data.csv", "second")
    (job.work / "made.txt").write_text("by the job")
    job.lay_out({"a.txt": "one"})
    lay_out_inputs(job, "data.csv")
    assert (job.work / "data.csv").read_text() == "first"
    assert (job.work / "made.txt").exists()


def test_what_a_marker_says_in_the_working_copy_is_not_believed(job: Job) -> None:
    job.lay_out({".opensafely-timestamp": "1", "prepared": "1", "control/prepared": "1"})
    assert not layout.is_prepared(job.directory)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_everything_of_the_job_belongs_to_its_user_and_the_rest_does_not(job: Job) -> None:
    tree = ListedTree(
        entries=[
            (b"a/b/run.sh", EntryKind.EXECUTABLE, b"x"),
            (b"link", EntryKind.LINK, b"a"),
            (b"sub", EntryKind.SUBMODULE, b""),
        ]
    )
    store(job, "output/data.csv")
    layout.lay_out_code(job.directory, tree, owner=(1234, 2345), stop=NEVER)
    inputs = [InputFile(path="output/data.csv", action="extract")]
    layout.lay_out_inputs(job.directory, job.high, inputs, owner=(1234, 2345), stop=NEVER)
    layout.mark_prepared(job.directory, now_ns=1, owner=(1234, 2345))
    for path in [job.work, job.directory.tmp, *job.work.rglob("*")]:
        assert (path.lstat().st_uid, path.lstat().st_gid) == (1234, 2345), path
    for path in [job.directory.root, job.directory.control, *job.directory.control.rglob("*")]:
        assert path.lstat().st_uid == 0, path
    assert job.directory.control.stat().st_mode & 0o077 == 0
    assert job.work.stat().st_mode & 0o077 == 0
    assert job.directory.root.stat().st_mode & 0o066 == 0


def test_a_set_stop_event_ends_the_work_and_it_is_done_again_later(job: Job) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(walk.Stopped):
        layout.lay_out_code(job.directory, tree_of({"a.txt": "one"}), owner=None, stop=stop)
    job.lay_out({"a.txt": "one"})
    store(job, "data.csv")
    with pytest.raises(walk.Stopped):
        lay_out_inputs(job, "data.csv", stop=stop)
    job.lay_out({"a.txt": "one"})
    lay_out_inputs(job, "data.csv")
    assert files_below(job.work) == {"a.txt": b"one", "data.csv": b"input"}


def test_an_unprivileged_runner_lays_out_and_removes(tmp_path: Path) -> None:
    def act(base: Path) -> None:
        job = Job(base=base)
        job.lay_out({"a/b.txt": "one"})
        store(job, "data.csv")
        lay_out_inputs(job, "data.csv")
        layout.mark_prepared(job.directory, now_ns=1, owner=None)
        assert layout.is_prepared(job.directory)
        assert job.directory.root.stat().st_mode & 0o777 == 0o700
        layout.remove(job.directory)
        assert not job.directory.root.exists()

    as_nobody(act)


def test_killed_at_any_step_of_preparing_it_is_done_again_in_full(job: Job) -> None:
    tree = ListedTree(
        entries=[
            (b"a/b.txt", EntryKind.FILE, b"code"),
            (b"data.csv", EntryKind.FILE, b"planted"),
            (b"z", EntryKind.LINK, b"a"),
        ]
    )
    store(job, "data.csv", "input")
    store(job, "z/more.csv", "more")

    def prepare(*paths: str) -> None:
        layout.lay_out_code(job.directory, tree, owner=None, stop=NEVER)
        lay_out_inputs(job, *paths)
        layout.mark_prepared(job.directory, now_ns=7, owner=None)

    step = 1
    while killed_at(step, lambda: prepare("data.csv", "z/more.csv")):
        # Between the tries the needed action ran again and no longer makes one of the inputs.
        if not layout.is_prepared(job.directory):
            prepare("data.csv")
            assert (job.work / "z").is_symlink()
            assert files_below(job.work) == {
                ".opensafely-timestamp": b"7",
                "a/b.txt": b"code",
                "data.csv": b"input",
            }
        layout.remove(job.directory)
        step += 1
    assert step > 25
    assert (job.work / "z/more.csv").read_text() == "more"


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b", "ü"])
def test_an_id_that_is_no_plain_name_has_no_directory(tmp_path: Path, name: str) -> None:
    with pytest.raises(JobFilesError, match="not a job id"):
        layout.JobDirectory.of(tmp_path, name)


def test_a_full_disk_is_said_and_given_back(tmp_path: Path) -> None:
    with small_disk(tmp_path, 2) as disk:
        job = Job(base=disk)
        with pytest.raises(DiskFullError, match="no space"):
            lay_out(job, (b"big.bin", EntryKind.FILE, b"x" * (3 << 20)))
        assert not job.work.exists()
        lay_out(job, (b"small.bin", EntryKind.FILE, b"x" * 1000))
        with pytest.raises(DiskFullError, match="no space"):
            layout.lay_out_inputs(
                job.directory, big_workspace(tmp_path), [InputFile(path="big.csv", action="a")], owner=None, stop=NEVER
            )
        assert not job.work.exists()


def big_workspace(base: Path) -> Path:
    (base / "big.csv").write_bytes(b"x" * (3 << 20))
    return base
