"""Which files are outputs, and that nothing outside the working copy ever is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner_cli.engine.errors import JobFilesError
from jobrunner_cli.engine.jobfiles import layout, matching
from jobrunner_cli.engine.work import EntryKind, InputFile
from support.jobfiles import NEVER, Job, ListedTree, as_nobody, make_deep, make_socket


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    job = Job(base=tmp_path)
    job.lay_out({"project.yaml": "x"})
    yield job
    # pytest's own tidying up recurses, and trees of thousands of levels would end it.
    layout.remove(job.directory)


def test_a_star_stays_within_its_component(job: Job) -> None:
    for path in (
        "out/a.csv",
        "out/b.csv",
        "out/.hidden.csv",
        "out/deep/c.csv",
        "out/d.txt",
        "a.csv",
        "out/new\nline.csv",
    ):
        job.make(path)
    found = job.match(high="out/*.csv")
    assert list(found.outputs) == ["out/.hidden.csv", "out/a.csv", "out/b.csv", "out/new\nline.csv"]
    assert found.unmatched_patterns == ()
    assert list(job.match(high="*/*/*.csv").outputs) == ["out/deep/c.csv"]
    assert list(job.match(high="o*t/d*p/c.csv").outputs) == ["out/deep/c.csv"]


def test_only_a_star_is_special_and_case_counts(job: Job) -> None:
    for path in ("a+b.csv", "aab.csv", "A+b.csv", "x.y.csv", "xzy.csv"):
        job.make(path)
    assert list(job.match(high=["a+b.csv", "x.y.csv"]).outputs) == ["a+b.csv", "x.y.csv"]


@given(st.text("ab*", max_size=8), st.text("ab", max_size=8))
def test_a_component_matches_as_the_shell_says(pattern: str, name: str) -> None:
    import fnmatch

    pieces = pattern.split("*")
    assert matching.fits(pieces, name) == fnmatch.fnmatchcase(name, pattern)


def test_a_pattern_made_to_take_for_ever_does_not(job: Job) -> None:
    job.make("a" * 250 + ".csv")
    found = job.match(high="a*" * 60 + "b.csv")
    assert found.outputs == {}
    assert len(found.unmatched_patterns) == 1


def test_the_last_level_wins_and_then_the_last_pattern(job: Job) -> None:
    job.make("both.csv")
    job.make("only.csv")
    found = job.match(minimal="both.csv", moderate="*.csv", high="*.csv")
    assert found.outputs == {"both.csv": "minimally_sensitive", "only.csv": "moderately_sensitive"}
    assert found.unmatched_patterns == ()


def test_patterns_that_match_nothing_are_listed_as_declared(job: Job) -> None:
    job.make("a.csv")
    found = job.match(high=["gone/*.csv", "a.csv"], moderate="b.csv", minimal="b.csv")
    assert found.outputs == {"a.csv": "highly_sensitive"}
    assert found.unmatched_patterns == ("gone/*.csv", "b.csv")


def test_only_what_the_job_made_is_hinted_at(tmp_path: Path) -> None:
    job = Job(base=tmp_path)
    tree = ListedTree(
        entries=[
            (b"analysis/run.py", EntryKind.FILE, b"x"),
            (b"changed.txt", EntryKind.FILE, b"x"),
            (b"link", EntryKind.LINK, b"/etc"),
            (b"sub", EntryKind.SUBMODULE, b""),
        ]
    )
    layout.lay_out_code(job.directory, tree, owner=None, stop=NEVER)
    (job.high / "in").mkdir(parents=True)
    (job.high / "in/data.csv").write_text("1")
    inputs = [InputFile(path="in/data.csv", action="extract")]
    layout.lay_out_inputs(job.directory, job.high, inputs, owner=None, stop=NEVER)
    layout.mark_prepared(job.directory, now_ns=1, owner=None)
    job.make("changed.txt", "rather different")
    job.make("out/made\n.csv")
    job.make("out/matched.csv")
    found = job.match(high=["out/matched.csv", "other/*.csv"])
    assert found.unmatched_files == ("changed.txt", "out/made\\n.csv")
    assert found.refused == {}


def test_a_job_that_makes_thousands_of_files_is_told_of_a_hundred(job: Job) -> None:
    for number in range(2500):
        job.make(f"junk/{number:05}.tmp")
        (job.work / f"junk/{number:05}.csv").symlink_to("/etc/passwd")
    found = job.match(high="junk/*.csv")
    assert found.unmatched_files == tuple(f"junk/{number:05}.tmp" for number in range(100))
    assert found.unmatched_files_more == 2400
    assert list(found.refused) == [f"junk/{number:05}.csv" for number in range(100)]
    assert found.refused_more == 2400


def test_a_link_to_a_file_inside_counts_as_that_file(job: Job) -> None:
    job.make("real/data.csv", "content")
    links = {
        "plain.csv": "real/data.csv",
        "dots.csv": "./real/../real/data.csv",
        "in-container.csv": "/workspace/real/data.csv",
        "absolute.csv": str(job.work / "real/data.csv"),
        "chain.csv": "plain.csv",
        "by-directory.csv": "to-real/data.csv",
    }
    (job.work / "to-real").symlink_to("real")
    for name, target in links.items():
        (job.work / name).symlink_to(target)
    assert sorted(job.match(high="*.csv").outputs) == sorted(links)


@pytest.mark.parametrize(
    "target",
    [
        "/etc/passwd",
        "../outside.csv",
        "../../../../../../../../etc/passwd",
        "/workspace/../control/code.json",
        "/workspace/../../../../../../../etc/passwd",
        "../control/code.json",
        "real/../../outside.csv",
        "/proc/self/environ",
        "/dev/zero",
        "gone.csv",
        "out.csv",
        "loop-a",
        "real",
        "real/",
        "real/data.csv/",
        "real/data.csv/x",
        "pipe",
        "hard-1",
        "escape/outside.csv",
        "./",
        "/workspace",
        "d/" * 2000,
    ],
)
def test_any_other_link_is_refused_by_name(job: Job, target: str) -> None:
    (job.directory.root / "outside.csv").write_text("secret")
    job.make("real/data.csv")
    job.make("hard-1")
    os.link(job.work / "hard-1", job.work / "hard-2")
    os.mkfifo(job.work / "pipe")
    (job.work / "loop-a").symlink_to("loop-b")
    (job.work / "loop-b").symlink_to("loop-a")
    (job.work / "escape").symlink_to("..")
    (job.work / "out.csv").symlink_to(target)
    found = job.match(high="out.csv")
    assert found.outputs == {}
    assert found.unmatched_patterns == ("out.csv",)
    assert list(found.refused) == ["out.csv"]
    assert "out.csv" not in found.unmatched_files


def test_links_in_the_place_of_a_directory_are_not_gone_through(job: Job, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "data.csv").write_text("secret")
    (job.work / "out").symlink_to(outside)
    job.make("inner/data.csv")
    (job.work / "again").symlink_to("inner")
    found = job.match(high=["out/*.csv", "again/*.csv"])
    assert found.outputs == {}
    assert sorted(found.refused) == ["again", "out"]


def test_pipes_sockets_devices_hard_links_and_directories_are_refused(job: Job) -> None:
    os.mkfifo(job.work / "pipe.csv")
    make_socket(job.work / "socket.csv")
    (job.work / "directory.csv").mkdir()
    os.link(job.make("one.csv"), job.work / "two.csv")
    wanted = {"pipe.csv": "pipe", "socket.csv": "socket", "directory.csv": "directory", "one.csv": "hard link"}
    if os.geteuid() == 0:
        os.mknod(job.work / "device.csv", 0o644 | 0o020000, os.makedev(1, 5))
        wanted["device.csv"] = "device"
    found = job.match(high="*.csv")
    assert found.outputs == {}
    assert sorted(found.refused) == sorted([*wanted, "two.csv"])
    for name, word in wanted.items():
        assert word in found.refused[name]


def test_names_that_are_not_utf8_are_refused_in_printable_form(job: Job) -> None:
    (job.work / os.fsdecode(b"caf\xe9.csv")).write_text("x")
    (job.work / os.fsdecode(b"caf\xe9.txt")).write_text("x")
    found = job.match(high="*.csv")
    assert found.outputs == {}
    assert list(found.refused) == ["caf\\xe9.csv"]
    assert found.unmatched_files == ("caf\\xe9.txt",)


def test_what_belongs_to_the_store_is_no_output(job: Job) -> None:
    job.make("metadata/manifest.json", "{}")
    job.make("METADATA/manifest.json", "{}")
    job.make("other/manifest.json", "{}")
    found = job.match(high="*/manifest.json")
    assert list(found.outputs) == ["other/manifest.json"]
    assert len(found.refused) == 2


def test_two_hundred_levels_are_matched(job: Job) -> None:
    make_deep(job.work, 200)
    path = "/".join(["d"] * 200 + ["bottom.txt"])
    assert list(job.match(high=path).outputs) == [path]
    assert list(job.match(high="/".join(["*"] * 200 + ["bottom.txt"])).outputs) == [path]


def test_three_thousand_levels_do_no_harm(job: Job) -> None:
    make_deep(job.work, 3000, name="deep")
    job.make("a.csv")
    found = job.match(high=["a.csv", "*/*/x.csv"])
    assert list(found.outputs) == ["a.csv"]
    assert found.unmatched_files == ()


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    def act(base: Path) -> None:
        job = Job(base=base)
        job.lay_out()
        job.make("fine.csv")
        job.make("secret.csv").chmod(0)
        job.make("closed/a.csv").parent.chmod(0)
        job.make("other/a.csv").parent.chmod(0)
        job.work.chmod(0)
        found = job.match(high=["*.csv", "closed/*.csv"])
        assert list(found.outputs) == ["fine.csv"]
        assert sorted(found.refused) == ["closed", "secret.csv"]

    as_nobody(act)


def test_no_working_copy_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(JobFilesError, match=r"cannot look for the outputs: .*os-job-job1: no such file"):
        Job(base=tmp_path).match(high="*.csv")
