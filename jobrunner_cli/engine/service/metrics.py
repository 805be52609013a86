"""What running jobs use: sampled now and then by a thread of its own, into a database of its own (section 9)."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobrunner_cli.engine.errors import JobrunnerError
from jobrunner_cli.engine.service.usage import read_usage, write_usage
from jobrunner_cli.engine.store import queries
from jobrunner_cli.engine.store.database import Database

if TYPE_CHECKING:
    from jobrunner_cli.engine.executors.protocol import Executor, Use
    from jobrunner_cli.engine.settings import Settings

log = logging.getLogger(__name__)

#: Seconds that another process may keep the database of samples locked.
_PATIENCE = 5.0
#: Seconds for which the thread is waited for at the end; it may be within a call of the engine.
_FAREWELL = 0.5
#: Decimals that are kept.
_DECIMALS = 3
_UNREADABLE = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a job's container used at one moment."""

    use: Use
    #: seconds for which its command had run
    runtime: float


def accumulate(before: Mapping[str, Any], reading: Reading, covered: float | None = None) -> dict[str, Any]:
    """The samples of a job after one more reading (section 9), CPU in percent of one core and memory in MiB.

    A reading stands for the time since the one before, of which `covered` says at which runtime it was; without that
    it is told by the sums, which are of values times seconds. Another container begins anew.
    """
    use, runtime = reading.use, max(reading.runtime, 0.001)
    if before.get("container_id") != use.container_id:
        before, covered = {}, 0.0
    if covered is None:
        covered = _covered(before)
    seconds = max(runtime - covered, 0.0)
    after: dict[str, Any] = {}
    for name, value in (("cpu", use.cpu), ("mem_mb", use.memory)):
        total = _number(before, f"{name}_cumsum") + value * seconds
        after[f"{name}_sample"] = round(value, _DECIMALS)
        after[f"{name}_cumsum"] = round(total, _DECIMALS)
        after[f"{name}_mean"] = round(total / max(runtime, covered), _DECIMALS)
        after[f"{name}_peak"] = round(max(value, _number(before, f"{name}_peak")), _DECIMALS)
    return {**after, "container_id": use.container_id}


def _covered(samples: Mapping[str, Any]) -> float:
    for name in ("mem_mb", "cpu"):
        mean = _number(samples, f"{name}_mean")
        if mean > 0:
            return _number(samples, f"{name}_cumsum") / mean
    return 0.0


def _number(samples: Mapping[str, Any], name: str) -> float:
    value = samples.get(name)
    return float(value) if isinstance(value, int | float) else 0.0


class Metrics:
    """Samples the jobs of one work directory; for one thread at a time."""

    name = "metrics"

    def __init__(self, settings: Settings, executor: Executor) -> None:
        self._executor = executor
        self._path = settings.metrics_path
        self._interval = settings.stats_poll_interval
        self._database = Database(settings.database_path, readonly=True)
        #: job -> its container, and the runtime at which it was last read
        self._covered: dict[str, tuple[str, float]] = {}
        self._said: str | None = None
        self._sampled_at: float | None = None
        self._sampled = 0

    def run(self, stop: threading.Event) -> None:
        """Sample until told to stop, whatever goes wrong in between: that is logged once, until it goes well again."""
        try:
            while not stop.is_set():
                self._turn()
                stop.wait(self._interval)
        finally:
            self._database.close()

    def sample(self) -> dict[str, dict[str, Any]]:
        """One pass over all running jobs; job -> its samples now, as they are stored.

        Raises ExecutorUnavailableError, ConfigurationError, DatabaseBusyError and sqlite3.Error.
        """
        since = queries.executing_since(self._database.connection)
        used = self._executor.stats(iter(since)) if since else {}
        now = time.time()
        self._covered = {job_id: known for job_id, known in self._covered.items() if job_id in since}
        if not used:
            return {}
        with _opened(self._path) as conn:
            before = read_usage(conn, used)
            after = {}
            for job_id, use in used.items():
                runtime = max(now - since[job_id], 0.001)
                container, covered = self._covered.get(job_id, (None, None))
                known = before.get(job_id, {})
                if container != use.container_id:
                    covered = None
                after[job_id] = accumulate(known, Reading(use=use, runtime=runtime), covered)
                self._covered[job_id] = (use.container_id, runtime)
            write_usage(conn, after)
        return after

    def status(self) -> str:
        """How it goes, in a line."""
        if self._said is not None:
            return f"resources are not sampled: {self._said}"
        if self._sampled_at is None:
            return "no sample yet"
        ago = max(int(time.time() - self._sampled_at), 0)
        return f"{self._sampled} running job{'' if self._sampled == 1 else 's'} sampled {ago} s ago"

    @property
    def problem(self) -> str | None:
        """Why the last sample failed; None if it did not."""
        return self._said

    def _turn(self) -> None:
        try:
            self._sampled = len(self.sample())
        except (JobrunnerError, sqlite3.Error) as error:
            self._fail(str(error))
        except Exception as error:  # noqa: BLE001 (whatever it is, the next sample may go well)
            self._fail(repr(error), error)
        else:
            if self._said is not None:
                log.info("What jobs use is sampled again")
            self._said, self._sampled_at = None, time.time()

    def _fail(self, reason: str, unexpected: Exception | None = None) -> None:
        if self._said is None:
            log.warning("What jobs use cannot be sampled: %s", reason, exc_info=unexpected)
        self._said = reason


@contextmanager
def sampling(settings: Settings, executor: Executor) -> Iterator[Metrics]:
    """Sample in a thread of its own while inside; nobody waits for it for long."""
    metrics, stop = Metrics(settings, executor), threading.Event()
    thread = threading.Thread(target=metrics.run, args=(stop,), name="metrics", daemon=True)
    thread.start()
    try:
        yield metrics
    finally:
        stop.set()
        thread.join(_FAREWELL)


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The database of samples within one transaction; one that cannot be read is put aside, and a new one begun."""
    try:
        with _transaction(path) as conn:
            yield conn
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _UNREADABLE:
            aside = path.with_name(f"{path.name}.damaged")
            path.replace(aside)
            log.warning("%s cannot be read and is now %s: %s", path, aside.name, error)
        raise


@contextmanager
def _transaction(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)) as conn:
        # A sample that a power cut takes is no loss.
        conn.execute("PRAGMA synchronous = NORMAL")
        conn.execute("BEGIN IMMEDIATE")
        conn.execute("CREATE TABLE IF NOT EXISTS jobs (id TEXT PRIMARY KEY, metrics TEXT)")
        yield conn
        conn.execute("COMMIT")
