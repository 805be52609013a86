"""Reading a job's log: from the executor while it runs, from the store afterwards; one log to the reader."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from jobrunner_cli.engine.errors import ExecutorUnavailableError
from jobrunner_cli.engine.jobfiles.layout import JobDirectory
from jobrunner_cli.engine.loglines import stamp_of
from jobrunner_cli.engine.masking import Masker
from jobrunner_cli.engine.running.printed import (
    PLACE_LINES,
    behind,
    last_and_followed,
    last_printed,
    place_after,
    printed,
    printed_and_followed,
)
from jobrunner_cli.engine.states import State, StatusCode, state_of
from jobrunner_cli.engine.store import queries

if TYPE_CHECKING:
    from jobrunner_cli.engine.executors.protocol import Executor
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.database import Database
    from jobrunner_cli.engine.store.models import Job

#: So many lines tell mostly what went wrong.
_LAST_WORDS = 5
#: Seconds between two looks at whether another process has committed.
_LOOK_INTERVAL = 0.1
#: Seconds before an engine that went away under a reader is asked again; nothing tells when it is back.
_RETRY_INTERVAL = 1.0
#: The codes at which there is a container whose log can be read.
_WITH_CONTAINER = frozenset(
    {
        StatusCode.EXECUTING,
        StatusCode.EXECUTED,
        StatusCode.FINALIZING,
        StatusCode.FINALIZED,
        StatusCode.INTERNAL_ERROR,
    }
)


def stored_log(settings: Settings, job: Job) -> Path | None:
    """Where the log of a job is stored; None as long as it is not.

    The month in its path is that in which the job was finalized: nearly always that of its end.
    """
    logs = settings.high_privacy_storage_base / "logs"
    name = f"os-job-{job.id}/logs.txt"
    if job.completed_at is not None:
        # A row of another program may have a number that is no time.
        with suppress(OverflowError, OSError, ValueError):
            guess = logs / time.strftime("%Y-%m", time.gmtime(job.completed_at)) / name
            if guess.is_file():
                return guess
    return next(iter(sorted(logs.glob(f"*/{name}"), reverse=True)), None)


def read_log(
    settings: Settings,
    database: Database,
    executor: Callable[[], Executor],
    job: Job,
    *,
    follow: bool,
    tail: int | None = None,
) -> Iterator[bytes]:
    """The lines of a job's log without their line ends, secrets masked; those that the job printed begin with a
    timestamp, and LogGap or its words stand where some are missing.

    With `tail`, only the last so many that it printed so far, and the summary of a stored log. With `follow` until the
    job has ended, going over from the live log to the stored one without losing or repeating a line. `executor` is
    asked for only if the job has no stored log. Raises what the executor raises.
    """
    reader = _Reader(settings, database, executor, job.id, tail)
    if not _is_active(job) and stored_log(settings, job) is not None:
        yield from reader.stored(job)
    elif follow and _is_active(job):
        yield from reader.followed(job)
    elif job.status_code in _WITH_CONTAINER:
        yield from reader.live()


def last_words(settings: Settings, job: Job) -> list[bytes]:
    """The last lines that a job printed that failed, with their timestamps; none of any other job, if it printed
    nothing, or if its log is gone or cannot be read.
    """
    path = stored_log(settings, job) if state_of(job.status_code) is State.FAILED else None
    if path is None:
        return []
    try:
        # The summary begins with the first line that is empty: what the job printed has a timestamp each.
        return list(deque(takewhile(bool, _lines(path)), maxlen=_LAST_WORDS))
    except OSError:
        return []


class _Reader:
    """Reads one job's log for one reader, who gets each line once."""

    def __init__(
        self, settings: Settings, database: Database, executor: Callable[[], Executor], job_id: str, tail: int | None
    ) -> None:
        self._settings = settings
        self._database = database
        self._executor = executor
        self._job_id = job_id
        self._tail = tail
        self._control = JobDirectory.of(settings.high_privacy_volume_dir, job_id).control
        self._masker = Masker(settings.secrets())
        #: the last lines that the reader has got
        self._seen: deque[bytes] = deque(maxlen=PLACE_LINES + 1)

    def live(self) -> Iterator[bytes]:
        """What the job has printed so far."""
        if self._tail is not None:
            yield from last_printed(self._executor(), self._job_id, self._masker, self._tail)
        else:
            yield from printed(self._executor(), self._job_id, self._control, self._masker)

    def stored(self, job: Job) -> Iterator[bytes]:
        """The stored log, from behind what the reader has got; nothing if it is gone."""
        path = stored_log(self._settings, job)
        if path is None:
            return
        if self._seen:
            lines = list(_lines(path))
            yield from lines[_place_in_stored(list(self._seen), lines) :]
        elif self._tail is not None:
            yield from _tail_of_stored(_lines(path), self._tail)
        else:
            yield from _lines(path)

    def followed(self, job: Job) -> Iterator[bytes]:
        """What the job prints until it ends, and what the stored log adds."""
        version = None
        heard_out = False
        run = (job.restarts, job.started_at)
        current: Job | None = job
        while current is not None and _is_active(current):
            if (current.restarts, current.started_at) != run or current.status_code not in _WITH_CONTAINER:
                # It is started over: what it prints begins anew.
                heard_out, run = False, (current.restarts, current.started_at)
                self._seen.clear()
            if current.status_code in _WITH_CONTAINER and not heard_out:
                heard_out = yield from self._until_it_ends()
                if not heard_out:
                    time.sleep(_RETRY_INTERVAL)
                    version = None
            version = _await_commit(self._database, version)
            current = queries.job_by_id(self._database.connection, self._job_id)
        if current is not None:
            yield from self.stored(current)

    def _until_it_ends(self) -> Generator[bytes, None, bool]:
        """The live log to its end; false if the engine went away under it."""
        try:
            for line in self._behind_what_was_seen():
                if stamp_of(line):
                    self._seen.append(line)
                yield line
        except ExecutorUnavailableError:
            if not self._seen:
                raise
            return False
        return True

    def _behind_what_was_seen(self) -> Iterator[bytes]:
        executor = self._executor()
        if not self._seen and self._tail is not None:
            return last_and_followed(executor, self._job_id, self._masker, self._tail)
        lines = printed_and_followed(executor, self._job_id, self._control, self._masker)
        return behind(list(self._seen), lines) if self._seen else lines


