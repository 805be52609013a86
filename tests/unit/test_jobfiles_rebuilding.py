"""Completing a manifest from the rows of jobs: what is added, what is left out, what stays as it is."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path

import pytest

from jobrunner_cli.engine.errors import JobFilesError
from jobrunner_cli.engine.jobfiles import manifest, rebuilding
from jobrunner_cli.engine.jobfiles.rebuilding import Completion
from jobrunner_cli.engine.jobfiles.stores import workspace_lock
from jobrunner_cli.engine.work import RecordedOutputs, StoredOutput
from support.jobfiles import NEVER, Job

HIGH, MODERATE = "highly_sensitive", "moderately_sensitive"


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(base=tmp_path)


def recorded(job_id: str, action: str, held_back: dict[str, str] | None = None, **levels: str) -> RecordedOutputs:
    return RecordedOutputs(
        job_id=job_id,
        job_request_id=f"request-{job_id}",
        action=action,
        repo="https://github.com/opensafely/study",
        commit="c" * 40,
        levels={path.replace("__", "/").replace("_csv", ".csv"): level for path, level in levels.items()},
        held_back=held_back or {},
    )


def put(job: Job, path: str, content: str = "x\n1\n") -> Path:
    file = job.high / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    return file


def complete(job: Job, *history: RecordedOutputs, trial: bool = False) -> Completion:
    return rebuilding.complete(job.stores, history, stop=NEVER, trial=trial)


def entries(job: Job) -> dict:
    return json.loads((job.medium / "metadata/manifest.json").read_text())["outputs"]


def test_an_absent_manifest_is_made_with_everything_that_a_job_would_have_entered(job: Job) -> None:
    file = put(job, "out/a.csv", "x,y\n1,2\n3,4\n")
    os.utime(file, ns=(1, 1_700_000_000_123_456_789))
    put(job, "out/held.csv", "patient_id\n1\n")
    put(job, "b.csv")
    history = recorded(
        "job1", "make", {"out/held.csv": "too secret"}, out__a_csv=MODERATE, out__held_csv=MODERATE, b_csv=HIGH
    )
    assert complete(job, history) == Completion(added=("b.csv", "out/a.csv", "out/held.csv"), known=0, gone=0)
    assert manifest.read(job.stores)["workspace"] == "ws"
    assert entries(job)["out/a.csv"] == {
        "level": MODERATE,
        "job_id": "job1",
        "job_request": "request-job1",
        "action": "make",
        "repo": "https://github.com/opensafely/study",
        "commit": "c" * 40,
        "size": 12,
        "timestamp": file.stat().st_mtime,
        "content_hash": hashlib.sha256(b"x,y\n1,2\n3,4\n").hexdigest(),
        "excluded": False,
        "message": None,
        "row_count": 2,
        "col_count": 2,
    }
    held = entries(job)["out/held.csv"]
    assert (held["excluded"], held["message"], held["row_count"]) == (True, "too secret", 1)
    assert entries(job)["b.csv"]["row_count"] is None


def test_a_file_belongs_to_the_last_job_that_made_it(job: Job) -> None:
    put(job, "a.csv")
    put(job, "b.csv")
    complete(
        job,
        recorded("job3", "second", a_csv=HIGH),
        recorded("job2", "first", b_csv=HIGH),
        recorded("job1", "first", a_csv=HIGH, b_csv=MODERATE),
    )
    assert (entries(job)["a.csv"]["action"], entries(job)["a.csv"]["job_id"]) == ("second", "job3")
    assert (entries(job)["b.csv"]["level"], entries(job)["b.csv"]["job_id"]) == (HIGH, "job2")


def test_what_is_no_plain_file_any_more_is_left_out(job: Job, tmp_path: Path) -> None:
    put(job, "a.csv")
    (tmp_path / "secret.csv").write_text("x")
    (job.high / "link.csv").symlink_to(tmp_path / "secret.csv")
    (job.high / "dir.csv").mkdir()
    history = RecordedOutputs(
        job_id="job1",
        job_request_id="r",
        action="make",
        repo="r",
        commit="c",
        levels=dict.fromkeys(
            ("a.csv", "gone.csv", "a.csv/below.csv", "link.csv", "dir.csv", "../../out.csv", "metadata/x.log", "/abs"),
            HIGH,
        ),
        held_back={},
    )
    assert complete(job, history) == Completion(added=("a.csv",), known=0, gone=4)
    assert list(entries(job)) == ["a.csv"]


def test_what_the_manifest_knows_stays_and_a_second_time_does_nothing(job: Job) -> None:
    put(job, "a.csv")
    put(job, "b.csv")
    known = StoredOutput(path="a.csv", level=MODERATE, size=9, timestamp=1, content_hash="ab")
    origin = manifest.Origin(job_id="new", job_request="r", action="other", repo="r", commit="c")
    with workspace_lock(job.stores):
        manifest.record(job.stores, [known], origin, remove_obsolete=False)
    history = recorded("job1", "make", a_csv=HIGH, b_csv=HIGH)
    assert complete(job, history) == Completion(added=("b.csv",), known=1, gone=0)
    assert entries(job)["a.csv"]["job_id"] == "new"
    file = job.medium / "metadata/manifest.json"
    before = (file.read_bytes(), file.stat().st_ino)
    assert complete(job, history) == Completion(added=(), known=2, gone=0)
    assert (file.read_bytes(), file.stat().st_ino) == before


def test_a_trial_writes_nothing(job: Job) -> None:
    put(job, "a.csv")
    assert complete(job, recorded("job1", "make", a_csv=HIGH), trial=True).added == ("a.csv",)
    assert not job.medium.exists()


def test_a_damaged_one_is_refused_and_left_alone(job: Job) -> None:
    put(job, "a.csv")
    file = job.medium / "metadata/manifest.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"outputs": {"a')
    for act in (
        lambda: complete(job, recorded("job1", "make", a_csv=HIGH)),
        lambda: rebuilding.is_complete(job.stores, ["a.csv"]),
    ):
        with pytest.raises(JobFilesError, match=r"manifest\.json is damaged"):
            act()
    assert file.read_text() == '{"outputs": {"a'


def test_a_workspace_without_a_directory_does_not_get_one(job: Job) -> None:
    assert complete(job, recorded("job1", "make", a_csv=HIGH)).gone == 1
    assert not job.high.exists()
    assert entries(job) == {}


def test_a_manifest_is_complete_when_it_knows_what_is_there(job: Job) -> None:
    assert not rebuilding.is_complete(job.stores, [])
    put(job, "a.csv")
    complete(job, recorded("job1", "make", a_csv=HIGH))
    assert rebuilding.is_complete(job.stores, [])
    assert rebuilding.is_complete(job.stores, ["a.csv", "gone.csv", "../x"])
    put(job, "b.csv")
    assert not rebuilding.is_complete(job.stores, ["a.csv", "b.csv"])


def test_jobs_that_end_while_a_manifest_is_completed_lose_nothing(job: Job) -> None:
    for number in range(200):
        put(job, f"old/{number}.csv")
    levels = {f"old/{number}.csv": HIGH for number in range(200)}
    history = RecordedOutputs(
        job_id="old", job_request_id="r", action="old", repo="r", commit="c", levels=levels, held_back={}
    )

    def end(number: int) -> None:
        output = StoredOutput(path=f"new/{number}.csv", level=HIGH, size=1, timestamp=1, content_hash="ab")
        origin = manifest.Origin(job_id="new", job_request="r", action=f"new{number}", repo="r", commit="c")
        with workspace_lock(job.stores):
            manifest.record(job.stores, [output], origin, remove_obsolete=True)

    threads = [threading.Thread(target=complete, args=(job, history)) for _ in range(2)]
    threads += [threading.Thread(target=end, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(entries(job)) == 205
