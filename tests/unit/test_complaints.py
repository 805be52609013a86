"""Troubles of the loop: each is logged when it begins and once a minute, and is one of now for a minute."""

from __future__ import annotations

import pytest

from jobrunner_cli.engine.errors import DiskFullError
from jobrunner_cli.engine.running.complaints import Complaints


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_trouble_that_goes_on_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture):
    clock = Clock()
    complaints = Complaints(clock)
    for second in range(0, 130, 2):
        clock.now = float(second)
        complaints.note(f"write step {second}", DiskFullError("no space is left"))
    assert [record.getMessage() for record in caplog.records] == [
        "The runner could not write step 0: no space is left",
        "The runner could not write step 60: no space is left (and 29 times before)",
        "The runner could not write step 120: no space is left (and 29 times before)",
    ]


def test_where_in_the_program_a_bug_came_up_is_logged_and_for_what_is_expected_it_is_not(
    caplog: pytest.LogCaptureFixture,
):
    complaints = Complaints(Clock())
    complaints.note("decide", ZeroDivisionError("by zero"))
    complaints.note("look", DiskFullError("no space is left"))
    assert [bool(record.exc_info) for record in caplog.records] == [True, False]


def test_last_trouble_is_one_of_now_for_a_minute():
    clock = Clock()
    complaints = Complaints(clock)
    assert complaints.recent is None
    complaints.note("look", DiskFullError("no space is left"))
    complaints.note("decide", ZeroDivisionError("by zero"))
    clock.now = 59.0
    assert complaints.recent == "the runner could not decide: ZeroDivisionError: by zero"
    clock.now = 60.0
    assert complaints.recent is None


def test_many_different_troubles_are_forgotten_again(caplog: pytest.LogCaptureFixture):
    complaints = Complaints(Clock())
    for number in range(1000):
        complaints.note("look", DiskFullError(f"trouble {number}"))
    assert len(caplog.records) == 1000
    complaints.note("look", DiskFullError("trouble 999"))
    complaints.note("look", DiskFullError("trouble 0"))
    assert len(caplog.records) == 1001
