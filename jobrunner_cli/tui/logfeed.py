"""The thread that reads the log of the job in the pane, follows it while it runs, and can be called off at any time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from jobrunner_cli.engine.errors import JobrunnerError
from jobrunner_cli.engine.running.log_reading import read_log
from jobrunner_cli.engine.states import ACTIVE_CODES
from jobrunner_cli.engine.store import queries
from jobrunner_cli.engine.store.database import Database
from jobrunner_cli.log_text import for_terminal, without_time
from jobrunner_cli.tui.news import LogEnded, LogRead

if TYPE_CHECKING:
    from jobrunner_cli.engine.executors.protocol import Executor
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.tui.feed import Post

log = logging.getLogger(__name__)

#: Lines that the pane has of a log; the pager has the rest.
MOST_LINES = 20_000
#: Lines that are posted at once, and seconds after which fewer are.
_BATCH = 500
_BATCH_TIME = 0.1


class LogFeed:
    """Reads the log of one job."""

    def __init__(self, settings: Settings, post: Post, job_id: str) -> None:
        self.job_id = job_id
        self._settings = settings
        self._post = post
        self._stopped = threading.Event()
        self._open: list[Any] = []
        self._thread = threading.Thread(target=self._run, name=f"log of {job_id}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """End, also if the job is silent."""
        self._stopped.set()
        for stream in self._open:
            with suppress(Exception):
                stream.close()

    def _run(self) -> None:
        problem = None
        try:
            with Database(self._settings.database_path, readonly=True, patience=5.0) as database:
                problem = self._read(database)
        except JobrunnerError as error:
            problem = error.message
        except Exception as bug:
            if not self._stopped.is_set():
                log.exception("A log cannot be read")
                problem = f"the log cannot be read: {bug}"
        if not self._stopped.is_set():
            self._post(LogEnded(self.job_id, problem))

    def _read(self, database: Database) -> str | None:
        job = queries.job_by_id(database.connection, self.job_id)
        if job is None:
            return "the job is gone"
        if job.started_at is None:
            return "it ended before it started" if job.status_code not in ACTIVE_CODES else "it has not started yet"
        lines = read_log(self._settings, database, self._executor, job, follow=True, tail=MOST_LINES)
        some = self._pass_on(lines, ended=job.status_code not in ACTIVE_CODES)
        return None if some else "it printed nothing, or its log is gone"

    def _pass_on(self, lines: Iterator[bytes], *, ended: bool) -> bool:
        """Post the lines in batches: those that come slowly at once, the summary of a job that had ended for itself."""
        begins, batch, posted_at = True, list[str](), 0.0
        summary = False
        timer: threading.Timer | None = None
        guard = threading.Lock()

        def flush() -> None:
            nonlocal begins, batch, posted_at
            with guard:
                if batch and not self._stopped.is_set():
                    self._post(LogRead(self.job_id, batch, begins=begins, summary=summary))
                    begins, batch, posted_at = False, [], time.monotonic()

        for line in lines:
            if self._stopped.is_set():
                break
            # What the job printed has a timestamp each: the first line that is empty is the summary's.
            if ended and not line and not summary:
                flush()
                summary = True
            with guard:
                batch.append(shown(line))
                full = len(batch) >= _BATCH or time.monotonic() - posted_at > _BATCH_TIME
            if full:
                flush()
            elif timer is None or not timer.is_alive():
                timer = threading.Timer(_BATCH_TIME, flush)
                timer.daemon = True
                timer.start()
        flush()
        return not begins

    def _executor(self) -> Executor:
        from jobrunner_cli.engine.running.session import make_executor

        return cast("Executor", _Recorded(make_executor(self._settings), self._open.append))


class _Recorded:
    """An executor of which the streams of logs are remembered, so that another thread can close them."""

    def __init__(self, executor: Executor, opened: Callable[[Any], None]) -> None:
        self._executor = executor
        self._opened = opened

    def logs(self, job_id: str, *, follow: bool = False, tail: int | None = None) -> Any:
        """The executor's stream."""
        stream = self._executor.logs(job_id, follow=follow, tail=tail)
        self._opened(stream)
        return stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._executor, name)


def shown(line: bytes) -> str:
    """A line as the job printed it, as it may be shown."""
    return for_terminal(without_time(line)).expandtabs(8)