def _place_in_stored(seen: Sequence[bytes], lines: Sequence[bytes]) -> int:
    """The index of the first line of a stored log that a reader who has seen these lines has not got."""
    # What the job printed has a timestamp each, and so no line of it is empty: the summary begins with the first that is.
    end = next((at for at, line in enumerate(lines) if not line), len(lines))
    at = place_after(seen, lines[:end])
    if at is not None:
        return at
    # The reader was in what has been cut out, or saw another container's: go on with what is later.
    for at, line in enumerate(lines[:end]):
        if stamp_of(line) > stamp_of(seen[-1]):
            return at - 1 if at and not stamp_of(lines[at - 1]) else at
    return end


def _tail_of_stored(lines: Iterator[bytes], count: int) -> Iterator[bytes]:
    """The last so many lines that the job printed, and the summary, which begins with the first line that is empty."""
    kept: deque[bytes] = deque(maxlen=count)
    for line in lines:
        if not line:
            yield from kept
            kept.clear()
            yield line
            yield from lines
        else:
            kept.append(line)
    yield from kept


def _await_commit(database: Database, version: int | None) -> int:
    """Wait until somebody has committed since a version of the data; returns the new version."""
    while (now := database.connection.data_version()) == version:
        time.sleep(_LOOK_INTERVAL)
    return now


def _is_active(job: Job) -> bool:
    return state_of(job.status_code) in {State.PENDING, State.RUNNING}


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        for line in stream:
            yield line.rstrip(b"\n")
