"""The service: one process with the loop, sync, and whatever else is to be at work all the time.

The loop has a thread and is the only one that feeds the watchdog. Every other part has a thread of its own and is begun
again when it fails. The main thread is the watch: it obeys signals, which reach no other thread, and tells how it goes.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from enum import Enum
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from jobrunner_cli.engine.errors import ExecutorUnavailableError, ExitCode, JobrunnerError
from jobrunner_cli.engine.masking import Masker
from jobrunner_cli.engine.running.session import make_executor, runner
from jobrunner_cli.engine.service.maintenance import Maintenance
from jobrunner_cli.engine.service.metrics import Metrics
from jobrunner_cli.engine.service.pacing import Backoff
from jobrunner_cli.engine.service.parts import Keeper, Part, SyncPart
from jobrunner_cli.engine.service.reloading import Reloader
from jobrunner_cli.engine.service.vitals import PartVitals, Vitals, VitalsFile
from jobrunner_cli.engine.states import State
from jobrunner_cli.engine.store import queries
from jobrunner_cli.engine.store.database import Database, ensure_migrated
from jobrunner_cli.engine.store.locks import RunnerLock

if TYPE_CHECKING:
    from jobrunner_cli.engine.executors.protocol import Executor
    from jobrunner_cli.engine.running.controller import Controller
    from jobrunner_cli.engine.service.notify import Notifier
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.models import Job

log = logging.getLogger(__name__)

#: Seconds for which a start waits for a command that is at work on the same directory.
_PATIENCE = 5.0
#: Seconds between two looks of the watch, and between two tellings of how it goes if nothing changes.
_WATCH_EVERY = 1.0
_TELL_EVERY = 5.0
#: Seconds between two tries to reach an engine that did not answer at the start, at first and at most.
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 15.0
#: Seconds that parts get at the end, within DRAIN_TIMEOUT.
_FAREWELL = 6.0


def parts_of(settings: Settings, executor: Executor) -> list[Part]:
    """What is at work beside the loop. Raises ConfigurationError if one of them cannot be."""
    return [SyncPart(settings), Metrics(settings, executor), Maintenance(settings, executor)]


class _Order(Enum):
    LEAVE = "leave"
    RELOAD = "reload"
    TELL = "tell"
    END = "end"


class Daemon:
    """One service over one work directory."""

    def __init__(
        self,
        settings: Settings,
        *,
        notifier: Notifier,
        read_settings: Callable[[], Settings],
        make_parts: Callable[[Settings, Executor], Sequence[Part]] = parts_of,
    ) -> None:
        """Raises ConfigurationError for settings that do not do for a service, DatabaseNotMigratedError."""
        ensure_migrated(settings.database_path)
        self._settings = settings
        self._notifier = notifier
        self._reloader = Reloader(settings, read_settings)
        self._executor = make_executor(settings)
        self._keepers = [Keeper(part) for part in make_parts(settings, self._executor)]
        self._lock = RunnerLock(settings.runner_lock_path)
        self._mask = Masker(settings.secrets()).mask
        self._vitals = VitalsFile(settings.workdir)
        #: what the watch is to do; unlike an Event, a SimpleQueue may be used in a signal handler
        self._orders: SimpleQueue[_Order] = SimpleQueue()
        #: wakes the loop's thread while it waits for an engine
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._controller: Controller | None = None
        self._started_at = time.time()
        self._looked_at: float | None = None
        self._engine_problem: str | None = None
        self._leaving = False
        self._deadline: float | None = None
        self._ready = False
        self._failure: BaseException | None = None

    # Safe in a signal handler.

    def leave(self) -> None:
        """Start nothing more, store what is being stored, and let `run` return; containers run on."""
        self._leaving = True
        self._orders.put(_Order.LEAVE)
        self._wake.put(None)
        if (controller := self._controller) is not None:
            controller.drain()

    def reload(self) -> None:
        """Read the settings anew and take over what may change at run time."""
        self._orders.put(_Order.RELOAD)

    # The loop's thread.

    def _loop(self) -> None:
        try:
            self._drive()
        except BaseException as error:  # noqa: BLE001 (it ends the process, which the main thread does)
            self._failure = error
        finally:
            self._orders.put(_Order.END)

    def _drive(self) -> None:
        backoff = Backoff(_FIRST_WAIT, _LONGEST_WAIT)
        while not self._is_leaving():
            try:
                with runner(
                    self._reloader.settings,
                    self,
                    executor=self._executor,
                    lock=self._lock,
                    reach=lambda executor: None,
                    pulse=self._pulse,
                ) as (controller, _):
                    self._controller = controller
                    # What was read anew while everything was put together.
                    controller.post(self._reloader.limits)
                    # An order that came before knew of no controller.
                    if self._is_leaving():
                        controller.drain()
                    try:
                        controller.run(until_idle=False)
                    finally:
                        self._controller = None
            except ExecutorUnavailableError as error:
                # Only at the start of a loop: from then on it waits for its engine itself.
                if self._engine_problem is None:
                    log.warning("The engine does not answer, and is waited for: %s", error)
                self.trouble(str(error))
                self._be_ready()
                self._wait(backoff.failed())

    def _is_leaving(self) -> bool:
        return self._leaving

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self._is_leaving() and (left := deadline - time.monotonic()) > 0:
            self._notifier.feed()
            try:
                self._wake.get(timeout=min(left, self._notifier.interval or left))
            except Empty:
                continue

    def _pulse(self) -> None:
        """The loop has looked at everything."""
        self._looked_at = time.time()
        self._notifier.feed()
        self._be_ready()

    def _be_ready(self) -> None:
        if not self._ready:
            self._ready = True
            self._notifier.ready()
            self._orders.put(_Order.TELL)

    # What the loop tells.

    def job_changed(self, job: Job) -> None:
        """A row was written: the log has said so, and the watch looks at the table."""

    def trouble(self, reason: str | None) -> None:
        """The engine went away, or is back (None)."""
        self._engine_problem = None if reason is None else self._mask(reason)
        self._orders.put(_Order.TELL)

    def leaving(self) -> None:
        """It begins to leave: the watch has said so."""

    # The main thread.

    def run(self) -> None:
        """Be at work until told to leave.

        Raises RunnerActiveError, naming the process that is at work here, and whatever ends the loop: a fresh process
        knows best what is still being done, so it is not begun again here.
        """
        self._lock.acquire(_PATIENCE)
        try:
            log.info("jobrunner %s is at work on %s", self._settings.deployment_text, self._settings.workdir)
            if not self._executor.isolates:
                log.warning("The process executor isolates nothing: study code runs as this user")
            for keeper in self._keepers:
                keeper.start()
            # A daemon thread, so that a loop that hangs does not keep the process from leaving.
            threading.Thread(target=self._loop, name="loop", daemon=True).start()
            self._watch()
        finally:
            self._close()
            self._vitals.remove()
            self._lock.release()
        if self._failure is not None:
            raise self._failure
        log.info("jobrunner has left")

    def _watch(self) -> None:
        """Obey orders and tell how it goes, until the loop has ended."""
        told: tuple[object, ...] = ()
        told_at = -_TELL_EVERY
        with Database(self._settings.database_path, readonly=True, patience=_WATCH_EVERY) as database:
            while True:
                try:
                    order = self._orders.get(timeout=_WATCH_EVERY)
                except Empty:
                    order = None
                if order is _Order.END:
                    return
                try:
                    self._obey(order)
                    news = (self._counts(database), self._engine_problem, self._leaving)
                    if order is _Order.TELL or news != told or time.monotonic() - told_at >= _TELL_EVERY:
                        told, told_at = news, time.monotonic()
                        self._tell(news[0])
                except Exception:
                    log.exception("The watch of the service could not do its work")
                if self._deadline is not None and time.monotonic() >= self._deadline:
                    self._give_up()

    def _close(self) -> None:
        for keeper in self._keepers:
            keeper.stop()
        deadline = time.monotonic() + _FAREWELL
        for keeper in self._keepers:
            if not keeper.join(deadline - time.monotonic()):
                log.warning("%s is left behind in the middle of its work", keeper.part.name)

    def _obey(self, order: _Order | None) -> None:
        if order is _Order.LEAVE and self._deadline is None:
            seconds = self._settings.drain_timeout
            self._deadline = time.monotonic() + seconds
            self._notifier.stopping(seconds + _FAREWELL)
            log.info("Leaving as soon as what is being stored is stored, in %g s at most; containers run on", seconds)
        elif order is _Order.RELOAD:
            self._reload()

    def _reload(self) -> None:
        # Before it is ready, a service manager would take the end of this for the end of the start.
        if self._ready:
            self._notifier.reloading()
        try:
            limits = self._reloader.reload()
            if limits is not None and (controller := self._controller) is not None:
                controller.post(limits)
        finally:
            if self._ready:
                self._notifier.ready()

    def _counts(self, database: Database) -> str:
        try:
            counts = queries.active_counts(database.connection)
        except (JobrunnerError, sqlite3.Error) as error:
            return f"the table cannot be read: {error}"
        return f"{counts.get(State.RUNNING, 0)} running, {counts.get(State.PENDING, 0)} waiting"

    def _tell(self, counts: str) -> None:
        limits = self._reloader.settings
        parts = {keeper.part.name: _vitals_of(keeper, self._mask) for keeper in self._keepers}
        controller = self._controller
        problem = None if controller is None or controller.problem is None else self._mask(controller.problem)
        says = [counts, *(["the engine does not answer"] if self._engine_problem else []), problem]
        says += [part.problem or part.says for name, part in parts.items() if name == SyncPart.name]
        # Of the others, no news is good news, and what an engine's absence does to them all is not said once more each.
        if troubled := [name for name, part in parts.items() if part.problem and name != SyncPart.name]:
            says.append(f"trouble with {' and '.join(troubled)}")
        leaving = "leaving; " if self._leaving else ""
        self._notifier.status(self._mask(leaving + ", ".join(filter(None, says))))
        self._vitals.write(
            Vitals(
                pid=os.getpid(),
                version=self._settings.version_text,
                started_at=self._started_at,
                told_at=time.time(),
                looked_at=self._looked_at,
                leaving=self._leaving,
                engine_problem=self._engine_problem,
                max_workers=limits.max_workers,
                max_db_workers=limits.max_db_workers,
                loop_problem=problem,
                parts=parts,
            )
        )

    def _give_up(self) -> None:
        """Leave at once; as after a crash, the next runner finds every job where it was."""
        log.warning("What is being done is not done within %g s; the next start does it", self._settings.drain_timeout)
        os._exit(ExitCode.FINE)


def _vitals_of(keeper: Keeper, mask: Callable[[str], str]) -> PartVitals:
    condition, part = keeper.condition, keeper.part
    try:
        says, problem = part.status(), condition.problem or part.problem
    except Exception as error:  # noqa: BLE001 (whatever a part says of itself is not worth more than the others)
        says, problem = "", f"{type(error).__name__}: {error}"
    return PartVitals(
        at_work=condition.at_work,
        failures=condition.failures,
        problem=None if problem is None else mask(problem),
        says=mask(says),
    )
