"""The threads that read: one the database, over a connection that cannot write, one whether the engine answers."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from textual.message import Message

from jobrunner_cli.engine.errors import JobrunnerError
from jobrunner_cli.engine.service.usage import recorded_usage
from jobrunner_cli.engine.standing import standing
from jobrunner_cli.engine.states import State
from jobrunner_cli.engine.store.database import Database, ensure_migrated, translated
from jobrunner_cli.engine.store.models import NEWEST_LEVEL
from jobrunner_cli.engine.store.overview import MOST_FINISHED, Overview
from jobrunner_cli.tui.facts import Facts, gather
from jobrunner_cli.tui.listing import Wanted, make_listing
from jobrunner_cli.tui.news import Chosen, EngineSeen, Listed, Stood, Troubled

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings

log = logging.getLogger(__name__)

Post = Callable[[Message], object]

#: Seconds between two looks at whether another process has committed: SQLite has no event for that.
_LOOK_INTERVAL = 0.2
#: Seconds between two looks at locks, flags and samples, at the database while it cannot be read, and at the engine.
_STANDING_INTERVAL = 1.0
#: Seconds between two looks at an unfinished job that is shown, of which times are told; and how many times the
#: processor's time of a look these are at least, so that a table of many thousand unfinished jobs keeps no processor busy.
_FACTS_INTERVAL, _FACTS_SHARE = 1.0, 100
_USAGE_INTERVAL = 2.0
_RETRY_INTERVAL = 1.0
_ENGINE_INTERVAL = 10.0
#: Seconds for which a locked database is waited for.
_PATIENCE = 2.0


class Feed:
    """Reads the database in a thread of its own, and posts what it finds."""

    def __init__(self, settings: Settings, post: Post, wanted: Wanted, *, most_finished: int = MOST_FINISHED) -> None:
        self._settings = settings
        self._post = post
        self._most_finished = most_finished
        self._wanted = wanted
        #: the job that is shown, if one is, and how many times one was chosen: what shows it may have shown something
        #: else between two choices of the same
        self._selected: tuple[str | None, int] = (None, 0)
        self._asked = threading.Event()
        self._stopped = False
        self._troubled: str | None = None
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """End soon."""
        self._stopped = True
        self._asked.set()

    def want(self, wanted: Wanted) -> None:
        """Show this from now on."""
        self._wanted = wanted
        self._asked.set()

    def select(self, job_id: str | None) -> None:
        """Tell everything about this job from now on."""
        self._selected = (job_id, self._selected[1] + 1)
        self._asked.set()

    def look(self) -> None:
        """Look now: something was written by this very process, perhaps."""
        self._asked.set()

    def _run(self) -> None:
        while not self._stopped:
            try:
                self._read()
            except (JobrunnerError, sqlite3.Error, OSError) as error:
                self._trouble(_told(error))
            except Exception as bug:
                log.exception("The table cannot be shown")
                self._trouble(JobrunnerError(f"what was read cannot be shown: {bug!r}"))
            if not self._stopped:
                self._asked.wait(_RETRY_INTERVAL)
                self._asked.clear()

    def _trouble(self, problem: JobrunnerError | None) -> None:
        text = None if problem is None else f"{problem.message}\n{problem.hint}"
        if text != self._troubled:
            self._troubled = text
            self._post(Troubled(problem))

    def _read(self) -> None:
        """Read over one connection until it is of no use any more."""
        path = self._settings.database_path
        with Database(path, readonly=True, patience=_PATIENCE) as database, translated(path):
            if database.connection.level() != NEWEST_LEVEL:
                ensure_migrated(path)
            inode = path.stat().st_ino
            reading = _Reading(self._settings, database, self._post, Overview(self._most_finished))
            looked_at = 0.0
            while not self._stopped and database.connection.level() == NEWEST_LEVEL:
                reading.look(self._wanted, self._selected)
                self._trouble(None)
                self._asked.wait(_LOOK_INTERVAL)
                self._asked.clear()
                if time.monotonic() - looked_at > _STANDING_INTERVAL:
                    looked_at = time.monotonic()
                    if path.stat().st_ino != inode:
                        return


class _Reading:
    """What is known from one connection, and what of it has been posted."""

    def __init__(self, settings: Settings, database: Database, post: Post, overview: Overview) -> None:
        self._settings = settings
        self._database = database
        self._post = post
        self._overview = overview
        self._version: int | None = None
        self._wanted: Wanted | None = None
        self._selected: tuple[str | None, int] = (None, 0)
        self._usage: Mapping[str, Mapping[str, Any]] = {}
        self._facts: Facts | None = None
        self._due = dict.fromkeys(("standing", "usage", "facts"), 0.0)

    def look(self, wanted: Wanted, selected: tuple[str | None, int]) -> None:
        """Read what may have changed, and post what has."""
        conn = self._database.connection
        version = conn.data_version()
        moved = version != self._version
        changed = bool(self._overview.look(conn)) or self._version is None if moved else False
        self._version = version
        changed |= self._read_usage()
        if changed or wanted != self._wanted:
            self._wanted = wanted
            jobs = dict(self._overview.jobs)
            listing = make_listing(jobs, wanted, self._usage)
            self._post(Listed(listing, jobs, self._usage, wanted, self._overview.older))
        if moved or self._is_due("standing", _STANDING_INTERVAL):
            self._due["standing"] = time.monotonic() + _STANDING_INTERVAL
            self._post(Stood(standing(self._settings, conn, self._overview.active.values())))
        job_id, anew = selected[0], selected != self._selected
        if job_id is not None and (moved or anew or self._is_late(job_id)):
            self._gather(job_id, anew=anew)
        self._selected = selected

    def _is_late(self, job_id: str) -> bool:
        """Whether times that are told of the job have gone on: those of what is finished stand still."""
        return job_id in self._overview.active and self._due["facts"] <= time.monotonic()

    def _gather(self, job_id: str, *, anew: bool) -> None:
        begun = time.thread_time()
        facts = gather(self._settings, self._database, job_id)
        took = time.thread_time() - begun
        self._due["facts"] = time.monotonic() + max(_FACTS_INTERVAL, _FACTS_SHARE * took)
        if facts is not None and (anew or facts != self._facts):
            self._post(Chosen(facts))
        self._facts = facts

    def _is_due(self, what: str, interval: float) -> bool:
        now = time.monotonic()
        if self._due[what] > now:
            return False
        self._due[what] = now + interval
        return True

    def _read_usage(self) -> bool:
        """Whether the samples of the running jobs are others."""
        if not self._is_due("usage", _USAGE_INTERVAL):
            return False
        running = [job.id for job in self._overview.active.values() if job.state is State.RUNNING]
        usage = recorded_usage(self._settings.metrics_path, running) if running else {}
        before, self._usage = self._usage, usage
        return usage != before


class EngineWatch:
    """Asks the engine now and then whether it answers, in a thread of its own: one that hangs holds up nothing else."""

    def __init__(self, settings: Settings, post: Post) -> None:
        self._settings = settings
        self._post = post
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Begin to ask; once is enough."""
        if not self._thread.is_alive() and not self._stopped.is_set():
            self._thread.start()

    def stop(self) -> None:
        """End soon."""
        self._stopped.set()

    def _run(self) -> None:
        from jobrunner_cli.engine.running.session import make_executor

        while not self._stopped.is_set():
            try:
                text = make_executor(self._settings).check()
                self._post(EngineSeen(text, well=True))
            except JobrunnerError as error:
                self._post(EngineSeen(error.message, well=False))
            self._stopped.wait(_ENGINE_INTERVAL)


def _told(error: Exception) -> JobrunnerError:
    return error if isinstance(error, JobrunnerError) else JobrunnerError(f"the database cannot be read: {error}")
