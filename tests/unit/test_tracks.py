"""What the loop remembers of a job, and for how long it believes it."""

from __future__ import annotations

import pytest

from jobrunner_cli.engine.running.tracks import Track, is_as_made, was_asked_too_early
from jobrunner_cli.engine.work import ContainerState, EffectKind
from jobrunner_cli.engine.world import Snapshot


@pytest.mark.parametrize(
    ("made_at", "now", "believed"),
    [(None, 100.0, False), (100.0, 100.0, True), (100.0, 104.9, True), (100.0, 105.1, False), (100.0, 9000.0, False)],
)
def test_what_was_made_ahead_is_believed_to_be_as_it_was_made_for_a_moment(
    made_at: float | None, now: float, believed: bool
):
    assert is_as_made(made_at, now) is believed


@pytest.mark.parametrize(
    ("asked_at", "state", "too_early"),
    [
        (10.5, ContainerState.EXITED, True),
        (10.5, None, True),
        (10.5, ContainerState.RUNNING, False),
        (9.0, None, False),
        (11.5, ContainerState.EXITED, False),
    ],
)
def test_what_was_asked_while_a_container_was_being_started_and_shows_its_end_is_asked_again(
    asked_at: float, state: ContainerState | None, too_early: bool
):
    track = Track()
    track.begin(EffectKind.START, "", 10.0)
    containers = {} if state is None else {"j": state}
    snapshot = Snapshot(asked_at=asked_at, containers=containers)
    assert not was_asked_too_early(snapshot, {"j": track})
    track.in_flight, track.effect_ended_at = None, 11.0
    assert was_asked_too_early(snapshot, {"j": track}) is too_early
