"""The manifest: what it says of each output, and what is removed because an action no longer makes it."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from jobrunner_cli.engine.errors import JobFilesError
from jobrunner_cli.engine.jobfiles import manifest, publish
from jobrunner_cli.engine.jobfiles.stores import workspace_lock
from jobrunner_cli.engine.work import StoredOutput
from support.jobfiles import Job, files_below


@pytest.fixture
def job(tmp_path: Path) -> Job:
    job = Job(base=tmp_path)
    job.lay_out()
    return job


def output(path: str, *, level: str = "moderately_sensitive", **changes) -> StoredOutput:
    return StoredOutput(path=path, level=level, size=1, timestamp=2, content_hash="ab", **changes)


def record(job: Job, *outputs: StoredOutput, action: str = "make", obsolete: bool = True, job_id: str = "job1"):
    origin = manifest.Origin(
        job_id=job_id,
        job_request="request",
        action=action,
        repo="https://github.com/opensafely/study",
        commit="c" * 40,
    )
    with workspace_lock(job.stores):
        return manifest.record(job.stores, outputs, origin, remove_obsolete=obsolete)


def put(job: Job, *paths: str) -> None:
    for store in (job.high, job.medium):
        for path in paths:
            (store / path).parent.mkdir(parents=True, exist_ok=True)
            (store / path).write_text("x")


def entries(job: Job) -> dict:
    return json.loads((job.medium / "metadata/manifest.json").read_text())["outputs"]


def test_its_exact_shape(job: Job) -> None:
    job.make("out/a.csv", "patient_id,b\n1,2\n3,4\n")
    outputs = job.publish(moderate="out/a.csv")
    assert record(job, *outputs) == ()
    written = json.loads((job.medium / "metadata/manifest.json").read_text())
    assert written == {
        "workspace": "ws",
        "repo": None,
        "outputs": {
            "out/a.csv": {
                "level": "moderately_sensitive",
                "job_id": "job1",
                "job_request": "request",
                "action": "make",
                "repo": "https://github.com/opensafely/study",
                "commit": "c" * 40,
                "size": 21,
                "timestamp": (job.high / "out/a.csv").stat().st_mtime,
                "content_hash": outputs[0].content_hash,
                "excluded": True,
                "message": "The file has a patient_id column",
                "row_count": 2,
                "col_count": 2,
            }
        },
    }
    assert written == manifest.read(job.stores)
    record(job, output("b.csv"))
    entry = entries(job)["b.csv"]
    assert isinstance(entry["timestamp"], float)
    assert entry["excluded"] is False
    assert entry["message"] is entry["row_count"] is entry["col_count"] is None


def test_no_manifest_is_an_empty_one(job: Job) -> None:
    assert manifest.read(job.stores) == {"workspace": "ws", "repo": None, "outputs": {}}
    record(job)
    assert json.loads((job.medium / "metadata/manifest.json").read_text()) == manifest.read(job.stores)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "{}", '{"outputs": []}', '{"outputs": {"a": 1}}', "\udcff", "[" * 100_000]
)
def test_a_damaged_one_is_named_with_advice_and_never_overwritten(job: Job, text: str) -> None:
    put(job, "a.csv")
    file = job.medium / "metadata/manifest.json"
    file.parent.mkdir(parents=True)
    file.write_text(text, errors="surrogateescape")
    before = file.read_bytes()
    for act in (lambda: record(job, output("a.csv")), lambda: manifest.read(job.stores)):
        with pytest.raises(JobFilesError, match=r"manifest\.json is damaged") as raised:
            act()
        assert "backup" in (raised.value.hint or "")
    assert file.read_bytes() == before
    assert (job.high / "a.csv").exists()


def test_one_of_the_first_which_named_no_outputs_is_completed(job: Job) -> None:
    put(job, "a.csv")
    file = job.medium / "metadata/manifest.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"repo": "https://github.com/opensafely/x", "workspace": "ws"}))
    record(job, output("a.csv"))
    written = json.loads(file.read_text())
    assert (written["workspace"], written["repo"]) == ("ws", "https://github.com/opensafely/x")
    assert list(written["outputs"]) == ["a.csv"]


def test_what_others_put_into_it_stays(job: Job) -> None:
    file = job.medium / "metadata/manifest.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"outputs": {"old.csv": {"action": "old", "extra": 1}}, "note": "kept"}))
    record(job, output("a.csv"))
    written = json.loads(file.read_text())
    assert written["note"] == "kept"
    assert written["outputs"]["old.csv"] == {"action": "old", "extra": 1}
    assert written["workspace"] == "ws"


def test_what_an_action_no_longer_makes_is_removed_everywhere(job: Job) -> None:
    put(job, "a.csv", "b.csv", "out/c.csv", "other.csv", "unknown.csv")
    (job.medium / "b.csv.txt").write_text("reason")
    record(job, output("other.csv"), action="other")
    record(job, output("a.csv"), output("b.csv", excluded=True), output("out/c.csv"))
    assert record(job, output("a.csv"), job_id="job2") == ("b.csv", "out/c.csv")
    assert list(files_below(job.high)) == list(files_below(job.medium)) == ["a.csv", "other.csv", "unknown.csv"]
    assert sorted(entries(job)) == ["a.csv", "other.csv"]


def test_after_a_failure_nothing_is_removed(job: Job) -> None:
    put(job, "a.csv", "b.csv")
    record(job, output("a.csv"), output("b.csv"))
    assert record(job, output("a.csv"), obsolete=False) == ()
    assert sorted(entries(job)) == ["a.csv", "b.csv"]
    assert sorted(files_below(job.high)) == ["a.csv", "b.csv"]


def test_names_are_compared_without_regard_to_case(job: Job) -> None:
    put(job, "Out/A.csv", "out/a.csv")
    record(job, output("Out/A.csv"))
    assert record(job, output("out/a.csv")) == ()
    assert sorted(files_below(job.high)) == ["Out/A.csv", "out/a.csv"]
    put(job, "OUT/A.CSV")
    record(job, output("OUT/A.CSV"), action="other")
    assert record(job) == ()
    # Where case counts these are three files: none of them is removed, and the manifest goes on to tell of them.
    assert sorted(entries(job)) == sorted(files_below(job.high)) == ["OUT/A.CSV", "Out/A.csv", "out/a.csv"]
    # Only what nobody makes any more, however it is written, goes.
    record(job, output("OUT/A.CSV"))
    record(job)
    assert sorted(files_below(job.high)) == []


def test_another_actions_spelling_of_a_file_leaves_no_entry_for_the_old_one_where_case_does_not_count(job: Job) -> None:
    put(job, "A.csv")
    record(job, output("A.csv"))
    (job.high / "a.csv").hardlink_to(job.high / "A.csv")
    record(job, output("a.csv"), action="other", job_id="job2")
    assert record(job, job_id="job3") == ()
    assert (job.high / "a.csv").exists()
    assert sorted(entries(job)) == ["a.csv"]


def test_a_case_only_rename_leaves_no_entry_for_the_old_name_where_case_does_not_count(job: Job) -> None:
    put(job, "A.csv")
    record(job, output("A.csv"))
    # Two names of one file are what such a file system shows.
    (job.high / "a.csv").hardlink_to(job.high / "A.csv")
    assert record(job, output("a.csv"), job_id="job2") == ()
    assert (job.high / "a.csv").exists()
    assert sorted(entries(job)) == ["a.csv"]


def test_a_case_only_rename_of_which_only_the_new_name_is_there_leaves_its_entry(job: Job) -> None:
    put(job, "A.csv", "B.csv")
    record(job, output("A.csv"), output("B.csv"))
    put(job, "a.csv")
    (job.high / "A.csv").unlink()
    assert record(job, output("a.csv"), job_id="job2") == ("B.csv",)
    assert sorted(entries(job)) == ["a.csv"]


def test_an_output_that_moves_from_one_action_to_another_stays_whichever_runs_first(job: Job) -> None:
    put(job, "moved.csv", "kept.csv")
    record(job, output("moved.csv"), output("kept.csv"), action="old")
    record(job, output("moved.csv"), action="new", job_id="job2")
    assert record(job, output("kept.csv"), action="old", job_id="job3") == ()
    assert entries(job)["moved.csv"]["action"] == "new"
    # Back again, the action that gives it away first: it goes, and comes back with the one that makes it now.
    assert record(job, action="new", job_id="job4") == ("moved.csv",)
    put(job, "moved.csv")
    record(job, output("moved.csv"), output("kept.csv"), action="old", job_id="job5")
    assert sorted(files_below(job.high)) == ["kept.csv", "moved.csv"]
    assert entries(job)["moved.csv"]["action"] == "old"


def test_a_file_that_another_action_made_since_is_not_touched(job: Job) -> None:
    put(job, "a.csv")
    record(job, output("a.csv"))
    record(job, output("a.csv"), action="other")
    assert record(job) == ()
    assert "a.csv" in files_below(job.high)
    assert entries(job)["a.csv"]["action"] == "other"


def test_a_file_that_another_job_is_just_putting_in_place_is_not_touched(job: Job) -> None:
    job.make("a.csv", "x\n1\n")
    record(job, *job.publish(moderate="a.csv"))
    publish.discard_staging(job.stores, job.id)
    other = Job(base=job.base, id="job2")
    other.lay_out()
    other.make("a.csv", "x\n2\n")
    outputs = other.publish(moderate="a.csv")
    assert record(job) == ()
    assert (job.high / "a.csv").read_text() == "x\n2\n"
    record(other, *outputs, action="other", job_id="job2")
    publish.discard_staging(job.stores, "job2")
    assert entries(job)["a.csv"]["action"] == "other"
    assert record(job) == ()
    assert record(other, action="other", job_id="job3") == ("a.csv",)


def test_a_manifest_that_names_what_no_file_can_be_called_is_cleared_of_it(job: Job) -> None:
    put(job, "a.csv")
    file = job.medium / "metadata/manifest.json"
    file.parent.mkdir(parents=True)
    names = ["\ud800.csv", "a\0b.csv", "", "a//b.csv", "x" * 5000]
    file.write_text(json.dumps({"workspace": "renamed", "outputs": {name: {"action": "make"} for name in names}}))
    record(job, output("a.csv"))
    assert sorted(entries(job)) == ["a.csv"]
    assert json.loads(file.read_text())["workspace"] == "ws"


def test_a_manifest_that_names_places_elsewhere_removes_nothing_there(job: Job, tmp_path: Path) -> None:
    (tmp_path / "precious.csv").write_text("x")
    put(job, "metadata/make.log")
    record(job, *(output(path) for path in ("metadata/make.log", "a.csv")))
    file = job.medium / "metadata/manifest.json"
    text = json.loads(file.read_text())
    text["outputs"]["../../../precious.csv"] = text["outputs"]["a.csv"]
    text["outputs"][str(tmp_path / "precious.csv")] = text["outputs"]["a.csv"]
    file.write_text(json.dumps(text))
    record(job)
    assert (tmp_path / "precious.csv").exists()
    assert (job.medium / "metadata/make.log").exists()


def test_a_released_output_of_another_action_is_not_taken_for_a_reason(job: Job) -> None:
    put(job, "a.csv", "a.csv.txt")
    record(job, output("a.csv.txt"), action="other")
    record(job, output("a.csv", excluded=True))
    record(job)
    assert sorted(files_below(job.medium)) == ["a.csv.txt"]


def test_the_reason_for_a_file_that_is_gone_goes_though_another_output_has_its_name_in_the_high_store(job: Job) -> None:
    put(job, "a.csv", "a.csv.txt")
    record(job, output("a.csv.txt", level="highly_sensitive"), action="other")
    record(job, output("a.csv", excluded=True))
    record(job)
    assert list(files_below(job.medium)) == []
    assert list(files_below(job.high)) == ["a.csv.txt"]


def test_the_reason_for_a_file_stays_when_an_output_that_has_its_name_in_the_high_store_goes(job: Job) -> None:
    put(job, "a.csv", "a.csv.txt")
    record(job, output("a.csv.txt", level="highly_sensitive"), action="other")
    record(job, output("a.csv", excluded=True))
    (job.medium / "a.csv").unlink()
    record(job, action="other")
    assert list(files_below(job.medium)) == ["a.csv.txt"]
    assert list(files_below(job.high)) == ["a.csv"]


def test_recording_twice_is_the_same_as_once(job: Job) -> None:
    put(job, "a.csv", "b.csv")
    record(job, output("b.csv"))
    assert record(job, output("a.csv")) == ("b.csv",)
    file = job.medium / "metadata/manifest.json"
    before = (file.read_bytes(), file.stat().st_ino)
    assert record(job, output("a.csv")) == ()
    assert (file.read_bytes(), file.stat().st_ino) == before


def test_jobs_that_finish_together_lose_no_entry(job: Job) -> None:
    def finish(number: int) -> None:
        for turn in range(5):
            record(job, output(f"{number}/{turn}.csv"), action=f"action-{number}", obsolete=False)

    threads = [threading.Thread(target=finish, args=(number,)) for number in range(4)]
    children = []
    for number in range(4, 6):
        child = os.fork()
        if child == 0:
            try:
                finish(number)
            finally:
                os._exit(0)
        children.append(child)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for child in children:
        os.waitpid(child, 0)
    assert len(entries(job)) == 30
