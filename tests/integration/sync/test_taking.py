"""Job requests are taken from the server: all of them, in order, each once, and none at the cost of the others."""

from __future__ import annotations

import os
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from jobrunner_cli.engine.errors import internal_error
from jobrunner_cli.engine.service.intake import Intake
from jobrunner_cli.engine.service.pacing import Pace
from jobrunner_cli.engine.service.status import read_status
from jobrunner_cli.engine.service.wire import read_listing
from jobrunner_cli.engine.states import StatusCode
from jobrunner_cli.engine.store import intents, queries
from jobrunner_cli.engine.work import IntentKind
from support.git_server import SourceRepository, git_server
from support.job_server import JobServer
from support.syncing import PROJECT, C, MakePlace, Place, actions_of

pytestmark = pytest.mark.slow


def cancelled(place: Place, request_id: str) -> set[str]:
    """The actions of the request whose end somebody wants."""
    jobs = {job.id: job.action for job in place.jobs(request_id)}
    wishes = intents.open_intents(place.database.connection, jobs)
    return {jobs[job_id] for job_id, of in wishes.items() if any(wish.kind is IntentKind.CANCEL for wish in of)}


def test_request_becomes_jobs_and_its_original_is_kept(place: Place, server: JobServer):
    entry = place.ask_for("r1", "clean", unknown={"kept": [1]})
    report = place.sync().once()
    assert (report.listed, report.taken, report.told_jobs) == (1, 1, 2)
    assert report.failures == report.problems == ()
    assert actions_of(place.jobs("r1")) == ["extract", "clean"]
    saved = queries.saved_request(place.database.connection, "r1")
    assert saved is not None
    assert saved.original == entry
    assert server.statuses("r1") == {"extract": "pending", "clean": "pending"}


def test_request_is_taken_once_however_often_it_is_listed(place: Place, server: JobServer):
    place.ask_for("r1")
    with place.syncing():
        server.until(lambda: len(server.gets()) > 10, "polls")
    assert len(place.jobs("r1")) == 3


def test_requests_on_all_pages_are_taken(place: Place, server: JobServer):
    for number in range(101):
        place.add_jobs(f"old{number}", 1)
    place.ask_for("new", "extract", workspace={"name": "other"})
    with server.guard:
        # The oldest is on the last page.
        server.requests = {"new": server.requests.pop("new"), **server.requests}
    assert place.sync().once().listed == 102
    assert place.jobs("new")


def test_what_was_read_before_a_page_failed_is_taken(place: Place, server: JobServer):
    for number in range(101):
        place.add_jobs(f"old{number}", 1)
    place.ask_for("new", "extract", workspace={"name": "other"})
    server.fail(500, "GET", picks=lambda seen: "offset" in seen.target, times=None)
    report = place.sync().once()
    assert len(report.problems) == 1
    assert place.jobs("new")
    assert server.statuses("new")


def test_requests_are_planned_from_the_oldest(place: Place, server: JobServer):
    place.ask_for("older", "extract")
    place.ask_for("newer", "extract")
    place.sync().once()
    assert place.jobs("older")[0].run_command is not None
    assert place.jobs("newer")[0].status_code is StatusCode.SUCCEEDED


def test_cancelled_actions_become_intents_once(place: Place, server: JobServer):
    entry = place.ask_for("r1")
    with place.syncing():
        server.until(lambda: server.statuses("r1"), "the jobs")
        with server.guard:
            entry["cancelled_actions"] = ["clean"]
        server.until(lambda: cancelled(place, "r1") == {"clean"}, "the intent")
        (job,) = (job for job in place.jobs("r1") if job.action == "clean")
        place.move(job, C.CANCELLED_BY_USER)
        asked = len(server.gets())
        server.until(lambda: len(server.gets()) > asked + 3, "more polls")
        conn = place.database.connection
        assert len(intents.intents_of(conn, job.id)) == 1
        assert server.statuses("r1")["clean"] == "failed"


