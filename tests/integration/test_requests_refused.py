"""Job requests that cannot be run: each becomes one failed job that says why."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest

from jobrunner_cli.engine import requests
from jobrunner_cli.engine.errors import DatabaseBusyError, JobFilesError, ProjectValidationError, StaleCodelistError
from jobrunner_cli.engine.states import StatusCode
from jobrunner_cli.engine.store import queries
from jobrunner_cli.engine.store.database import Database, connect
from support.requesting import NOW, MakePlace, Place, actions_of, reported

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"requested_actions": ()}, "JobRequestError: the request names no action"),
        ({"requested_actions": ("cleam",)}, "UnknownActionError: project.yaml has no action 'cleam'; did you mean"),
        ({"workspace": "../other"}, "JobRequestError: workspace "),
        ({"workspace": "test\n"}, "JobRequestError: workspace "),
        ({"workspace": ""}, "JobRequestError: workspace "),
        ({"commit": "abc"}, "JobRequestError: commit "),
        ({"commit": "HEAD"}, "JobRequestError: commit "),
        ({"repo_url": "https://github.com/somebody/study"}, "GithubValidationError: "),
        ({"repo_url": "http://github.com/opensafely/study"}, "GithubValidationError: "),
        ({"repo_url": "git@github.com:opensafely/study"}, "GithubValidationError: "),
        ({"repo_url": "ext::sh -c true"}, "GithubValidationError: "),
        ({"repo_url": "/no/such/directory"}, "GitRepoNotReachableError: "),
        ({"branch": "other"}, "GithubValidationError: Cannot run commit "),
        ({"branch": "--upload-pack=x"}, "GithubValidationError: Cannot run commit "),
        ({"commit": "0" * 40}, "GithubValidationError: Cannot run commit "),
    ],
)
def test_a_request_that_cannot_be_run_becomes_one_failed_job_that_says_why(
    place: Place, fields: dict[str, Any], message: str
) -> None:
    job = reported(
        place.create(
            place.request("clean", **fields)
            if "requested_actions" not in fields
            else replace(place.request(), **fields)
        )
    )

    assert job.status_code is StatusCode.INTERNAL_ERROR
    assert job.status_message is not None
    assert job.status_message.startswith(message)
    assert place.stored() == [job]
    assert queries.saved_request(place.database.connection, "request1") is not None


def test_an_error_is_reported_once(place: Place) -> None:
    first = place.submit("nothing")
    again = place.submit("nothing")
    assert again.existing
    assert again.jobs == first.jobs


def test_a_study_without_project_yaml_is_told_so(make_place: MakePlace) -> None:
    place = make_place()
    (place.study.path / "project.yaml").unlink()
    place.head = place.study.commit()
    job = reported(place.submit("clean"))
    assert (job.status_message or "").startswith("GitFileNotFoundError: There is no file project.yaml in commit")


def test_every_problem_of_a_project_is_reported(make_place: MakePlace) -> None:
    place = make_place("version: 4\nactions:\n  a: {run: 'python', outputs: {}}\n  b: {needs: [c]}\n")
    submission = place.submit("a")
    message = reported(submission).status_message or ""
    assert isinstance(submission.error, ProjectValidationError)
    assert message.startswith("ProjectValidationError: project.yaml has ")
    assert "action a" in message
    assert "action b" in message


def test_a_commit_that_is_not_on_the_branch_is_refused_and_an_older_one_is_not(place: Place) -> None:
    place.study.git("checkout", "--quiet", "-b", "proposal")
    proposal = place.study.commit("Not merged")
    place.study.git("checkout", "--quiet", "main")
    place.study.commit("Later")

    message = reported(place.submit("clean", commit=proposal)).status_message or ""
    assert message.startswith("GithubValidationError: ")
    assert "not on branch main" in message
    assert actions_of(place.submit("clean", id="request2")) == ["extract", "clean"]
    assert place.submit("run_all", id="request3", commit=proposal, branch="proposal").error is None


def test_any_commit_will_do_where_organisations_are_not_restricted(make_place: MakePlace) -> None:
    place = make_place(ALLOWED_GITHUB_ORGS="*")
    place.study.git("checkout", "--quiet", "-b", "proposal")
    proposal = place.study.commit("Not merged")
    assert place.submit("clean", commit=proposal).error is None


def test_on_real_data_the_database_must_be_configured(make_place: MakePlace) -> None:
    place = make_place(BACKEND="tpp", DEFAULT_DATABASE_URL="mssql://u:secret-word@host/db")
    message = reported(place.submit("clean", database_name="dummy")).status_message or ""
    assert message.startswith("JobRequestError: database ")
    assert "configured: default" in message
    assert "secret-word" not in message
    assert place.submit("clean", id="request2").error is None


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.zstd", ".tar.xz"])
def test_an_archived_workspace_is_refused(place: Place, suffix: str) -> None:
    archives = place.settings.high_privacy_archive_dir
    archives.mkdir(parents=True)
    (archives / f"test{suffix}").write_bytes(b"")

    message = reported(place.submit("clean")).status_message or ""

    assert "archived" in message
    place.settings.high_workspace("test").mkdir(parents=True)
    assert place.submit("clean", id="request2").error is None


def test_stale_codelists_stop_requests_that_would_read_the_database_and_no_others(place: Place) -> None:
    submission = place.submit("clean", codelists_ok=False)
    job = reported(submission)
    assert isinstance(submission.error, StaleCodelistError)
    assert job.status_code is StatusCode.STALE_CODELISTS
    assert (job.status_message or "").startswith("The study's codelists are out of date")

    place.succeed_all(place.submit("extract", id="request2").jobs)
    assert actions_of(place.submit("clean", id="request3", codelists_ok=False)) == ["clean"]


def test_text_that_cannot_be_stored_spoils_only_its_own_request(place: Place) -> None:
    submission = place.submit("clean", database_name="a\udc80b", repo_url="/repos/\udcff")
    assert (reported(submission).status_message or "").startswith("JobRequestError: ")
    assert place.submit("clean", database_name="a\udc80b", repo_url="/repos/\udcff").existing


def test_a_bug_tells_the_user_nothing_and_the_log_everything(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    broken = place.request("clean", requested_actions=(None,))
    with caplog.at_level(logging.ERROR):
        job = reported(place.create(broken))
    assert job.status_message == "JobRequestError: Internal error"
    assert "Traceback" in caplog.text


def test_stores_that_cannot_be_looked_at_are_not_the_request_s_fault(place: Place) -> None:
    archives = place.settings.high_privacy_archive_dir
    archives.parent.mkdir(parents=True, exist_ok=True)
    archives.write_text("not a directory")
    with pytest.raises(JobFilesError, match=r"whether workspace test is archived cannot be seen: .*archives"):
        place.submit("clean")
    archives.unlink()
    assert place.submit("clean").error is None


def test_a_locked_database_is_not_the_request_s_fault(place: Place) -> None:
    impatient = Database(place.settings.database_path, patience=0.1)
    holder = connect(place.settings.database_path)
    with holder.transaction(), pytest.raises(DatabaseBusyError):
        requests.create_jobs(place.settings, place.repositories, impatient, place.request("clean"), now=NOW)
    holder.close()
    impatient.close()
    assert place.submit("clean").error is None
