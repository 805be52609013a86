"""Jobs on Podman, which speaks to its clients as Docker does: what differs is nobody's concern who runs a study."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.places import MakeWorkDirectory, make_workdir
from support.podman import PodmanService
from support.runners import WorkDirectory
from support.studies import action, make_study, shell

__all__ = ["make_workdir"]

pytestmark = [
    pytest.mark.engine,
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or not shutil.which("podman"), reason="Podman is not installed, or not for us"
    ),
]

#: Waits until the test has put a file into its working copy.
HELD = "touch busy; echo waiting; until [ -e go ]; do sleep 0.1; done; echo went on; echo 1 > held.csv"


@pytest.fixture(scope="module")
def podman() -> Iterator[PodmanService]:
    """A service for the tests of this file."""
    # The path of a socket has to be short.
    with tempfile.TemporaryDirectory(prefix="podman-") as path:
        service = PodmanService(Path(path))
        yield service
        service.close()


@pytest.fixture
def workdir(podman: PodmanService, make_workdir: MakeWorkDirectory, monkeypatch: pytest.MonkeyPatch) -> WorkDirectory:
    """A work directory whose jobs run on Podman."""
    monkeypatch.setenv("DOCKER_HOST", podman.url)
    return make_workdir("docker")


def test_a_study_runs_and_each_failure_is_told(workdir: WorkDirectory, tmp_path: Path):
    study = make_study(
        tmp_path / "study",
        {
            "make": action(shell("echo a,b > a.csv; echo made it"), "a.csv"),
            "count": action(shell("cat a.csv; ip -o link | wc -l > n.csv; id -u >> n.csv"), "n.csv", needs=["make"]),
            "bad": action(shell("echo oh no; exit 3"), "bad.csv", needs=["make"]),
            "after": action(shell("true"), "after.csv", needs=["bad"]),
            "silent": action(shell("echo nothing"), "none.csv"),
            "absent": action("python:v2 no-such-program", "x.csv"),
            "greedy": action(shell("head -c 200m /dev/zero | tail > /dev/null; exit $?"), "x.txt"),
        },
    )
    jobs = workdir.add(study, "run_all")
    workdir.run(code=1, DEFAULT_JOB_MEMORY_LIMIT="64m")
    assert workdir.codes() == {
        "make": "succeeded",
        "count": "succeeded",
        "bad": "nonzero_exit",
        "after": "dependency_failed",
        "silent": "unmatched_patterns",
        "absent": "nonzero_exit",
        "greedy": "nonzero_exit",
    }
    # Nothing but a loopback interface, and not root.
    links, user = (workdir.high / "workspaces/test/n.csv").read_text().split()
    assert links == "1"
    assert user != "0"
    assert workdir.cli("jobs", "logs", jobs["bad"]).stdout.startswith("oh no\n")
    assert "No such file or directory" in workdir.cli("jobs", "logs", jobs["absent"]).stdout
    greedy = json.loads(workdir.cli("jobs", "show", jobs["greedy"], "--json").stdout)
    assert "memory limit" in greedy["status_message"]
    assert workdir.leftovers() == []


def test_a_job_is_followed_and_killed(workdir: WorkDirectory, tmp_path: Path):
    study = make_study(tmp_path / "study", {"held": action(shell(HELD), "held.csv")})
    job = workdir.add(study, "held")["held"]
    runner = workdir.start("run", "--until-idle")
    workdir.wait_for_file(job, "busy")
    reader = workdir.start("jobs", "logs", "-f", job)
    reader.says("waiting")
    workdir.cli("jobs", "kill", job)
    assert runner.ends() == 1
    assert reader.ends() == 0
    assert workdir.codes() == {"held": "killed_by_admin"}


def test_a_job_outlives_runner_and_service(workdir: WorkDirectory, podman: PodmanService, tmp_path: Path):
    study = make_study(tmp_path / "study", {"held": action(shell(HELD), "held.csv")})
    job = workdir.add(study, "held")["held"]
    runner = workdir.start("run")
    workdir.wait_for_file(job, "busy")
    podman.start_again()
    runner.kill()
    again = workdir.start("run", "--until-idle")
    workdir.wait_for_holder(again)
    workdir.let_go(job)
    assert again.ends() == 0
    assert workdir.codes() == {"held": "succeeded"}
    assert workdir.history(job).count("executing") == 1
    assert workdir.cli("jobs", "logs", job).stdout.startswith("waiting\nwent on\n")


def test_doctor_knows_podman_and_asks_nothing_of_it_that_only_docker_has(workdir: WorkDirectory):
    findings = json.loads(workdir.cli("doctor", "--json").stdout)
    told = [finding for finding in findings if finding["check"] in {"engine", "images"}]
    assert told[0]["text"].startswith("Podman ")
    assert {finding["verdict"] for finding in told} == {"ok"}
    assert "python:v2" in told[-1]["text"]
