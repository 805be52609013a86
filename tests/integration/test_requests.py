"""Job requests become jobs: against real repositories and a real database."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from jobrunner_cli.engine import requests
from jobrunner_cli.engine.errors import (
    DatabaseBusyError,
    GithubValidationError,
    GitUnknownRefError,
    ProjectValidationError,
    StaleCodelistError,
    UnknownActionError,
    UsageError,
)
from jobrunner_cli.engine.planning import job_id
from jobrunner_cli.engine.requests import Submission
from jobrunner_cli.engine.running.session import make_repositories
from jobrunner_cli.engine.settings import Settings, load
from jobrunner_cli.engine.states import State, StatusCode
from jobrunner_cli.engine.store import changes, intents, queries
from jobrunner_cli.engine.store.database import Database, connect
from jobrunner_cli.engine.store.migrating import migrate
from jobrunner_cli.engine.store.models import Job
from jobrunner_cli.engine.study.repository import Repositories
from jobrunner_cli.engine.work import IntentKind, JobRequest
from support.repositories import StudyRepository
from support.store import make_outcome

pytestmark = pytest.mark.slow

NOW = 1_795_000_000
KILLED = StatusCode.KILLED_BY_ADMIN

PROJECT = """
    version: 4
    actions:
      extract:
        run: ehrql:v1 generate-dataset analysis/dataset.py --output output/extract.csv
        outputs: {highly_sensitive: {table: output/extract.csv}}
      clean:
        run: python:v2 python analysis/clean.py
        needs: [extract]
        outputs: {highly_sensitive: {table: output/clean.csv}}
      report:
        run: r:v2 analysis/report.R
        needs: [clean]
        outputs: {moderately_sensitive: {page: output/report.html}}
    """


@dataclass
class Place:
    """A work directory with its database, and a study."""

    settings: Settings
    repositories: Repositories
    database: Database
    study: StudyRepository
    head: str
    actions: Path

    def request(self, *actions: str, **fields: Any) -> JobRequest:
        request = JobRequest(
            id="request1",
            repo_url=str(self.study.path),
            commit=self.head,
            branch="main",
            requested_actions=actions,
            cancelled_actions=(),
            workspace="test",
            codelists_ok=True,
            database_name="default",
            force_run_dependencies=False,
            original={"identifier": "request1", "unknown": [1, "ü"]},
        )
        return replace(request, **fields)

    def create(self, request: JobRequest, now: float | None = NOW) -> Submission:
        return requests.create_jobs(
            self.settings, self.repositories, self.database, request, now=now, actions_base_url=str(self.actions)
        )

    def submit(self, *actions: str, **fields: Any) -> Submission:
        return self.create(self.request(*actions, **fields))

    def local(self, *actions: str, **options: Any) -> JobRequest:
        return requests.local_request(self.settings, self.repositories, str(self.study.path), actions, **options)

    def move(self, job: Job, *path: StatusCode, **fields: Any) -> Job:
        """Take a job along this path, as the loop would."""
        now_ns = (NOW + 60) * 10**9
        return changes.advance(
            self.database.connection, job, path, now_ns=now_ns, message=None, cause="test", changes=fields
        )

    def succeed(self, job: Job) -> Job:
        """Let a job succeed with one output, which is really there."""
        path = next(iter(next(iter(job.output_spec.values())).values()))
        file = self.settings.high_workspace(job.workspace) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
        c = StatusCode
        return self.move(job, c.PREPARING, c.EXECUTING, c.FINALIZING, c.SUCCEEDED, outputs={path: "highly_sensitive"})

    def succeed_all(self, jobs: tuple[Job, ...]) -> None:
        for job in jobs:
            self.succeed(job)

    def stored(self, request_id: str = "request1") -> list[Job]:
        return queries.jobs_of_request(self.database.connection, request_id)


MakePlace = Callable[..., Place]


@pytest.fixture
def make_place(tmp_path: Path) -> Iterator[MakePlace]:
    made: list[Place] = []

    def make(project: str = PROJECT, **variables: str) -> Place:
        study = StudyRepository(tmp_path / "study")
        study.project(project)
        environment: Mapping[str, str] = {"WORKDIR": str(tmp_path / "work"), **variables}
        settings = load(environment, cwd=tmp_path, config_dir=tmp_path)
        migrate(settings.database_path)
        place = Place(
            settings=settings,
            repositories=make_repositories(settings),
            database=Database(settings.database_path),
            study=study,
            head=study.commit(),
            actions=tmp_path / "actions",
        )
        made.append(place)
        return place

    yield make
    for place in made:
        place.database.close()


@pytest.fixture
def place(make_place: MakePlace) -> Place:
    return make_place()


def actions_of(submission: Submission) -> list[str]:
    return [job.action for job in submission.jobs]


def reported(submission: Submission) -> Job:
    """The one job that reports an error."""
    (job,) = submission.jobs
    assert job.action == "__error__"
    assert job.state is State.FAILED
    assert job.run_command is None
    assert job.completed_at == NOW
    assert submission.error is not None
    assert submission.plan is None
    return job


# What is made.


def test_a_request_is_stored_with_a_job_for_each_action_that_it_needs(place: Place) -> None:
    submission = place.submit("clean")

    extract, clean = place.stored()
    assert submission.jobs == (extract, clean)
    assert not submission.existing
    assert (extract.id, clean.id) == (job_id("request1", "extract"), job_id("request1", "clean"))
    assert extract.run_command == "ehrql:v1 generate-dataset analysis/dataset.py --output output/extract.csv"
    assert extract.requires_db
    assert extract.output_spec == {"highly_sensitive": {"table": "output/extract.csv"}}
    assert not clean.requires_db
    assert clean.requires_outputs_from == ("extract",)
    assert clean.wait_for_job_ids == (extract.id,)
    for job in (extract, clean):
        assert (job.state, job.status_code, job.status_message) == (State.PENDING, StatusCode.CREATED, "Created")
        assert (job.repo_url, job.commit) == (str(place.study.path), place.head)
        assert (job.workspace, job.database_name) == ("test", "default")
        assert (job.created_at, job.updated_at, job.started_at, job.completed_at) == (NOW, NOW, None, None)
        assert job.status_code_updated_at == NOW * 10**9
        assert job.trace_context is None
    saved = queries.saved_request(place.database.connection, "request1")
    assert saved is not None
    assert saved.original == {"identifier": "request1", "unknown": [1, "ü"]}


def test_the_code_of_the_commit_counts_and_not_the_working_copy(place: Place) -> None:
    place.study.project("version: 4\nactions: {}\n")
    assert actions_of(place.submit("clean")) == ["extract", "clean"]


def test_a_request_that_has_its_jobs_gets_no_others(place: Place) -> None:
    first = place.submit("clean")
    again = place.submit("report")

    assert again.existing
    assert again.jobs == first.jobs
    assert place.stored() == list(first.jobs)


def test_a_later_request_awaits_what_is_under_way(place: Place) -> None:
    extract, _ = place.submit("clean").jobs
    later = place.submit("report", id="request2")

    (report,) = later.jobs
    assert report.wait_for_job_ids == (job_id("request1", "clean"),)
    assert queries.job_by_id(place.database.connection, extract.id) == extract


def test_outputs_that_are_there_are_used_and_outputs_that_are_gone_are_made_again(place: Place) -> None:
    (extract,) = place.submit("extract").jobs
    place.succeed(extract)
    assert actions_of(place.submit("clean", id="request2", workspace="other")) == ["extract", "clean"]
    (clean,) = place.submit("clean", id="request3").jobs
    place.succeed(clean)
    (place.settings.high_workspace("test") / "output/clean.csv").unlink()

    submission = place.submit("report", id="request4")

    assert actions_of(submission) == ["clean", "report"]
    assert submission.plan is not None
    assert "output/clean.csv is gone" in submission.plan.new[0].reason


def test_a_link_in_the_place_of_an_output_is_no_output(place: Place) -> None:
    (extract,) = place.submit("extract").jobs
    place.succeed(extract)
    output = place.settings.high_workspace("test") / "output/extract.csv"
    output.unlink()
    output.symlink_to("/etc/hostname")
    assert actions_of(place.submit("clean", id="request2")) == ["extract", "clean"]


def test_what_was_cancelled_does_not_count_as_the_latest(place: Place) -> None:
    (extract,) = place.submit("extract").jobs
    extract = place.succeed(extract)
    (again,) = place.submit("extract", id="request2").jobs
    place.move(again, StatusCode.CANCELLED_BY_USER, cancelled=True)
    assert actions_of(place.submit("clean", id="request3")) == ["clean"]


def test_nobody_is_made_to_wait_for_a_job_that_is_about_to_be_cancelled(place: Place) -> None:
    (extract,) = place.submit("extract").jobs
    intents.append(place.database.connection, IntentKind.CANCEL, extract.id, "test", NOW)
    (again,) = place.submit("extract", id="request2").jobs
    assert again.id == job_id("request2", "extract")


def test_a_cancellation_that_comes_too_late_leaves_the_job_to_be_awaited(place: Place) -> None:
    (extract,) = place.submit("extract").jobs
    extract = place.move(extract, StatusCode.PREPARING, StatusCode.EXECUTING, StatusCode.FINALIZING)
    conn = place.database.connection
    assert changes.record_verdict(conn, extract, make_outcome(), NOW * 10**9)
    intents.append(conn, IntentKind.CANCEL, extract.id, "test", NOW)
    (clean,) = place.submit("clean", id="request2").jobs
    assert clean.wait_for_job_ids == (extract.id,)


def test_a_clock_that_went_back_does_not_hide_the_newest_job(place: Place) -> None:
    place.succeed_all(place.submit("extract").jobs)
    (again,) = place.create(place.request("extract", id="request2"), now=NOW - 3600).jobs
    (clean,) = place.submit("clean", id="request3").jobs
    assert clean.wait_for_job_ids == (again.id,)


def test_the_time_of_a_job_is_the_clock_s_when_none_is_given(place: Place) -> None:
    before = place.create(place.request("extract"), now=None).jobs[0].created_at
    assert before > 1_700_000_000


# Nothing to do.


def test_a_job_server_is_told_by_one_row_that_there_is_nothing_to_do(place: Place) -> None:
    place.succeed_all(place.submit("run_all").jobs)

    submission = place.submit("run_all", id="request2")

    (row,) = place.stored("request2")
    assert submission.jobs == (row,)
    assert submission.error is None
    assert (row.action, row.state, row.status_code) == ("run_all", State.SUCCEEDED, StatusCode.SUCCEEDED)
    assert row.status_message == "Nothing to do: every action has already succeeded"
    assert row.run_command is None
    assert row.completed_at == NOW


def test_the_row_that_tells_of_nothing_to_do_is_nobody_s_latest_job(place: Place) -> None:
    (extract,) = place.submit("extract").jobs
    place.submit("extract", id="request2")
    (clean,) = place.submit("clean", id="request3").jobs
    assert clean.wait_for_job_ids == (extract.id,)


def test_a_local_request_with_nothing_to_do_leaves_no_row(place: Place) -> None:
    place.submit("extract")
    submission = place.create(place.local("extract"))
    assert submission.jobs == ()
    assert submission.plan is not None
    assert submission.plan.nothing_to_do == "Nothing to do: everything requested is already under way"


# Cancelling.


def test_cancelled_actions_become_intents_once_and_only_for_unfinished_jobs(place: Place) -> None:
    extract, clean, report = place.submit("run_all").jobs
    place.succeed(extract)
    cancelled = place.request("run_all", cancelled_actions=("extract", "clean"))

    for _ in range(3):
        assert place.create(cancelled).existing

    conn = place.database.connection
    assert intents.intents_of(conn, extract.id) == []
    assert intents.intents_of(conn, report.id) == []
    (intent,) = intents.intents_of(conn, clean.id)
    assert intent.kind == "cancel"
    assert not place.stored()[1].cancelled
    intents.answer(conn, intent.id, "already finished", NOW)
    place.create(cancelled)
    assert len(intents.intents_of(conn, clean.id)) == 1


def test_a_request_that_arrives_with_cancelled_actions_has_them_cancelled(place: Place) -> None:
    extract, clean = place.submit("clean", cancelled_actions=("clean",)).jobs
    assert list(intents.open_intents(place.database.connection)) == [clean.id]
    assert extract.wait_for_job_ids == ()


# What is refused, and how it is reported.


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


def test_a_locked_database_is_not_the_request_s_fault(place: Place) -> None:
    impatient = Database(place.settings.database_path, patience=0.1)
    holder = connect(place.settings.database_path)
    with holder.transaction(), pytest.raises(DatabaseBusyError):
        requests.create_jobs(place.settings, place.repositories, impatient, place.request("clean"), now=NOW)
    holder.close()
    impatient.close()
    assert place.submit("clean").error is None


# Several at once.


def submit_while(place: Place, request: JobRequest, change: Callable[[], object]) -> Submission:
    """Submit a request whose first plan is made before the change, and whose transaction comes after it."""
    waits_for_the_lock = threading.Event()
    submissions: list[Submission] = []

    def submit() -> None:
        def watch(statement: str) -> None:
            if statement.startswith("BEGIN"):
                waits_for_the_lock.set()

        place.database.connection.set_trace_callback(watch)
        submissions.append(place.create(request))

    with place.database.transaction():
        change()
        thread = threading.Thread(target=submit)
        thread.start()
        assert waits_for_the_lock.wait(60)
    thread.join()
    (submission,) = submissions
    return submission


def test_jobs_that_another_request_has_just_made_are_awaited(place: Place) -> None:
    submission = submit_while(place, place.request("report", id="request2"), lambda: place.submit("clean"))

    (report,) = submission.jobs
    assert report.wait_for_job_ids == (job_id("request1", "clean"),)


def test_a_request_that_another_process_has_just_handled_is_left_to_it(place: Place) -> None:
    submission = submit_while(place, place.request("clean"), lambda: place.submit("clean"))
    assert submission.existing
    assert list(submission.jobs) == place.stored()


def test_an_error_that_another_process_has_just_reported_is_left_to_it(place: Place) -> None:
    submission = submit_while(place, place.request("nothing"), lambda: place.submit("nothing"))
    assert submission.existing
    assert list(submission.jobs) == place.stored()


def test_requests_at_once_make_one_active_job_for_each_action(place: Place) -> None:
    barrier = threading.Barrier(6)
    submissions: list[Submission] = []

    def submit(number: int) -> None:
        barrier.wait()
        submissions.append(place.submit("run_all", id=f"request{number}"))

    threads = [threading.Thread(target=submit, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(submissions) == 6
    active = queries.active_jobs(place.database.connection)
    assert sorted(job.action for job in active) == ["clean", "extract", "report"]


def test_one_request_handled_twice_at_once_is_made_once(place: Place) -> None:
    barrier = threading.Barrier(4)
    submissions: list[Submission] = []

    def submit() -> None:
        barrier.wait()
        submissions.append(place.submit("run_all"))

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(submissions) == 4
    assert all(list(submission.jobs) == place.stored() for submission in submissions)
    assert sum(not submission.existing for submission in submissions) == 1
    assert len(place.stored()) == 3


# Reusable actions.

REUSING = """
    version: 4
    actions:
      plot:
        run: plotter:v1.2 --input output/a.csv 'two words'
        config: {size: 3}
        outputs: {moderately_sensitive: {page: output/plot.html}}
      other:
        run: python:v2 python analysis/other.py
        outputs: {highly_sensitive: {table: output/other.csv}}
    """


def reusable(place: Place, definition: str = "run: python:v2 python plot.py --quiet\n") -> tuple[StudyRepository, str]:
    """The reusable action `plotter` at tag v1.2."""
    action = StudyRepository(place.actions / "plotter")
    action.write({"action.yaml": definition})
    commit = action.commit()
    action.git("tag", "-a", "-m", "v1.2", "v1.2")
    return action, commit


def test_a_reusable_action_runs_its_own_command_with_the_study_s_arguments(make_place: MakePlace) -> None:
    place = make_place(REUSING)
    action, commit = reusable(place)
    action.git("branch", "v1.2", "main")
    action.commit("Later")

    (plot,) = place.submit("plot").jobs

    assert plot.run_command == (
        "python:v2 python plot.py --quiet --input output/a.csv 'two words' --config '{\"size\": 3}'"
    )
    assert (plot.action_repo_url, plot.action_commit) == (str(action.path), commit)
    assert (plot.repo_url, plot.commit) == (str(place.study.path), place.head)
    assert not plot.requires_db


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ("run: ehrql:v1 generate-dataset x.py", "reads the database"),
        ("run: elsewhere:v1 go", "not an allowed image"),
        ("name: nothing", "has no `run`"),
        ("{", "action.yaml"),
    ],
)
def test_a_reusable_action_that_may_not_run_is_reported(make_place: MakePlace, definition: str, message: str) -> None:
    place = make_place(REUSING)
    reusable(place, definition)
    told = reported(place.submit("plot")).status_message or ""
    assert told.startswith("ReusableActionError: action ")
    assert message in told


def test_a_reusable_action_whose_tag_is_not_on_main_is_refused(make_place: MakePlace) -> None:
    place = make_place(REUSING)
    action = StudyRepository(place.actions / "plotter")
    action.commit("First")
    action.git("checkout", "--quiet", "-b", "proposal")
    action.write({"action.yaml": "run: python:v2 python plot.py\n"})
    action.commit()
    action.git("tag", "v1.2")
    told = reported(place.submit("plot")).status_message or ""
    assert told.startswith("ReusableActionError: ")
    assert "not on branch main" in told


def test_a_reusable_action_without_the_tag_or_altogether_absent_is_reported(make_place: MakePlace) -> None:
    place = make_place(REUSING)
    absent = reported(place.submit("plot")).status_message or ""
    StudyRepository(place.actions / "plotter").commit()
    untagged = reported(place.submit("plot", id="request2")).status_message or ""

    for told in (absent, untagged):
        assert told.startswith('ReusableActionError: action "plot" runs "plotter:v1.2"')
    assert "v1.2" in untagged.partition("a reusable action")[2]


def test_a_broken_reusable_action_is_no_trouble_for_requests_that_do_not_run_it(make_place: MakePlace) -> None:
    place = make_place(REUSING)
    assert place.submit("other").error is None


def test_a_reusable_action_that_turns_out_to_be_needed_only_at_the_end_is_fetched_then(make_place: MakePlace) -> None:
    place = make_place(REUSING)
    reusable(place)
    (first,) = place.submit("plot").jobs

    # The first plan finds the action under way; it fails before the second one is made.
    submission = submit_while(place, place.request("plot", id="request2"), lambda: place.move(first, KILLED))

    (plot,) = submission.jobs
    assert plot.run_command is not None
    assert plot.run_command.startswith("python:v2 python plot.py --quiet")


# Dry runs.


def test_a_dry_run_says_what_would_run_and_writes_nothing(place: Place) -> None:
    request = place.request("clean")
    plan = requests.plan_only(place.settings, place.repositories, place.database, request)
    assert [job.action for job in plan.new] == ["extract", "clean"]
    assert place.stored() == []
    assert queries.saved_request(place.database.connection, "request1") is None


def test_a_dry_run_raises_what_is_wrong(place: Place) -> None:
    def plan(request: JobRequest) -> None:
        requests.plan_only(place.settings, place.repositories, place.database, request)

    with pytest.raises(UnknownActionError):
        plan(place.request("nothing"))
    with pytest.raises(StaleCodelistError):
        plan(place.request("clean", codelists_ok=False))
    assert place.stored() == []


# Requests made on this machine.


def test_a_local_request_is_for_the_newest_commit_of_the_branch(place: Place) -> None:
    request = place.local("run_all", workspace="trial", database="default", force_run_dependencies=True)

    assert request.repo_url == str(place.study.path)
    assert (request.commit, request.branch) == (place.head, "main")
    assert (request.workspace, request.database_name) == ("trial", "default")
    assert request.force_run_dependencies
    assert len(request.id) == 16
    assert request.id != place.local("run_all").id
    json.dumps(request.original)
    assert actions_of(place.create(request)) == ["extract", "clean", "report"]


def test_a_relative_path_becomes_absolute(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place.study.path)
    (place.study.path / "analysis").mkdir()
    monkeypatch.chdir(place.study.path / "analysis")
    request = requests.local_request(place.settings, place.repositories, "..", ["clean"])
    assert request.repo_url == str(place.study.path)
    assert place.create(request).error is None


def test_a_commit_may_be_given_in_short_or_by_name(place: Place) -> None:
    first = place.head
    place.study.git("tag", "-a", "-m", "x", "v1")
    second = place.study.commit("Later")

    assert place.local("clean").commit == second
    for text in (first, first.upper(), first[:8], "HEAD~1", "v1", "main^"):
        assert place.local("clean", commit=text).commit == first


@pytest.mark.parametrize("text", ["nothing", "0123456", "0" * 40, "--help", "", "main..v1", "HEAD:project.yaml"])
def test_a_commit_that_is_none_is_refused(place: Place, text: str) -> None:
    with pytest.raises(GitUnknownRefError):
        place.local("clean", commit=text)


def test_a_branch_that_is_not_there_is_answered_with_those_that_are(place: Place) -> None:
    place.study.git("branch", "-m", "main", "trunk")
    with pytest.raises(GitUnknownRefError) as caught:
        place.local("clean")
    assert "no branch main; it has: trunk" in str(caught.value)
    assert caught.value.hint is not None
    assert "--branch trunk" in caught.value.hint
    with pytest.raises(GitUnknownRefError, match="trunk"):
        place.local("clean", commit="HEAD")
    assert place.local("clean", branch="trunk").commit == place.head


def test_without_a_branch_it_is_the_one_that_is_checked_out(place: Place) -> None:
    place.study.git("checkout", "--quiet", "-b", "feature/x")
    head = place.study.commit("More")
    request = place.local("clean", branch=None)
    assert (request.branch, request.commit) == ("feature/x", head)
    place.study.git("checkout", "--quiet", "--detach")
    with pytest.raises(UsageError, match="not on a branch"):
        place.local("clean", branch=None)


def test_a_repository_without_commits_is_told_so(place: Place, tmp_path: Path) -> None:
    StudyRepository(tmp_path / "empty")
    with pytest.raises(GitUnknownRefError, match="nothing is committed"):
        requests.local_request(place.settings, place.repositories, str(tmp_path / "empty"), ["clean"])


def test_a_worktree_and_a_bare_repository_are_repositories_too(place: Place, tmp_path: Path) -> None:
    place.study.git("worktree", "add", "--quiet", str(tmp_path / "tree"), "-b", "side")
    place.study.git("clone", "--quiet", "--bare", ".", str(tmp_path / "bare.git"))
    for path, branch in ((tmp_path / "tree", "side"), (tmp_path / "bare.git", "main")):
        request = requests.local_request(place.settings, place.repositories, str(path), ["clean"], branch=None)
        assert (request.commit, request.branch) == (place.head, branch)
        short = requests.local_request(place.settings, place.repositories, str(path), ["clean"], commit=place.head[:10])
        assert short.commit == place.head


def test_a_url_that_is_not_allowed_is_refused_before_anything_is_fetched(place: Place) -> None:
    with pytest.raises(GithubValidationError):
        requests.local_request(place.settings, place.repositories, "https://github.com/somebody/study", ["clean"])
