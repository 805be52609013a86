"""What running jobs use: sampled beside a real runner, from real containers, and told to people."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from jobrunner_cli.engine.service.usage import recorded_usage
from support.places import MakeWorkDirectory
from support.runners import WorkDirectory, engine_client, until
from support.studies import action, make_study

pytestmark = [pytest.mark.slow]

KEYS = {
    *(f"{name}_{kind}" for name in ("cpu", "mem_mb") for kind in ("sample", "cumsum", "mean", "peak")),
    "container_id",
}


@pytest.fixture
def workdir(make_workdir: MakeWorkDirectory, executor: str) -> WorkDirectory:
    return make_workdir(executor, {"STATS_POLL_INTERVAL": "0.3"})


def samples(workdir: WorkDirectory, job: str) -> dict[str, Any]:
    return recorded_usage(workdir.path / "metrics.sqlite", [job]).get(job, {})


def test_running_jobs_are_sampled_and_a_container_that_is_made_anew_begins_anew(workdir: WorkDirectory, tmp_path: Path):
    work = "while [ ! -e go ]; do :; done; echo done > done.txt"
    study = make_study(tmp_path / "study", {"busy": action(workdir.command(work), "done.txt")})
    (job,) = workdir.add(study, "busy").values()
    runner = workdir.start("run", "--until-idle")
    first = until(lambda: samples(workdir, job), "a first sample")
    assert set(first) == KEYS
    assert first["container_id"]
    grown = until(
        lambda: (now := samples(workdir, job))["cpu_cumsum"] > first["cpu_cumsum"] and now, "a sum that has grown"
    )
    assert grown["cpu_peak"] > 0
    assert 0 < grown["mem_mb_sample"] <= grown["mem_mb_peak"] < 256
    assert grown["container_id"] == first["container_id"]

    runner.kill()
    if workdir.executor == "docker":
        with closing(engine_client()) as client:
            client.remove_container(f"os-job-{job}", force=True)
        runner = workdir.start("run", "--until-idle")
        anew = until(
            lambda: (now := samples(workdir, job))["container_id"] != first["container_id"] and now, "the new container"
        )
        assert anew["mem_mb_cumsum"] < grown["mem_mb_cumsum"] + anew["mem_mb_sample"]
    else:
        runner = workdir.start("run", "--until-idle")
    workdir.wait_for(job, "executing")
    workdir.let_go(job)
    assert runner.ends() == 0
    assert samples(workdir, job)["cpu_peak"] > 0


def test_a_database_of_samples_that_cannot_be_read_is_put_aside(workdir: WorkDirectory, tmp_path: Path):
    (workdir.path / "metrics.sqlite").write_text("this is no database" * 100)
    study = make_study(
        tmp_path / "study",
        {"a": action(workdir.command("while [ ! -e go ]; do sleep 0.05; done; echo a > a.txt"), "a.txt")},
    )
    (job,) = workdir.add(study, "a").values()
    runner = workdir.start("run", "--until-idle")
    until(lambda: samples(workdir, job), "a sample")
    workdir.let_go(job)
    runner.ends()
    assert "cannot be read and is now metrics.sqlite.damaged" in runner.said()
    assert "Traceback" not in runner.said()
