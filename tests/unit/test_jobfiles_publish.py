"""Outputs on their way into the stores: staged, checked, published, and what is taken away again."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import threading
from pathlib import Path

import pytest

from jobrunner_cli.engine.errors import DiskFullError, JobFilesError
from jobrunner_cli.engine.jobfiles import manifest, matching, publish, walk
from support.jobfiles import LIMITS, NEVER, Job, as_nobody, files_below, small_disk


@pytest.fixture
def job(tmp_path: Path) -> Job:
    job = Job(base=tmp_path)
    job.lay_out()
    return job


def staged(job: Job) -> list[Path]:
    return [path for store in (job.high, job.medium) for path in store.glob("metadata/.staging/*/*") if path.is_file()]


def test_each_level_goes_where_it_belongs(job: Job) -> None:
    for level in ("high", "moderate", "minimal"):
        job.make(f"out/deep/{level}.csv", f"a\n{level}\n")
    outputs = job.publish(high="out/*/high.csv", moderate="out/*/moderate.csv", minimal="out/*/minimal.csv")
    assert files_below(job.high) == {
        f"out/deep/{level}.csv": f"a\n{level}\n".encode() for level in ("high", "minimal", "moderate")
    }
    assert files_below(job.medium) == {"out/deep/moderate.csv": b"a\nmoderate\n"}
    assert [(output.path, output.row_count, output.col_count) for output in outputs] == [
        ("out/deep/high.csv", None, None),
        ("out/deep/minimal.csv", None, None),
        ("out/deep/moderate.csv", 1, 1),
    ]


def test_what_is_recorded_of_an_output(job: Job) -> None:
    file = job.make("a.txt", "content")
    os.utime(file, ns=(1, 1_600_000_000_250_000_000))
    (output,) = job.publish(high="a.txt")
    assert output.size == 7
    assert output.timestamp == 1_600_000_000.25
    assert output.content_hash == hashlib.sha256(b"content").hexdigest()
    assert (output.excluded, output.message) == (False, None)
    assert (job.high / "a.txt").stat().st_mtime_ns == 1_600_000_000_250_000_000


def test_nothing_is_in_its_place_before_it_is_published(job: Job) -> None:
    job.make("a.csv")
    outputs = job.stage(moderate="a.csv")
    assert files_below(job.high) == files_below(job.medium) == {}
    assert len(staged(job)) == 2
    publish.discard_staging(job.stores, job.id)
    assert staged(job) == []
    with pytest.raises(JobFilesError, match=r"a\.csv is neither staged nor in its place"):
        job.put_in_place(outputs)


def test_staging_again_replaces_what_was_staged(job: Job) -> None:
    job.make("a.csv", "one")
    job.make("b.csv", "one")
    job.stage(moderate="*.csv")
    (job.work / "a.csv").unlink()
    (output,) = job.stage(high="*.csv")
    assert [path.read_text() for path in staged(job)] == ["one"]
    assert output.path == "b.csv"


def test_a_job_without_outputs_makes_nothing_but_a_manifest(job: Job) -> None:
    assert job.publish(high="*.csv") == ()
    assert not job.high.exists()
    assert [path.name for path in job.medium.rglob("*.*")] == [".manifest.lock", "manifest.json"]


def test_a_file_that_is_held_back_leaves_a_reason_in_its_stead(job: Job) -> None:
    job.make("out/a.csv", "patient_id\n1\n")
    job.make("out/b.csv", "x\n1\n")
    first, second = job.publish(moderate="out/*.csv")
    assert (first.excluded, first.message) == (True, "The file has a patient_id column")
    assert (second.excluded, second.message) == (False, None)
    assert sorted(files_below(job.high)) == ["out/a.csv", "out/b.csv"]
    medium = files_below(job.medium)
    assert sorted(medium) == ["out/a.csv.txt", "out/b.csv"]
    assert b"The file has a patient_id column" in medium["out/a.csv.txt"]


def test_the_reason_goes_when_the_file_becomes_acceptable_and_the_file_when_it_no_longer_is(job: Job) -> None:
    for content, expected in (("x\n1\n", "a.csv"), ("patient_id\n1\n", "a.csv.txt"), ("x\n2\n", "a.csv")):
        job.make("a.csv", content)
        job.publish(moderate="a.csv")
        assert list(files_below(job.medium)) == [expected]
    job.publish(high="a.csv")
    assert files_below(job.medium) == {}


def test_the_reason_goes_when_the_file_is_no_longer_to_be_released_at_all(job: Job) -> None:
    job.make("a.csv", "patient_id\n1\n")
    job.put_in_place(job.stage(moderate="a.csv"))
    job.publish(high="a.csv")
    assert files_below(job.medium) == {}


def test_a_reason_never_takes_the_place_of_a_released_output(job: Job) -> None:
    job.make("a.csv", "patient_id\n1\n")
    job.make("a.csv.txt", "a real output")
    job.publish(moderate=["a.csv", "a.csv.txt"])
    assert files_below(job.medium) == {"a.csv.txt": b"a real output"}


def test_another_actions_output_with_a_reasons_name_stays(job: Job) -> None:
    job.make("a.csv.txt", "a real output")
    dataclasses.replace(job, action="other").publish(moderate="a.csv.txt")
    for content in ("patient_id\n1\n", "x\n1\n"):
        job.make("a.csv", content)
        job.put_in_place(job.stage(moderate="a.csv"))
        assert files_below(job.medium)["a.csv.txt"] == b"a real output"


def test_an_output_that_is_now_high_only_does_not_stay_released_under_a_reasons_name(job: Job) -> None:
    job.make("a.csv", "patient_id\n1\n")
    job.make("a.csv.txt", "secret")
    job.publish(moderate="a.csv.txt")
    job.publish(moderate="a.csv", high="a.csv.txt")
    assert b"secret" not in files_below(job.medium)["a.csv.txt"]
    job.publish(high=["a.csv", "a.csv.txt"])
    assert files_below(job.medium) == {}


def test_a_reason_stays_when_another_action_makes_a_high_output_of_its_name(job: Job) -> None:
    job.make("a.csv", "patient_id\n1\n")
    job.publish(moderate="a.csv")
    reasons = files_below(job.medium)
    job.make("a.csv.txt", "secret")
    dataclasses.replace(job, action="other").publish(high="a.csv.txt")
    assert files_below(job.medium) == reasons


def test_a_reason_takes_no_place_where_another_actions_outputs_are(job: Job) -> None:
    job.make("a.csv.txt/b.txt", "a real output")
    dataclasses.replace(job, action="other").publish(moderate="a.csv.txt/*.txt")
    job.make("a.csv", "patient_id\n1\n")
    job.publish(moderate="a.csv")
    assert files_below(job.medium) == {"a.csv.txt/b.txt": b"a real output"}


def test_a_name_too_long_for_its_reason_is_still_held_back(job: Job) -> None:
    name = "x" * 250 + ".csv"
    job.make(name, "patient_id\n1\n")
    (output,) = job.publish(moderate="*.csv")
    assert output.excluded
    assert list(files_below(job.high)) == [name]
    assert files_below(job.medium) == {}


def test_a_link_is_stored_as_the_content_that_it_leads_to(job: Job) -> None:
    job.make("real/data.csv", "x\n1\n")
    (job.work / "link.csv").symlink_to("/workspace/real/data.csv")
    job.publish(moderate="link.csv")
    for store in (job.high, job.medium):
        assert (store / "link.csv").read_text() == "x\n1\n"
        assert not (store / "link.csv").is_symlink()


@pytest.mark.parametrize("swap", ["link", "pipe", "hard link", "directory", "gone", "parent"])
def test_a_file_that_was_swapped_after_it_was_matched_is_not_read(job: Job, tmp_path: Path, swap: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.csv").write_text("secret")
    file = job.make("out/a.csv")
    matched = job.match(high="out/a.csv")
    file.unlink()
    match swap:
        case "link":
            file.symlink_to(outside / "a.csv")
        case "pipe":
            os.mkfifo(file)
        case "hard link":
            os.link(outside / "a.csv", file)
        case "directory":
            file.mkdir()
        case "parent":
            file.parent.rmdir()
            file.parent.symlink_to(outside)
    with pytest.raises(JobFilesError, match=r"out/a\.csv changed while it was being stored"):
        publish.stage(job.directory, matched, job.stores, job_id=job.id, limits=LIMITS, stop=NEVER)
    assert staged(job) == []


def test_a_file_that_grows_is_stored_as_it_was_hashed(job: Job) -> None:
    file = job.make("log.txt", "x" * 100)
    done = threading.Event()

    def grow() -> None:
        with file.open("ab", buffering=0) as growing:
            while not done.is_set():
                growing.write(b"y" * 10_000)
                if growing.tell() > 200 << 20:
                    return

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        (output,) = job.publish(high="log.txt")
    finally:
        done.set()
        writer.join()
    stored = (job.high / "log.txt").read_bytes()
    assert output.size == len(stored)
    assert output.content_hash == hashlib.sha256(stored).hexdigest()


def test_holes_stay_holes(job: Job) -> None:
    file = job.make("sparse.txt", "start")
    os.truncate(file, 64 << 20)
    with file.open("r+b") as sparse:
        sparse.seek(32 << 20)
        sparse.write(b"middle")
    (output,) = job.publish(LIMITS, high="sparse.txt")
    stored = job.high / "sparse.txt"
    assert output.size == stored.stat().st_size == 64 << 20
    assert stored.stat().st_blocks * 512 < 1 << 20
    assert output.content_hash == hashlib.sha256(stored.read_bytes()).hexdigest()
    assert stored.read_bytes() == file.read_bytes()


def test_long_hashing_can_be_stopped(job: Job) -> None:
    os.truncate(job.make("sparse.txt"), matching.MOST_BYTES_OF_NOTHING)
    matched = job.match(high="sparse.txt")
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    with pytest.raises(walk.Stopped):
        publish.stage(job.directory, matched, job.stores, job_id=job.id, limits=LIMITS, stop=stop)
    publish.discard_staging(job.stores, job.id)
    assert staged(job) == []


def test_a_full_store_is_said_and_nothing_stays_staged(tmp_path: Path) -> None:
    with small_disk(tmp_path, 2) as disk:
        job = Job(base=tmp_path)
        job.lay_out()
        stores = publish.WorkspaceStores(workspace="ws", high=disk / "high", medium=disk / "medium")
        job.make("small.txt", b"x" * 1000)
        job.make("z-large.txt", b"x" * (3 << 20))
        matched = job.match(moderate="*.txt")
        with pytest.raises(DiskFullError, match="no space") as raised:
            publish.stage(job.directory, matched, stores, job_id=job.id, limits=LIMITS, stop=NEVER)
        assert raised.value.hint
        assert [path for path in disk.rglob("*") if path.is_file()] == []
        (job.work / "z-large.txt").unlink()
        matched = job.match(moderate="*.txt")
        outputs = publish.stage(job.directory, matched, stores, job_id=job.id, limits=LIMITS, stop=NEVER)
        publish.publish(outputs, stores, job.origin, remove_obsolete=True)
        assert (disk / "medium/small.txt").stat().st_size == 1000


def test_a_file_where_a_directory_must_be_gives_way_and_the_reverse(job: Job) -> None:
    job.make("a.csv", "x\n1\n")
    job.put_in_place(job.stage(moderate="a.csv"))
    (job.work / "a.csv").unlink()
    job.make("a.csv/b.csv", "x\n1\n")
    job.put_in_place(job.stage(moderate="a.csv/b.csv"))
    assert list(files_below(job.high)) == list(files_below(job.medium)) == ["a.csv/b.csv"]
    assert list(manifest.read(job.stores)["outputs"]) == ["a.csv/b.csv"]
    (job.work / "a.csv/b.csv").unlink()
    (job.work / "a.csv").rmdir()
    job.make("a.csv", "x\n2\n")
    dataclasses.replace(job, action="other").publish(moderate="a.csv")
    assert list(files_below(job.high)) == list(files_below(job.medium)) == ["a.csv"]
    assert list(manifest.read(job.stores)["outputs"]) == ["a.csv"]


@pytest.mark.parametrize(("before", "after"), [("a.csv", "a.csv/b.csv"), ("a.csv/b.csv", "a.csv")])
def test_what_gave_way_in_the_high_store_does_not_stay_released(job: Job, before: str, after: str) -> None:
    job.make(before, "x\n1\n")
    job.publish(moderate=before)
    (job.work / "a.csv").rename(job.work / "elsewhere")
    job.make(after, "x\n2\n")
    dataclasses.replace(job, action="other").publish(high=after)
    assert files_below(job.medium) == {}
    assert list(manifest.read(job.stores)["outputs"]) == [after]


def test_a_link_in_a_store_is_never_written_through(job: Job, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.csv").write_text("precious")
    job.make("out/a.csv", "x\n1\n")
    job.medium.mkdir(parents=True)
    (job.medium / "out").symlink_to(outside)
    with pytest.raises(JobFilesError, match=r"medium/workspaces/ws/out is a link"):
        job.stage(moderate="out/a.csv")
    (job.medium / "out").unlink()
    (job.medium / "out").mkdir()
    (job.medium / "out/a.csv").symlink_to(outside / "a.csv")
    job.publish(moderate="out/a.csv")
    assert (outside / "a.csv").read_text() == "precious"
    assert (job.medium / "out/a.csv").read_text() == "x\n1\n"


def test_odd_names_are_stored_as_they_are(job: Job) -> None:
    names = ["new\nline.csv", 'quo"te.csv', "ünï.csv", "-rf.csv", " .csv", "a;b$(x).csv"]
    for name in names:
        job.make(name, "x\n1\n")
    job.publish(moderate="*.csv")
    assert sorted(files_below(job.medium)) == sorted(files_below(job.high)) == sorted(names)


def test_a_damaged_manifest_is_an_error_before_anything_moves(job: Job) -> None:
    job.make("a.csv", "x\n1\n")
    job.publish(moderate="a.csv")
    file = job.medium / "metadata/manifest.json"
    file.write_bytes(file.read_bytes()[:50])
    before = files_below(job.high)
    job.make("a.csv", "x\n2\n")
    outputs = job.stage(moderate="a.csv")
    with pytest.raises(JobFilesError, match="damaged"):
        job.put_in_place(outputs)
    assert files_below(job.high) == files_below(job.medium) == before
    file.unlink()
    job.put_in_place(outputs)
    assert files_below(job.medium) == {"a.csv": b"x\n2\n"}


def test_publishing_twice_changes_nothing(job: Job) -> None:
    job.make("a.csv", "x\n1\n")
    job.make("b.csv", "patient_id\n1\n")
    outputs = job.publish(moderate="*.csv")
    before = files_below(job.base)
    job.put_in_place(outputs)
    publish.discard_staging(job.stores, job.id)
    job.put_in_place(outputs)
    assert {path: content for path, content in before.items() if "/.staging/" not in path} == files_below(job.base)


def test_a_path_that_leads_elsewhere_is_never_published(job: Job) -> None:
    job.make("a.csv")
    (output,) = job.stage(high="a.csv")
    for path in ("../../escaped.csv", "/tmp/escaped.csv", "a//b.csv"):
        with pytest.raises(JobFilesError, match="not a plain path"):
            job.put_in_place([dataclasses.replace(output, path=path)])


def test_an_unprivileged_runner_publishes(tmp_path: Path) -> None:
    def act(base: Path) -> None:
        job = Job(base=base)
        job.lay_out()
        job.make("a.csv", "x\n1\n").chmod(0o400)
        job.put_in_place(job.stage(moderate="a.csv"))
        publish.discard_staging(job.stores, job.id)
        assert list(files_below(job.medium)) == ["a.csv"]

    as_nobody(act)
