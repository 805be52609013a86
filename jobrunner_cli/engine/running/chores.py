"""Ended jobs for which something is still to be done: what they left is removed, or they are finalized again."""

from __future__ import annotations

from collections.abc import Callable


class Chores:
    """What is to be done for which ended job, and when."""

    def __init__(self) -> None:
        #: job id -> monotonic seconds before which nothing is removed
        self._removals: dict[str, float] = {}
        #: jobs that an operator wants finalized again
        self.retries: set[str] = set()

    @property
    def are_waiting(self) -> bool:
        """Whether there is any."""
        return bool(self._removals or self.retries)

    def remove(self, job_id: str, at: float | None = None) -> None:
        """Have what a job left removed: at a monotonic time, or soon unless it has one already."""
        if at is None:
            self._removals.setdefault(job_id, 0.0)
        else:
            self._removals[job_id] = at

    def is_to_be_removed(self, job_id: str) -> bool:
        """Whether what a job left is to be removed."""
        return job_id in self._removals

    def wait_no_longer(self) -> None:
        """Do all of it soon."""
        self._removals = dict.fromkeys(self._removals, 0.0)

    def take_removals(self, now: float, may: Callable[[str], bool]) -> list[str]:
        """The jobs whose things are to be removed at this monotonic time, of those that `may`; they are off the list."""
        due = [job_id for job_id, at in self._removals.items() if at <= now and may(job_id)]
        for job_id in due:
            del self._removals[job_id]
        return due
