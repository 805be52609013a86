"""`jobrunner workspaces`: what it shows, and archives that jobs and requests respect."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import pytest

from jobrunner_cli.engine.archive import marker_of
from jobrunner_cli.engine.requests import create_jobs
from jobrunner_cli.engine.running.session import git_access
from jobrunner_cli.engine.store import queries
from jobrunner_cli.engine.study.repository import Repositories
from support.places import MakeWorkDirectory
from support.repositories import StudyRepository
from support.requesting import Place
from support.runners import WorkDirectory, until
from support.studies import action, make_study, shell

pytestmark = [pytest.mark.slow]


@pytest.fixture
def workdir(make_workdir: MakeWorkDirectory) -> WorkDirectory:
    return make_workdir("process")


@pytest.fixture
def study(tmp_path: Path) -> StudyRepository:
    make = shell("mkdir -p out; echo 1 > out/a.csv; echo 22 > b.txt")
    use = shell("cat out/a.csv > c.csv")
    return make_study(
        tmp_path / "study",
        {"make": action(make, "out/a.csv", high=["b.txt"]), "use": action(use, "c.csv", needs=["make"])},
    )


def test_what_is_shown(workdir: WorkDirectory, study: StudyRepository):
    assert "No workspaces yet" in workdir.cli("workspaces", "ls").stderr
    workdir.add(study, "make")
    workdir.run()
    waiting = workdir.add(study, "use", "--workspace", "other")
    table = workdir.cli("workspaces", "ls").stdout.splitlines()
    assert [line.split()[:3] for line in table] == [
        ["WORKSPACE", "ACTIVE", "OUTPUTS"],
        ["other", "2", "0"],
        ["test", "0", "2"],
    ]
    (other, test) = json.loads(workdir.cli("workspaces", "ls", "--json").stdout)
    assert {job["id"] for job in other["active_jobs"]} == set(waiting.values())
    assert (test["outputs"], test["archived"], test["problem"]) == (2, False, None)
    assert test["last_job"]["action"] == "make"
    for store, root in (("high_privacy", workdir.high), ("medium_privacy", workdir.medium)):
        files = [path for path in (root / "workspaces/test").rglob("*") if path.is_file()]
        assert test[store] == {
            "path": str(root / "workspaces/test"),
            "size": sum(path.stat().st_size for path in files),
        }
    assert json.loads(workdir.cli("workspaces", "show", "test", "--json").stdout) == test
    shown = workdir.cli("workspaces", "show", "other").stdout
    assert waiting["use"] in shown
    assert "created" in shown
    workdir.cli("workspaces", "show", "nobody", code=4)


def test_nothing_runs_in_an_archived_workspace_until_it_is_back(workdir: WorkDirectory, study: StudyRepository):
    workdir.add(study, "make")
    workdir.run()
    before = workdir.outputs(workdir.high)
    said = workdir.cli("workspaces", "archive", "test").stdout
    assert "test is archived" in said
    assert not (workdir.high / "workspaces/test").exists()
    assert json.loads(workdir.cli("workspaces", "show", "test", "--json").stdout)["archived"]
    assert "yes" in workdir.cli("workspaces", "ls").stdout

    refused = workdir.cli("add-job", str(study.path), "use", code=1)
    assert "jobrunner workspaces unarchive test" in refused.stderr
    backfill = workdir.cli("manifests", "backfill")
    assert "is archived" in backfill.stderr
    assert not (workdir.high / "workspaces/test").exists()

    workdir.cli("workspaces", "unarchive", "test")
    assert workdir.outputs(workdir.high) == before
    workdir.add(study, "use")
    workdir.run()
    assert sorted(workdir.outputs(workdir.high)) == ["b.txt", "c.csv", "out/a.csv"]


def test_trouble_with_one_keeps_no_other_from_being_archived(workdir: WorkDirectory, study: StudyRepository):
    workdir.add(study, "make")
    workdir.run()
    workdir.add(study, "make", "--workspace", "busy")
    done = workdir.cli("workspaces", "archive", "busy", "nobody", "test", "--json", code=1)
    rows = {row["workspace"]: row for row in json.loads(done.stdout)}
    assert "active" in rows["busy"]["error"]
    assert "no workspace" in rows["nobody"]["error"]
    assert rows["test"]["done"]
    assert "Traceback" not in done.stderr
    assert workdir.cli("workspaces", "archive", "test").stdout.startswith("test is archived already")
    workdir.cli("workspaces", "unarchive", "nobody", code=4)


def test_a_kept_job_of_an_archived_workspace_makes_no_new_directory_in_its_place(
    workdir: WorkDirectory, study: StudyRepository, tmp_path: Path
):
    held = make_study(tmp_path / "held", {"long": action(workdir.command("touch busy; exec sleep 100"), "x.csv")})
    workdir.add(study, "make")
    workdir.run()
    jobs = workdir.add(held, "long")
    runner = workdir.start("run", "--until-idle")
    workdir.wait_for_file(jobs["long"], "busy")
    workdir.cli("jobs", "kill", jobs["long"])
    runner.ends()
    workdir.cli("workspaces", "archive", "test")
    workdir.cli("jobs", "kill", jobs["long"], "--cleanup")
    assert not (workdir.high / "workspaces/test").exists()


def test_killed_while_it_packs_it_says_so_and_goes_on(workdir: WorkDirectory, study: StudyRepository):
    workdir.add(study, "make")
    workdir.run()
    before = workdir.outputs(workdir.high)
    huge = workdir.high / "workspaces/test/huge.bin"
    with huge.open("wb") as file:
        file.truncate(1 << 34)
    command = workdir.start("workspaces", "archive", "test", "--no-space-check")
    until((workdir.high / "archives/.test.partial").exists, "the archive")
    refused = workdir.cli("add-job", str(study.path), "use", code=1)
    assert "at this moment" in refused.stderr
    busy = workdir.cli("workspaces", "archive", "test", code=1)
    assert "another process" in busy.stderr
    command.kill()
    refused = workdir.cli("add-job", str(study.path), "use", code=1)
    assert "was broken off" in refused.stderr
    assert "broken off" in workdir.cli("workspaces", "ls").stdout
    huge.unlink()
    assert workdir.outputs(workdir.high) == before
    workdir.cli("workspaces", "archive", "test")
    assert os.listdir(workdir.high / "archives") == ["test.tar.gz"]
    workdir.cli("workspaces", "unarchive", "test")
    assert workdir.outputs(workdir.high) == before


def test_ctrl_c_leaves_everything_as_it_was(workdir: WorkDirectory, study: StudyRepository):
    workdir.add(study, "make")
    workdir.run()
    with (workdir.high / "workspaces/test/huge.bin").open("wb") as file:
        file.truncate(1 << 34)
    command = workdir.start("workspaces", "archive", "test", "--no-space-check")
    until((workdir.high / "archives/.test.partial").exists, "the archive")
    command.signal(signal.SIGINT)
    assert command.ends() == 130
    assert os.listdir(workdir.high / "archives") == []
    workdir.add(study, "use")


class _ArchivedMeanwhile(Repositories):
    """Repositories of which the reading is when somebody archives the workspace: after the request was validated."""

    marker: Path

    def read_file(self, repo_url: str, commit: str, path: str) -> bytes:
        content = super().read_file(repo_url, commit, path)
        self.marker.parent.mkdir(parents=True, exist_ok=True)
        self.marker.touch()
        return content


def test_a_request_that_was_validated_before_the_archiving_began_makes_no_job(place: Place):
    repositories = _ArchivedMeanwhile(git_access(place.settings))
    repositories.marker = marker_of(place.settings, "test")
    submission = create_jobs(place.settings, repositories, place.database, place.request("extract"))
    assert [job.action for job in submission.jobs] == ["__error__"]
    assert "workspace test was broken off" in (submission.jobs[0].status_message or "")
    assert queries.active_jobs(place.database.connection) == []


def test_of_requests_and_an_archiving_at_once_only_one_side_wins(workdir: WorkDirectory, study: StudyRepository):
    workdir.add(study, "make")
    workdir.run()
    codes: list[int] = []

    def ask() -> None:
        command = workdir.start("add-job", str(study.path), "use", "-f")
        codes.append(command.ends())

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    archiving = workdir.start("workspaces", "archive", "test")
    for thread in threads:
        thread.join()
    archived = archiving.ends() == 0
    active = workdir.ask("SELECT count(*) FROM job WHERE state = 'pending'")[0][0]
    assert bool(active) != archived
    assert (workdir.high / "workspaces/test").exists() != archived
