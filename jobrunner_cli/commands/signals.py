"""Ending a service with a signal: the first one asks it to leave, the second one leaves at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jobrunner_cli.engine.errors import ExitCode


@contextmanager
def stopping() -> Iterator[tuple[threading.Event, list[int]]]:
    """An event that SIGINT and SIGTERM set, and the list of the signals that came."""
    stop, received = threading.Event(), list[int]()

    def handle(number: int, _frame: Any) -> None:
        received.append(number)
        if len(received) > 1:
            os._exit(ExitCode.INTERRUPTED)
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop, received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
