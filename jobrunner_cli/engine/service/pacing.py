"""How often the job-server is asked and told, and how long is waited after something went wrong."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The rhythm of the conversation with a job-server; everything in seconds."""

    #: between two looks for changes of the table (a look takes some 30 microseconds)
    look: float = 0.25
    #: between the ends of two POST rounds at least, so that changes gather
    gap: float = 1.0
    #: after which everything is told once more, changed or not
    full: float = 300.0
    #: the longest wait after failures
    longest_wait: float = 180.0
    #: how long the last words may take when a stop is wanted
    farewell: float = 5.0


class Backoff:
    """Growing, jittered waits after failures in a row. Times are monotonic seconds."""

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self.failures = 0
        #: nothing is to be tried before
        self.due_at = 0.0

    def failed(self) -> float:
        """Note one more failure; returns the seconds to wait, which double from failure to failure."""
        wait = min(self._first * 2.0 ** min(self.failures, 32), max(self._first, self._longest))
        # Runners that lost the same server at the same moment should not come back at the same moment.
        wait *= random.uniform(1.0, 1.25)  # noqa: S311
        self.failures += 1
        self.due_at = time.monotonic() + wait
        return wait

    def succeeded(self) -> None:
        """Forget the failures."""
        self.failures = 0
        self.due_at = 0.0

    @property
    def is_due(self) -> bool:
        """Whether the wait is over."""
        return time.monotonic() >= self.due_at
