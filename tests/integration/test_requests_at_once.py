"""Several job requests at once: no action of a workspace gets two active jobs."""

from __future__ import annotations

import threading

import pytest

from jobrunner_cli.engine.planning import job_id
from jobrunner_cli.engine.requests import Submission
from jobrunner_cli.engine.store import queries
from support.requesting import Place, submit_while

pytestmark = pytest.mark.slow


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
