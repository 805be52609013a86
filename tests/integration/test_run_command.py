"""`jobrunner run` and `add-job --wait`: leaving and coming back, one runner at a time, new jobs and images."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from support.engine import Engine
from support.held import held, quick
from support.runners import WorkDirectory, engine_client, until
from support.studies import action, make_study

pytestmark = [pytest.mark.slow]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_leaves_what_runs_to_the_next_run(workdir: WorkDirectory, number: signal.Signals, tmp_path: Path):
    study = make_study(
        tmp_path / "study", {"long": held(workdir, "long"), "next": quick(workdir, "next", needs=["long"])}
    )
    jobs = workdir.add(study, "run_all")
    runner = workdir.start("run")
    workdir.wait_for_file(jobs["long"], "busy")
    workdir.wait_for(jobs["long"], "executing")
    runner.signal(number)
    assert runner.ends() == (130 if number == signal.SIGINT else 0)
    said = runner.said()
    assert "test/long" in said
    assert f"jobrunner jobs kill {jobs['long']}" in said
    assert "Traceback" not in said
    assert workdir.codes() == {"long": "executing", "next": "waiting_on_dependencies"}

    # It ends while nobody looks; the next runner takes it from there.
    workdir.let_go(jobs["long"])
    until((workdir.working_copy(jobs["long"]) / "long.txt").exists, "the output")
    workdir.run()
    assert workdir.codes() == {"long": "succeeded", "next": "succeeded"}
    assert workdir.starts() == dict.fromkeys(jobs.values(), 1)
    assert workdir.leftovers() == []


def finalizing_study(workdir: WorkDirectory, path: Path) -> dict[str, str]:
    script = "mkdir many; n=0; while [ $n -lt 300 ]; do echo $n > many/$n.csv; n=$((n+1)); done"
    study = make_study(
        path,
        {"heavy": action(workdir.command(script), "many/*.csv"),
         "after": quick(workdir, "after", needs=["heavy"]),
         "waiting": held(workdir, "waiting", needs=["heavy"])},
    )  # fmt: skip
    return workdir.add(study, "run_all")


def test_signal_lets_what_is_being_stored_be_stored(workdir: WorkDirectory, tmp_path: Path):
    jobs = finalizing_study(workdir, tmp_path / "study")
    runner = workdir.start("run")
    workdir.wait_for(jobs["heavy"], "finalizing")
    runner.signal(signal.SIGTERM)
    assert runner.ends() == 0
    assert workdir.codes()["heavy"] == "succeeded"
    assert workdir.starts()[jobs["after"]] == workdir.starts()[jobs["waiting"]] == 0
    assert workdir.ask("SELECT count(*) FROM job WHERE state = 'running'") == [(0,)]


def test_second_signal_leaves_at_once_and_loses_nothing(workdir: WorkDirectory, tmp_path: Path):
    jobs = finalizing_study(workdir, tmp_path / "study")
    runner = workdir.start("run")
    workdir.wait_for(jobs["heavy"], "finalizing")
    runner.signal(signal.SIGTERM)
    runner.says("once more to leave at once")
    runner.signal(signal.SIGTERM)
    # It may have been done in the meantime.
    assert runner.ends() in {130, 0}
    again = workdir.start("run", "--until-idle")
    workdir.wait_for_file(jobs["waiting"], "busy")
    workdir.let_go(jobs["waiting"])
    assert again.ends() == 0
    assert set(workdir.codes().values()) == {"succeeded"}
    assert workdir.starts() == dict.fromkeys(jobs.values(), 1)
    assert len(workdir.outputs(workdir.medium)) == 302
    assert workdir.leftovers() == []


def test_only_one_runner_at_a_time(make_workdir, tmp_path: Path):
    workdir = make_workdir("process")
    study = make_study(tmp_path / "study", {"long": held(workdir, "long"), "quick": quick(workdir, "quick")})
    jobs = workdir.add(study, "long")
    first = workdir.start("run", "--until-idle")
    workdir.wait_for_file(jobs["long"], "busy")
    refused = workdir.cli("run", code=3)
    assert str(first.pid) in refused.stderr
    assert str(workdir.path) in refused.stderr
    workdir.let_go(jobs["long"])
    assert first.ends() == 0
    # And in turn.
    workdir.add(study, "quick")
    workdir.run()
    workdir.run()
    assert workdir.starts() == dict.fromkeys([row[0] for row in workdir.ask("SELECT id FROM job")], 1)


def test_waiting_for_jobs_runs_them_or_watches_their_runner(workdir: WorkDirectory, tmp_path: Path):
    study = make_study(
        tmp_path / "study",
        {
            "one": quick(workdir, "one"),
            "bad": action(workdir.command("exit 2"), "bad.txt"),
            "long": held(workdir, "long"),
            "other": quick(workdir, "other"),
        },
    )
    # Without a runner only what was asked for is run.
    workdir.add(study, "other")
    assert workdir.cli("add-job", str(study.path), "one", "--wait").returncode == 0
    assert workdir.codes() == {"other": "created", "one": "succeeded"}
    workdir.cli("add-job", str(study.path), "bad", "--wait", code=1)

    runner = workdir.start("run")
    workdir.wait_for_holder(runner)
    waiting = workdir.start("add-job", str(study.path), "long", "--wait")
    waiting.says(f"process {runner.pid} is at work")
    [(job_id,)] = workdir.ask("SELECT id FROM job WHERE action = 'long'")
    workdir.wait_for_file(job_id, "busy")
    assert waiting.process.poll() is None
    impatient = workdir.start("add-job", str(study.path), "long", "--wait")
    impatient.says("watching it")
    impatient.signal(signal.SIGINT)
    assert impatient.ends() == 130
    workdir.let_go(job_id)
    assert waiting.ends() == 0
    watched = workdir.cli("add-job", str(study.path), "bad", "--wait", code=1)
    assert "failed: Job exited with an error: exit code 2" in watched.stderr
    runner.signal(signal.SIGTERM)
    assert runner.ends() == 0
    assert workdir.codes() == {"other": "succeeded", "one": "succeeded", "bad": "nonzero_exit", "long": "succeeded"}


def test_waiting_goes_on_where_the_runner_left(workdir: WorkDirectory, tmp_path: Path):
    study = make_study(tmp_path / "study", {"long": held(workdir, "long")})
    runner = workdir.start("run")
    workdir.wait_for_holder(runner)
    waiting = workdir.start("add-job", str(study.path), "long", "--wait")
    waiting.says("watching it")
    [(job_id,)] = workdir.ask("SELECT id FROM job")
    workdir.wait_for_file(job_id, "busy")
    runner.kill()
    workdir.let_go(job_id)
    assert waiting.ends() == 0
    assert workdir.starts() == {job_id: 1}
    assert workdir.leftovers() == []


def test_jobs_that_come_while_it_runs_are_taken_up(workdir: WorkDirectory, tmp_path: Path):
    study = make_study(
        tmp_path / "study", {"long": held(workdir, "long"), "a": quick(workdir, "a"), "b": quick(workdir, "b")}
    )
    long = workdir.add(study, "long")["long"]
    runner = workdir.start("run")
    workdir.wait_for_file(long, "busy")
    for name in ("a", "b"):
        workdir.wait_until_ended(workdir.add(study, name).values())
    assert workdir.codes() == {"long": "executing", "a": "succeeded", "b": "succeeded"}
    workdir.let_go(long)
    workdir.wait_until_ended([long])
    runner.signal(signal.SIGTERM)
    assert runner.ends() == 0
    assert workdir.leftovers() == []


class MovingImage:
    """An image that is fetched again and again under one name, in a registry that has what other actions need, too."""

    name = "python:v7"

    def __init__(self, registry: str, engine: Engine) -> None:
        self.registry = registry
        self._client = engine_client()
        self._usual = engine.python
        self._made: list[str] = []
        for usual in (engine.busybox, engine.python):
            name, tag = usual.rpartition("/")[2].split(":")
            self._client.tag(usual, f"{registry}/{name}", tag)
            self._made.append(f"{registry}/{name}:{tag}")

    def fetch(self, which: str) -> None:
        """Have the name mean an image that says, in WHICH, which one it is."""
        container = self._client.create_container(self._usual, ["true"])["Id"]
        try:
            repository, _, tag = f"{self.registry}/{self.name}".rpartition(":")
            made = self._client.commit(container, repository, tag, changes=f"ENV WHICH={which}")
            self._made.append(made["Id"])
        finally:
            self._client.remove_container(container)

    def used_by(self, job_id: str) -> bool:
        """Whether the job has a container."""
        return bool(self._client.containers(all=True, filters={"name": f"os-job-{job_id}"}))

    def close(self) -> None:
        """Remove the images that were made."""
        for made in self._made:
            self._client.remove_image(made, force=True)
        self._client.close()


@pytest.fixture
def image(docker_engine: Engine, make_workdir) -> Iterator[MovingImage]:
    """An image of a registry of the test's own, beside the usual ones; gone after the test."""
    moving = MovingImage(f"registry.example/{uuid4().hex}", docker_engine)
    yield moving
    moving.close()


@pytest.mark.engine
def test_image_that_is_fetched_anew_while_a_job_waits_is_the_one_that_it_runs_in(
    make_workdir, image: MovingImage, tmp_path: Path
):
    workdir = make_workdir("docker", {"MAX_WORKERS": "1", "DOCKER_REGISTRY": image.registry})
    study = make_study(
        tmp_path / "study",
        {
            "first": action(workdir.command("touch began; until [ -e go ]; do sleep 0.1; done; touch a.txt"), "a.txt"),
            "second": action(f"{image.name} sh -c 'echo $WHICH > which.txt'", "which.txt"),
        },
    )
    image.fetch("old")
    jobs = workdir.add(study, "run_all")
    runner = workdir.start("run")
    workdir.wait_for_file(jobs["first"], "began")
    until(lambda: image.used_by(jobs["second"]), "the container that is made ahead of its turn")
    # What one runner has made a moment ago it takes as it is; the next one has made nothing.
    runner.signal(signal.SIGTERM)
    assert runner.ends() == 0
    image.fetch("new")
    workdir.let_go(jobs["first"])
    workdir.run()
    assert workdir.outputs(workdir.high)["which.txt"] == b"new\n"
