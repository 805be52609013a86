"""What running jobs take up on the disk: measured in a thread of its own, and told when it is more than the limit."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

from jobrunner_cli.engine.errors import JobFilesError
from jobrunner_cli.engine.jobfiles import overuse
from jobrunner_cli.engine.jobfiles.layout import JobDirectory
from jobrunner_cli.engine.jobfiles.walk import Stopped

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings

log = logging.getLogger(__name__)

#: Seconds between two measurements of a job at least, and how many times as long as the last one took: what measuring
#: costs stays below a twentieth of a core, whatever jobs make.
_INTERVAL = 2.0
_TIMES_ITS_COST = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Overuse:
    """A running job takes up more than it may."""

    job_id: str
    #: for people
    reason: str


class UsageWatch:
    """A thread that measures the directories of the jobs that run, and posts which are too large."""

    def __init__(self, settings: Settings, *, post: Callable[[Overuse], None]) -> None:
        self._limit = settings.job_directory_limit
        self._volumes: Path = settings.high_privacy_volume_dir
        self._post = post
        self._running: frozenset[str] = frozenset()
        self._changed = Event()
        self._stopped = Event()

    def start(self) -> None:
        """Begin to watch, if there is a limit."""
        if self._limit is not None:
            Thread(target=self._watch, name="usage", daemon=True).start()

    def watch(self, job_ids: Collection[str]) -> None:
        """These are the jobs that run now; from any thread."""
        if self._limit is not None and self._running != frozenset(job_ids):
            self._running = frozenset(job_ids)
            self._changed.set()

    def stop(self) -> None:
        """End the thread soon."""
        self._stopped.set()
        self._changed.set()

    def _watch(self) -> None:
        due: dict[str, float] = {}
        while not self._stopped.is_set():
            now, running = time.monotonic(), self._running
            due = {job_id: due.get(job_id, now) for job_id in running}
            next_one = min(due, key=due.__getitem__, default=None)
            if next_one is None or due[next_one] > now:
                self._changed.wait(None if next_one is None else due[next_one] - now)
                self._changed.clear()
                continue
            try:
                self._measure(next_one)
            except Stopped:
                return
            except (JobFilesError, OSError) as error:
                log.debug("The directory of job %s cannot be measured now: %s", next_one, error)
            took = time.monotonic() - now
            due[next_one] = time.monotonic() + max(_INTERVAL, took * _TIMES_ITS_COST)

    def _measure(self, job_id: str) -> None:
        assert self._limit is not None
        directory = JobDirectory.of(self._volumes, job_id)
        reason = overuse.noted(directory) or overuse.excess(directory, self._limit, stop=self._stopped)
        if reason is not None and job_id in self._running:
            self._post(Overuse(job_id=job_id, reason=reason))
