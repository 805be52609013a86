"""What the loop remembers of a job, and for how long it believes it."""

from __future__ import annotations

import pytest

from jobrunner_cli.engine.running.tracks import is_as_made


@pytest.mark.parametrize(
    ("made_at", "now", "believed"),
    [(None, 100.0, False), (100.0, 100.0, True), (100.0, 104.9, True), (100.0, 105.1, False), (100.0, 9000.0, False)],
)
def test_what_was_made_ahead_is_believed_to_be_as_it_was_made_for_a_moment(
    made_at: float | None, now: float, believed: bool
):
    assert is_as_made(made_at, now) is believed
