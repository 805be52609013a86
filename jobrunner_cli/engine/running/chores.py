"""Ended jobs for which something is still to be done: what they left is removed, or they are finalized again."""

from __future__ import annotations

import time
from collections.abc import Callable


class Chores:
    """What is to be done for which ended job, and when."""

    def __init__(self) -> None:
        #: job id -> monotonic seconds before which nothing is removed
        self._removals: dict[str, float] = {}
        #: job id -> monotonic seconds at which it was noticed that an operator wants it finalized again
        self._retries: dict[str, float] = {}

    @property
    def are_waiting(self) -> bool:
        """Whether there is any."""
        return bool(self._removals or self._retries)

    def finalize_again(self, job_id: str) -> None:
        """Have a job finalized again, once the executor has been asked for its container from now on."""
        self._retries.setdefault(job_id, time.monotonic())

    def were_asked_too_early(self, asked_at: float) -> bool:
        """Whether a job is to be finalized again of which the executor was last asked too early, at a monotonic time."""
        return any(at >= asked_at for at in self._retries.values())

    def take_retries(self, asked_at: float, may: Callable[[str], bool]) -> list[str]:
        """The jobs to be finalized again by what the executor was asked for at this monotonic time, of those that `may`.

        What a job left is removed first, if that is wanted, too.
        """
        heard = sorted(job_id for job_id, at in self._retries.items() if at < asked_at and may(job_id))
        due = [job_id for job_id in heard if job_id not in self._removals]
        for job_id in due:
            del self._retries[job_id]
        return due

    def remove(self, job_id: str, at: float | None = None) -> None:
        """Have what a job left removed: at a monotonic time, or soon unless it has one already."""
        if at is None:
            self._removals.setdefault(job_id, 0.0)
        else:
            self._removals[job_id] = at

    def wait_no_longer(self) -> None:
        """Do all of it soon."""
        self._removals = dict.fromkeys(self._removals, 0.0)

    def take_removals(self, now: float, may: Callable[[str], bool]) -> list[str]:
        """The jobs whose things are to be removed at this monotonic time, of those that `may`; they are off the list."""
        due = [job_id for job_id, at in self._removals.items() if at <= now and may(job_id)]
        for job_id in due:
            del self._removals[job_id]
        return due
