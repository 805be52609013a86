"""A part of the service that fails is begun again, and no other one is touched."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from jobrunner_cli.engine.errors import ExecutorUnavailableError
from jobrunner_cli.engine.service.parts import Keeper

pytestmark = pytest.mark.slow

PATIENCE = 20.0


class Scripted:
    """A part whose runs do, one after the other, what a list says; then it works until told to stop."""

    def __init__(self, *runs: Callable[[], None]) -> None:
        self._runs: Iterator[Callable[[], None]] = iter(runs)
        self.began = threading.Semaphore(0)

    name = "scripted"
    problem = None

    def run(self, stop: threading.Event) -> None:
        self.began.release()
        todo = next(self._runs, None)
        if todo is None:
            stop.wait()
        else:
            todo()

    def status(self) -> str:
        return "fine"


def failing(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("run", "why"),
    [
        (failing(ExecutorUnavailableError("it sleeps")), "it sleeps"),
        (failing(ZeroDivisionError("a bug")), "ZeroDivisionError: a bug"),
        (lambda: None, "it ended by itself"),
    ],
)
def test_part_is_begun_again_whatever_ended_it(run: Callable[[], None], why: str):
    part = Scripted(run)
    keeper = Keeper(part)
    keeper.start()
    assert part.began.acquire(timeout=PATIENCE)
    assert part.began.acquire(timeout=PATIENCE)
    assert keeper.condition.at_work
    assert keeper.condition.failures == 1
    assert keeper.condition.problem == why
    keeper.stop()
    assert keeper.join(PATIENCE)


def test_part_that_waits_to_be_begun_again_stops_at_once():
    part = Scripted(*[failing(ZeroDivisionError())] * 20)
    keeper = Keeper(part)
    keeper.start()
    for _ in range(2):
        assert part.began.acquire(timeout=PATIENCE)
    keeper.stop()
    assert keeper.join(PATIENCE)


def test_part_that_does_not_stop_is_not_waited_for_for_ever():
    held = threading.Event()
    part = Scripted(lambda: held.wait() and None)
    keeper = Keeper(part)
    keeper.start()
    assert part.began.acquire(timeout=PATIENCE)
    keeper.stop()
    assert not keeper.join(0.01)
    held.set()
    assert keeper.join(PATIENCE)
