"""Reaching the engine from a command: whoever waits for one that is silent is told what for."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from jobrunner_cli import diagnostics

if TYPE_CHECKING:
    from jobrunner_cli.engine.executors.protocol import Executor
    from jobrunner_cli.engine.settings import Settings

#: Seconds of an engine's silence after which it is said what is waited for.
_SILENCE = 2.0

_lock = threading.Lock()
_told: set[str] = set()


def reached_executor(settings: Settings) -> Executor:
    """The executor that the settings name, once it has answered.

    Raises ConfigurationError as `make_executor` does, ExecutorUnavailableError if it does not answer in time.
    """
    from jobrunner_cli.engine.running.session import make_executor

    executor = make_executor(settings)
    reach(executor)
    return executor


def reach(executor: Executor) -> None:
    """Return when the executor has answered; of one that is silent for two seconds, say once that it is waited for.

    Raises ExecutorUnavailableError if it does not answer in time.
    """
    timer = threading.Timer(_SILENCE, _say_what_is_awaited, (executor.place,))
    timer.daemon = True
    timer.start()
    try:
        executor.check()
    finally:
        timer.cancel()


def _say_what_is_awaited(place: str) -> None:
    # The logs of several jobs are read by as many threads, and each reaches for the engine.
    with _lock:
        if place in _told:
            return
        _told.add(place)
    diagnostics.notice(f"Waiting for {place} to answer; Ctrl-C ends the waiting.")