def test_request_that_arrives_cancelled_is_made_and_cancelled(place: Place, server: JobServer):
    place.ask_for("r1", cancelled_actions=["report"])
    place.sync().once()
    assert cancelled(place, "r1") == {"report"}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"sha": "0" * 40}, "GitUnknownRefError: "),
        ({"sha": None}, "JobRequestError: The job request cannot be understood: sha is missing"),
        ({"requested_actions": ["nonsense"]}, "UnknownActionError: "),
        ({"workspace": {"name": "a b"}}, "JobRequestError: workspace "),
        ({"workspace": {"repo": "\0"}}, "GitError: "),
        ({"workspace": {"repo": "\ud800"}}, "GitError: The repository's path has characters in it that are not text"),
        ({"workspace": {"repo": "https://github.com/opensafely/x.git"}}, "Git"),
        ({"codelists_ok": False}, "The study's codelists are out of date"),
        ({"database_name": None}, "JobRequestError: The job request cannot be understood: database_name is missing"),
    ],
)
def test_request_that_cannot_run_is_reported_and_leaves_the_others(
    make_place: MakePlace, server: JobServer, fields: dict[str, object], told: str
):
    place = make_place(ALLOWED_GITHUB_ORGS="none" if "https" in str(fields) else "*")
    place.ask_for("good", workspace={"name": "one"})
    place.ask_for("bad", **{"workspace": {"name": "two"}, **fields})
    place.ask_for("better", workspace={"name": "three"})
    report = place.sync().once()
    assert report.failures == ()
    (job,) = place.jobs("bad")
    assert (job.action, job.run_command) == ("__error__", None)
    assert (job.status_message or "").startswith(told)
    assert server.statuses("bad") == {"__error__": "failed"}
    assert len(server.statuses("good")) == len(server.statuses("better")) == 3
    assert place.sync().once().taken == 0


def test_request_that_a_fault_of_ours_keeps_from_being_read_is_reported(place: Place, caplog: pytest.LogCaptureFixture):
    entry = place.ask_for("r1")
    (incoming,) = read_listing([entry], "test").incoming
    unread = replace(incoming, error=internal_error(), fault=ZeroDivisionError("of a single request"))
    intake = Intake(place.settings, place.database, Pace(), threading.Event())
    intake.submit([unread], complete=True)
    intake.wait()
    assert intake.close(patience=30)
    (job,) = place.jobs("r1")
    assert (job.action, job.status_code) == ("__error__", StatusCode.INTERNAL_ERROR)
    assert job.status_message == "JobRequestError: Internal error"
    assert "ZeroDivisionError: of a single request" in caplog.text


def test_entry_without_an_identifier_is_named_and_leaves_the_others(place: Place, server: JobServer):
    place.ask_for("good")
    place.ask_for("bad", identifier=None)
    report = place.sync().once()
    assert place.jobs("good")
    (failure,) = report.failures
    assert "without an identifier" in failure


def test_requests_of_another_backend_are_neither_run_nor_told(place: Place, server: JobServer):
    server.tokens = dict.fromkeys(server.tokens) | {}  # type: ignore[misc]
    server.tokens = {"s3cret/token+of=tests": "test"}
    entry = place.ask_for("theirs")
    list_of = server._list
    server._list = lambda seen, backend: (200, {"results": [entry | {"backend": "tpp"}], "next": None})  # type: ignore[method-assign]
    report = place.sync().once()
    server._list = list_of  # type: ignore[method-assign]
    assert place.jobs("theirs") == []
    assert server.posts() == []
    assert report.failures == ()


