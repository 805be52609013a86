"""Large data: progress that others can see, other jobs beside it, floors of free space, limits of a job's directory."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from support.jobfiles import small_disk
from support.runners import WorkDirectory, until
from support.studies import action, make_study

pytestmark = pytest.mark.slow

#: Bytes that take long to be hashed, and no space: a hole.
HOLE = "truncate -s 12G big.bin"


def message(workdir: WorkDirectory, job_id: str) -> str:
    """What a job's row says."""
    return str(workdir.ask("SELECT status_message FROM job WHERE id = ?", job_id)[0][0])


@pytest.mark.parametrize("executor", ["process"])
def test_storing_a_large_output_shows_how_far_it_is_and_delays_no_other_job(
    make_workdir: Any, executor: str, tmp_path: Path
):
    workdir = make_workdir(executor)
    study = make_study(
        tmp_path / "study",
        {"large": action(workdir.command(HOLE), high=["big.bin"]),
         "small": action(workdir.command("echo 1 > small.csv"), "small.csv")},
    )  # fmt: skip
    large = workdir.add(study, "large")["large"]
    runner = workdir.start("run")
    until(lambda: " of 12.0 GiB" in message(workdir, large), "progress in the row")
    shown = workdir.show(large)
    assert shown["status_message"].startswith("Storing outputs: ")
    assert len(workdir.history(large)) == len(set(workdir.history(large)))
    small = workdir.add(study, "small")["small"]
    workdir.wait_until_ended([small])
    assert workdir.codes()["large"] == "finalizing"
    assert "done" in workdir.cli("jobs", "cancel", large).stdout
    runner.signal(signal.SIGTERM)
    assert runner.ends() == 0
    assert workdir.codes() == {"large": "cancelled_by_user", "small": "succeeded"}
    assert workdir.leftovers() == []


@pytest.mark.parametrize("executor", ["process"])
def test_nothing_starts_below_the_floor_and_everything_says_why(make_workdir: Any, executor: str, tmp_path: Path):
    with small_disk(tmp_path, 32) as disk:
        store, filling = disk / "medium", disk / "filling"
        workdir = make_workdir(
            executor, {"MEDIUM_PRIVACY_STORAGE_BASE": str(store), "MEDIUM_PRIVACY_FREE_SPACE_FLOOR": "16M"}
        )
        study = make_study(
            tmp_path / "study",
            {"a": action(workdir.command("echo 1 > a.csv"), "a.csv"),
             "b": action(workdir.command("cat a.csv > b.csv"), "b.csv", needs=["a"])},
        )  # fmt: skip
        jobs = workdir.add(study, "run_all")
        filling.write_bytes(bytes(20 << 20))
        reason = f"the medium privacy store ({store}) has 0.01 GiB free, and nothing starts below 0.02 GiB"
        left = workdir.run()
        assert reason in left.stderr
        assert workdir.codes() == {"a": "waiting_on_workers", "b": "waiting_on_dependencies"}
        assert message(workdir, jobs["a"]) == f"Waiting for disk space: {reason}"
        assert reason in workdir.show(jobs["a"])["why"]
        filling.unlink()
        workdir.run()
        assert workdir.codes() == {"a": "succeeded", "b": "succeeded"}


@pytest.mark.parametrize("executor", ["process"])
def test_a_runner_that_waits_for_space_goes_on_when_there_is_some(make_workdir: Any, executor: str, tmp_path: Path):
    with small_disk(tmp_path, 32) as disk:
        (disk / "filling").write_bytes(bytes(20 << 20))
        values = {"HIGH_PRIVACY_VOLUME_DIR": str(disk / "volumes"), "HIGH_PRIVACY_FREE_SPACE_FLOOR": "16M"}
        workdir = make_workdir(executor, values)
        study = make_study(tmp_path / "study", {"a": action(workdir.command("echo 1 > a.csv"), "a.csv")})
        job = workdir.add(study, "a")["a"]
        runner = workdir.start("run")
        workdir.wait_for(job, "waiting_on_workers")
        (disk / "filling").unlink()
        workdir.wait_for(job, "succeeded")
        runner.signal(signal.SIGTERM)
        assert runner.ends() == 0


def test_a_job_whose_directory_grows_too_large_is_ended_and_what_it_made_is_stored(
    make_workdir: Any, executor: str, tmp_path: Path
):
    workdir = make_workdir(executor, {"JOB_DIRECTORY_LIMIT": "16M"})
    greedy = "trap 'exit 0' TERM; echo 1 > a.csv; echo hello; head -c 30000000 /dev/urandom > x.bin; while true; do sleep 0.1; done"
    study = make_study(
        tmp_path / "study",
        {"greedy": action(workdir.command(greedy), high=["a.csv"]),
         "after": action(workdir.command("cat a.csv > b.csv"), "b.csv", needs=["greedy"]),
         "modest": action(workdir.command("truncate -s 1G hole; sleep 3; rm hole; echo 1 > m.csv"), "m.csv")},
    )  # fmt: skip
    jobs = workdir.add(study, "run_all")
    workdir.run(code=1)
    assert workdir.codes() == {"greedy": "nonzero_exit", "after": "dependency_failed", "modest": "succeeded"}
    assert (
        message(workdir, jobs["greedy"])
        == "Job was ended: it used more than 16 MiB of disk, the limit for a job's directory"
    )
    assert workdir.history(jobs["greedy"])[-5:] == ["executing", "executed", "finalizing", "finalized", "nonzero_exit"]
    assert workdir.outputs(workdir.high)["a.csv"] == b"1\n"
    assert "hello" in workdir.cli("jobs", "logs", jobs["greedy"]).stdout
    assert workdir.leftovers() == []
