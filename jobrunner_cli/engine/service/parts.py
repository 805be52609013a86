"""The parts of the service beside the loop: each in a thread of its own, begun again after growing waits when it fails."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from jobrunner_cli.engine.errors import JobrunnerError
from jobrunner_cli.engine.service.pacing import Backoff
from jobrunner_cli.engine.service.sync import Sync

if TYPE_CHECKING:
    from jobrunner_cli.engine.service.status import SyncReport
    from jobrunner_cli.engine.settings import Settings

log = logging.getLogger(__name__)

#: Seconds before a part that failed is begun again: at first, and at most.
_FIRST_WAIT = 1.0
_LONGEST_WAIT = 60.0
#: A part that was at work for so many seconds before it failed starts with a short wait again.
_WELL_AFTER = 300.0


class Part(Protocol):
    """Something that is at work as long as the service is."""

    @property
    def name(self) -> str:
        """One word, for people and logs."""
        ...

    def run(self, stop: threading.Event) -> None:
        """Be at work until told to stop. Whatever is raised is logged, and it is called again later."""
        ...

    def status(self) -> str:
        """How it goes, in one line. Called by other threads."""
        ...

    @property
    def problem(self) -> str | None:
        """What goes wrong at the moment, though it is at work; None if nothing does. Called by other threads."""
        ...


class SyncPart:
    """The conversation with the job-server."""

    name = "sync"

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigurationError without a token that can be sent."""
        self._sync = Sync(settings)

    def run(self, stop: threading.Event) -> None:
        """Ask and tell. Raises RunnerActiveError while another process does it."""
        self._sync.run(stop)

    def status(self) -> str:
        """`job-server ok 4 s ago`, or what is wrong."""
        return sync_line(self._sync.report)

    @property
    def problem(self) -> str | None:
        """Why the job-server could not be asked or told the last time."""
        return sync_problem(self._sync.report)


def sync_problem(report: SyncReport) -> str | None:
    """Why the job-server could not be asked or told the last time; None if it could."""
    return next((each.problem for each in (report.asked, report.told) if each is not None and each.problem), None)


def sync_line(report: SyncReport) -> str:
    """How the conversation with a job-server goes, in one line."""
    problem = sync_problem(report)
    if problem is not None:
        return problem
    # Nothing is told while nothing changes: the list of requests is what is asked for all the time.
    if report.asked is None or report.asked.well_at is None:
        return "job-server not asked yet"
    return f"job-server ok {max(int(time.time() - seconds_of(report.asked.well_at)), 0)} s ago"


def seconds_of(stamp: str) -> float:
    """The UNIX time of an ISO 8601 time."""
    return datetime.fromisoformat(stamp).timestamp()


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """How a part is."""

    #: failures since it last was at work for a while
    failures: int = 0
    #: why it failed the last time, if it has not been at work for a while since
    problem: str | None = None
    #: whether it is at work now, and not waiting to be begun again
    at_work: bool = True


class Keeper:
    """Keeps one part at work, whatever happens to it."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.condition = Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=part.name, daemon=True)

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Tell it to stop, and wait for nothing."""
        self._stop.set()

    def join(self, seconds: float) -> bool:
        """Wait for its end, at most so long; whether it came."""
        self._thread.join(max(seconds, 0.0))
        return not self._thread.is_alive()

    def _keep(self) -> None:
        backoff = Backoff(_FIRST_WAIT, _LONGEST_WAIT)
        while not self._stop.is_set():
            began = time.monotonic()
            self.condition = replace(self.condition, at_work=True)
            problem = self._attempt()
            if self._stop.is_set():
                return
            if time.monotonic() - began >= _WELL_AFTER:
                backoff.succeeded()
            wait = backoff.failed()
            self.condition = Condition(failures=backoff.failures, problem=problem, at_work=False)
            log.warning("%s is begun again in %.0f s", self.part.name, wait)
            self._stop.wait(wait)

    def _attempt(self) -> str:
        """Have the part work; why it ended."""
        try:
            self.part.run(self._stop)
        except JobrunnerError as error:
            log.error("%s failed: %s", self.part.name, error)
            return str(error)
        except Exception as error:
            log.exception("%s failed", self.part.name)
            return f"{type(error).__name__}: {error}"
        return "it ended by itself"
