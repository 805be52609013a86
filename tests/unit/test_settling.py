"""What follows from an effect that failed: told, tried again, or the end of the job."""

import pytest

from jobrunner_cli.engine.errors import DiskFullError, ExecutorUnavailableError, ImageMissingError
from jobrunner_cli.engine.running.settling import TryAgain, after_failure
from jobrunner_cli.engine.states import StatusCode
from jobrunner_cli.engine.work import Decision, EffectKind
from support.situations import make_job

AWAY = ExecutorUnavailableError("the engine does not answer")


@pytest.mark.parametrize("trouble", [AWAY, DiskFullError("the disk is full")])
def test_trouble_that_passes_is_told_while_the_job_waits_for_nothing_else(trouble):
    running = make_job("j", StatusCode.PREPARING)
    follows = after_failure(running, EffectKind.PREPARE, trouble, 1)
    assert isinstance(follows, TryAgain)
    assert trouble.message in follows.message

    # What a job says that waits for its turn is what it waits for, and stays so when the trouble is over.
    waiting = make_job("j", StatusCode.WAITING_ON_WORKERS)
    assert after_failure(waiting, EffectKind.PROVISION, trouble, 1) == TryAgain(seconds=follows.seconds, message=None)


def test_waits_grow_up_to_half_a_minute():
    job = make_job("j", StatusCode.PREPARING)
    waits = [after_failure(job, EffectKind.PREPARE, AWAY, attempts).seconds for attempts in range(1, 12)]
    assert waits == sorted(waits)
    assert waits[0] < 1
    assert waits[-1] == 30


def test_what_stays_wrong_ends_the_job_when_its_turn_has_come_and_not_before():
    wrong = ImageMissingError("the image r:v9 is not on this machine", hint="jobrunner images pull r:v9")
    waiting = make_job("j", StatusCode.WAITING_ON_WORKERS)
    assert after_failure(waiting, EffectKind.PROVISION, wrong, 1) is None
    decision = after_failure(make_job("j", StatusCode.PREPARING), EffectKind.PREPARE, wrong, 1)
    assert isinstance(decision, Decision)
    assert decision.path == (StatusCode.INTERNAL_ERROR,)
    assert decision.message.endswith("(jobrunner images pull r:v9)")


def test_ending_a_job_is_tried_until_it_succeeds_whatever_is_wrong():
    job = make_job("j", StatusCode.EXECUTING)
    for kind in (EffectKind.TERMINATE, EffectKind.STOP, EffectKind.HALT, EffectKind.RESET):
        assert isinstance(after_failure(job, kind, RuntimeError("a bug"), 50), TryAgain)
