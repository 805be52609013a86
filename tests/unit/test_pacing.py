"""Waits after failures grow, are spread, and end."""

from __future__ import annotations

import pytest

from jobrunner_cli.engine.service.pacing import Backoff


@pytest.mark.parametrize("attempt", range(3))
def test_waits_double_from_the_first_to_the_longest(attempt: int):
    backoff = Backoff(5.0, 180.0)
    waits = [backoff.failed() for _ in range(9)]
    nominal = [5, 10, 20, 40, 80, 160, 180, 180, 180]
    assert all(wanted <= wait <= wanted * 1.25 for wait, wanted in zip(waits, nominal, strict=True))
    assert backoff.failures == 9
    assert not backoff.is_due


def test_waits_differ_between_runners():
    assert len({Backoff(5.0, 180.0).failed() for _ in range(20)}) > 10


def test_success_starts_anew():
    backoff = Backoff(5.0, 180.0)
    for _ in range(2000):
        backoff.failed()
    backoff.succeeded()
    assert backoff.is_due
    assert backoff.failed() < 7


def test_interval_above_the_longest_wait_is_kept():
    assert Backoff(600.0, 180.0).failed() >= 600
