"""The engine goes away in the midst of jobs and comes back: no job is lost, and no end that it caused counts."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.private_engine import PrivateEngine
from support.runners import WorkDirectory, until
from support.studies import Action, action, make_study, shell

pytestmark = [
    pytest.mark.engine,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("dockerd"), reason="only root can start an engine"),
]

#: Seconds for which the engine is away.
AWAY = 5.0


@pytest.fixture(scope="module")
def started_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateEngine]:
    engine = PrivateEngine(tmp_path_factory.mktemp("engine") / "checkout")
    yield engine
    engine.close()


@pytest.fixture
def engine(started_engine: PrivateEngine, monkeypatch: pytest.MonkeyPatch) -> PrivateEngine:
    """The engine that everything in the test uses."""
    monkeypatch.setenv("DOCKER_HOST", started_engine.url)
    return started_engine


@pytest.fixture
def workdir(engine: PrivateEngine, make_workdir: Any) -> WorkDirectory:
    made = make_workdir("docker", {"MAX_WORKERS": "3"})
    assert isinstance(made, WorkDirectory)
    return made


def held(name: str, trap: str = "", **more: Any) -> Action:
    script = f"{trap} echo begun; touch busy; while [ ! -e go ]; do sleep 0.05; done; echo whole > {name}.txt"
    return action(shell(script), f"{name}.txt", **more)


@pytest.mark.parametrize("how", ["terminate", "kill", "cut_power"])
def test_jobs_whose_engine_went_away_start_over(
    engine: PrivateEngine, workdir: WorkDirectory, how: str, tmp_path: Path
):
    study = make_study(
        tmp_path / "study",
        {
            "before": action(shell("echo whole > before.txt"), "before.txt"),
            "plain": held("plain"),
            # Asked to end, it makes a success of it.
            "polite": held("polite", trap="trap 'echo half > polite.txt; exit 0' TERM;"),
            "hasty": held("hasty", trap="trap 'exit 3' TERM;"),
            "after": action(shell("cat plain.txt polite.txt > after.txt"), "after.txt", needs=["plain", "polite"]),
        },
    )
    workdir.add(study, "before")
    workdir.run()
    jobs = workdir.add(study, "run_all")
    assert "before" not in jobs
    runner = workdir.start("run", "--until-idle")
    for name in ("plain", "polite", "hasty"):
        workdir.wait_for_file(jobs[name], "busy")
        workdir.wait_for(jobs[name], "executing")
    getattr(engine, how)()
    time.sleep(AWAY)
    assert runner.process.poll() is None
    engine.start_again()
    for name in ("plain", "polite", "hasty"):
        workdir.wait_for_step(jobs[name], "executing", 2)
        workdir.wait_for_file(jobs[name], "busy")
        workdir.let_go(jobs[name])
    assert runner.ends() == 0
    assert workdir.codes() == dict.fromkeys(["before", *jobs], "succeeded")
    assert set(workdir.outputs(workdir.high).values()) == {b"whole\n", b"whole\nwhole\n"}
    for name in ("plain", "polite", "hasty"):
        history = workdir.history(jobs[name])
        assert history.count("waiting_on_reboot") == 1
        assert history.count("executing") == 2
        [(reason,)] = workdir.ask(
            "SELECT message FROM history WHERE job_id = ? AND to_code = 'waiting_on_reboot'", jobs[name]
        )
        assert reason in {
            "Waiting to be started over: the engine went down while it ran",
            "Waiting to be started over: its container disappeared",
        }
    assert workdir.ask("SELECT restarts FROM job WHERE restarts > 1") == []
    assert workdir.leftovers() == []


def test_jobs_of_an_engine_with_live_restore_go_on_while_it_is_restarted(
    engine: PrivateEngine, workdir: WorkDirectory, tmp_path: Path
):
    study = make_study(tmp_path / "study", {"long": held("long"), "next": held("next", needs=["long"])})
    engine.terminate()
    engine.start_again("--live-restore")
    jobs = workdir.add(study, "run_all")
    runner = workdir.start("run", "--until-idle")
    workdir.wait_for_file(jobs["long"], "busy")
    workdir.wait_for(jobs["long"], "executing")
    engine.terminate()
    runner.says("The executor does not answer")
    engine.start_again("--live-restore")
    # An end while it is away says nothing of the command: that one is run again, as without live-restore.
    runner.says("The executor answers again")
    for name in ("long", "next"):
        workdir.wait_for_file(jobs[name], "busy")
        workdir.let_go(jobs[name])
    assert runner.ends() == 0
    assert workdir.codes() == dict.fromkeys(jobs, "succeeded")
    assert workdir.ask("SELECT id FROM job WHERE restarts > 0") == []
    assert workdir.leftovers() == []
    engine.terminate()
    engine.start_again()


def test_jobs_that_begin_or_end_while_the_engine_is_away_wait_for_it(
    engine: PrivateEngine, workdir: WorkDirectory, tmp_path: Path
):
    study = make_study(tmp_path / "study", {"long": held("long"), "next": held("next")})
    long = workdir.add(study, "long")["long"]
    runner = workdir.start("run", "--until-idle")
    workdir.wait_for_file(long, "busy")
    engine.terminate()
    added = workdir.add(study, "next")["next"]
    workdir.wait_for(added, "preparing")
    time.sleep(AWAY)
    engine.start_again()
    for job_id, times in ((long, 2), (added, 1)):
        workdir.wait_for_step(job_id, "executing", times)
        workdir.wait_for_file(job_id, "busy")
        workdir.let_go(job_id)
    assert runner.ends() == 0
    assert set(workdir.codes().values()) == {"succeeded"}
    assert workdir.leftovers() == []


def test_engine_that_hangs_holds_up_nothing_that_needs_no_engine(
    engine: PrivateEngine, workdir: WorkDirectory, tmp_path: Path
):
    workdir.settings["MAX_WORKERS"] = "1"
    study = make_study(tmp_path / "study", {"long": held("long"), "queued": held("queued")})
    jobs = workdir.add(study, "long")
    runner = workdir.start("run", "--until-idle")
    workdir.wait_for_file(jobs["long"], "busy")
    workdir.wait_for(jobs["long"], "executing")
    jobs |= workdir.add(study, "queued")
    # Its container is made ahead of its turn.
    until(lambda: f"os-job-{jobs['queued']}" in workdir.containers(), "the container of the one that waits")
    engine.hang()
    try:
        assert "done" in workdir.cli("jobs", "cancel", jobs["queued"]).stdout
        assert workdir.codes() == {"long": "executing", "queued": "cancelled_by_user"}
    finally:
        engine.wake()
    workdir.let_go(jobs["long"])
    assert runner.ends() == 1
    assert workdir.codes()["long"] == "succeeded"
    assert workdir.leftovers() == []


def test_job_whose_container_an_engine_that_hangs_is_asked_to_make_is_cancelled_at_once(
    engine: PrivateEngine, workdir: WorkDirectory, tmp_path: Path
):
    workdir.settings["MAX_WORKERS"] = "1"
    study = make_study(tmp_path / "study", {"long": held("long"), "queued": held("queued")})
    jobs = workdir.add(study, "long")
    runner = workdir.start("run", "--until-idle")
    workdir.wait_for(jobs["long"], "executing")
    engine.hang()
    try:
        jobs |= workdir.add(study, "queued")
        workdir.wait_for(jobs["queued"], "waiting_on_workers")
        assert "done" in workdir.cli("jobs", "cancel", jobs["queued"]).stdout
        assert workdir.codes() == {"long": "executing", "queued": "cancelled_by_user"}
    finally:
        engine.wake()
    workdir.let_go(jobs["long"])
    assert runner.ends() == 1
    assert workdir.codes()["long"] == "succeeded"
    assert workdir.leftovers() == []


def test_runner_that_left_while_the_engine_was_away_is_followed_by_one_that_starts_over(
    engine: PrivateEngine, workdir: WorkDirectory, tmp_path: Path
):
    study = make_study(tmp_path / "study", {"long": held("long")})
    long = workdir.add(study, "long")["long"]
    runner = workdir.start("run", "--until-idle")
    workdir.wait_for_file(long, "busy")
    workdir.wait_for(long, "executing")
    engine.terminate()
    runner.says("does not answer")
    runner.signal(signal.SIGTERM)
    assert runner.ends() == 0
    assert workdir.cli("run", "--until-idle", code=5).stderr.count("\n") <= 2
    engine.start_again()
    runner = workdir.start("run", "--until-idle")
    workdir.wait_for_step(long, "executing", 2)
    workdir.wait_for_file(long, "busy")
    workdir.let_go(long)
    assert runner.ends() == 0
    assert workdir.codes() == {"long": "succeeded"}


def test_outputs_that_are_stored_again_after_an_outage_are_those_of_the_run_that_had_ended(
    engine: PrivateEngine, workdir: WorkDirectory, tmp_path: Path
):
    study = make_study(tmp_path / "study", {"make": action(shell("echo made > made.txt"), "made.txt")})
    make = workdir.add(study, "make")["make"]
    manifest = workdir.medium / "workspaces/test/metadata/manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("damaged")
    workdir.run(code=1)
    assert workdir.codes() == {"make": "internal_error"}

    engine.terminate()
    engine.start_again()
    manifest.unlink()
    workdir.cli("jobs", "retry", make)
    assert workdir.codes() == {"make": "succeeded"}
    assert workdir.history(make).count("executing") == 1
    assert workdir.leftovers() == []