def test_relative_path_of_a_repository_is_made_absolute(place: Place, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(place.study.path.parent)
    place.ask_for("r1", workspace={"repo": "study"})
    place.sync().once()
    assert {job.repo_url for job in place.jobs("r1")} == {str(place.study.path)}


def test_many_requests_for_one_commit_ask_git_as_often_as_one(
    make_place: MakePlace, server: JobServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    place = make_place(ALLOWED_GITHUB_ORGS="opensafely")
    called = counted_git(tmp_path, monkeypatch)
    place.ask_for("first", workspace={"name": "first"})
    assert place.sync().once().taken == 1
    once = len(called.read_text().splitlines())
    place.study.write({"new.txt": "x"})
    place.head = place.study.commit()
    called.write_text("")
    for number in range(12):
        place.ask_for(f"r{number}", workspace={"name": f"ws{number}"})
    assert place.sync().once().taken == 12
    assert all(len(place.jobs(f"r{number}")) == 3 for number in range(12))
    assert len(called.read_text().splitlines()) <= once


def counted_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that gets a line for every git that is started from now on."""
    called, real = tmp_path / "called", shutil.which("git")
    wrapper = tmp_path / "bin" / "git"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\necho "$*" >> {called}\nexec {real} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    return called


def test_planning_does_not_hold_up_the_states_of_jobs(
    place: Place, server: JobServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A repository that does not answer holds up its own request: not states, not cancellations, not other requests."""
    (job,) = place.add_jobs("running", 1)
    entry = place.ask_for("cancelled")
    place.sync().once()
    with git_server(tmp_path / "git") as git:
        monkeypatch.setenv("GIT_SSL_CAINFO", str(git.certificate))
        source = SourceRepository(tmp_path / "source")
        source.change({"project.yaml": PROJECT})
        url = git.publish(source, "stuck")
        held = git.fail_next("hold")
        place.ask_for("stuck", workspace={"repo": url, "name": "three"}, sha=source.git("rev-parse", "HEAD"))
        begun = time.monotonic()
        with place.syncing():
            assert held.struck.wait(30)
            place.ask_for("other", workspace={"name": "two"})
            server.until(lambda: server.statuses("other"), "another request")
            place.finish(job)
            server.until(lambda: server.statuses("running") == {"action0": "succeeded"}, "the states")
            with server.guard:
                entry["cancelled_actions"] = ["clean"]
            server.until(lambda: cancelled(place, "cancelled") == {"clean"}, "the intent")
            assert place.jobs("stuck") == []
        # Leaving interrupts git, and what it was for is taken the next time.
        assert time.monotonic() - begun < 30
        held.release.set()
        place.sync().once()
        assert len(place.jobs("stuck")) == 3


def test_what_cannot_be_stored_now_is_taken_later(place: Place, server: JobServer):
    place.ask_for("r1")
    conn = place.database.connection
    conn.execute("CREATE TRIGGER full BEFORE INSERT ON job BEGIN SELECT RAISE(ABORT, 'no room'); END")
    # Stays: an attempt that has just failed when there is room again would report that.
    conn.execute(
        "CREATE TRIGGER silent BEFORE INSERT ON job WHEN NEW.action = '__error__' BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    with place.syncing() as sync:
        server.until(lambda: len(server.gets()) > 3, "polls")
        assert place.jobs("r1") == []
        conn.execute("DROP TRIGGER full")
        server.until(lambda: server.statuses("r1"), "the jobs")
        assert sync.report.asked is not None
    assert len(place.jobs("r1")) == 3


def test_status_is_kept_in_a_file(place: Place, server: JobServer):
    assert read_status(place.settings.sync_status_path) is None
    place.ask_for("r1")
    with place.syncing(Pace(look=0.01, gap=0.01)) as sync:
        server.until(lambda: not place.untold() and server.statuses("r1"), "the jobs")
        server.until(lambda: sync.report.told is not None, "the report")
        server.fail(503, "GET", times=None)
        server.until(lambda: sync.report.asked is not None and sync.report.asked.problem, "the problem")
        report = read_status(place.settings.sync_status_path)
    assert report is not None
    assert report.asked is not None
    assert report.told is not None
    assert "503" in (report.asked.problem or "")
    assert report.asked.well_at is not None
    assert report.told.problem is None
    assert time.strptime(report.told.at, "%Y-%m-%dT%H:%M:%SZ")
