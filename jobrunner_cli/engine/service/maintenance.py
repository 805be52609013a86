"""Whether the database is under maintenance: asked now and then in a container, and told by the flag `mode` (section 9)."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from jobrunner_cli.engine.errors import ConfigurationError, ExecutorError, JobrunnerError
from jobrunner_cli.engine.masking import Masker
from jobrunner_cli.engine.running.definitions import NO_NAME_SERVER, resolved_host
from jobrunner_cli.engine.running.needed_images import MAINTENANCE_IMAGE
from jobrunner_cli.engine.store import changes, queries
from jobrunner_cli.engine.store.database import Database
from jobrunner_cli.engine.store.locks import workdir_id
from jobrunner_cli.engine.work import ContainerSpec

if TYPE_CHECKING:
    from jobrunner_cli.engine.executors.protocol import Executor
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.models import Flag

log = logging.getLogger(__name__)

#: The container's name, before the work directory's id.
CONTAINER = "jobrunner-maintenance"
#: The flag that says it, its value, and the flag by which an operator says it.
MODE, ON, BY_HAND = "mode", "db-maintenance", "manual-db-maintenance"

#: Seconds that a check may take.
_LIMIT = 300.0
#: Seconds for which a check that is broken off is waited for.
_FAREWELL = 1.0
_PROCESSES = 256


class Maintenance:
    """Keeps the flag `mode` of one work directory true; for one thread at a time.

    Where detection is not enabled it only follows what an operator says by hand.
    """

    name = "maintenance"

    def __init__(self, settings: Settings, executor: Executor, *, limit: float = _LIMIT) -> None:
        """`limit` is in seconds. Raises ConfigurationError if detection is enabled without a database to look at."""
        if settings.enable_maintenance_mode_thread and settings.default_database_url is None:
            msg = "ENABLE_MAINTENANCE_MODE_THREAD is set, but DEFAULT_DATABASE_URL is not"
            raise ConfigurationError(msg, hint="set the address of the database that is to be looked at")
        self._settings = settings
        self._executor = executor
        self._limit = limit
        self._owner = workdir_id(settings.workdir)
        self._mask = Masker(settings.secrets()).mask
        self._database = Database(settings.database_path)
        self._was_by_hand = False
        self._problem: str | None = None
        self._checked_at: float | None = None

    def run(self, stop: threading.Event) -> None:
        """Check until told to stop, whatever goes wrong in between; a check that is under way is broken off then."""
        worker = threading.Thread(target=self._work, args=(stop,), name="maintenance", daemon=True)
        worker.start()
        stop.wait()
        if self._settings.enable_maintenance_mode_thread:
            self._collect()
        worker.join(_FAREWELL)
        if not worker.is_alive():
            self._database.close()

    def check(self) -> bool:
        """Find out whether the database is under maintenance, and write that; whether it is.

        A failing check writes nothing. Raises ExecutorError, ExecutorUnavailableError, ConfigurationError and
        DatabaseBusyError.
        """
        conn = self._database.connection
        mode = queries.flag(conn, MODE)
        if _is_set(queries.flag(conn, BY_HAND)):
            self._was_by_hand = True
            self._write(ON)
            return True
        if self._settings.enable_maintenance_mode_thread:
            on = self._ask(mode.value if mode is not None else None)
            if _is_set(queries.flag(conn, BY_HAND)):
                # An operator has said so while it was asked.
                on = True
            self._write(ON if on else None)
        elif self._was_by_hand:
            self._write(None)
        self._was_by_hand = False
        return queries.in_maintenance(conn) is not None

    def status(self) -> str:
        """How it goes, in a line."""
        if not self._settings.enable_maintenance_mode_thread:
            return "detection is off"
        if self._problem is not None:
            return f"the last check failed: {self._problem}"
        if self._checked_at is None:
            return "no check yet"
        return f"checked {max(int(time.time() - self._checked_at), 0)} s ago"

    @property
    def problem(self) -> str | None:
        """Why the last check failed; None if it did not."""
        return self._problem

    def _work(self, stop: threading.Event) -> None:
        self._collect()
        while not stop.is_set():
            try:
                self.check()
            except JobrunnerError as error:
                self._fail(stop, error.told)
            except Exception as error:  # noqa: BLE001 (whatever it is, the next check may go well)
                self._fail(stop, repr(error), error)
            else:
                self._problem, self._checked_at = None, time.time()
            stop.wait(self._settings.maintenance_poll_interval)

    def _fail(self, stop: threading.Event, reason: str, unexpected: Exception | None = None) -> None:
        if stop.is_set():
            return
        self._problem = self._mask(reason)
        log.warning("Whether the database is under maintenance is not known: %s", self._problem, exc_info=unexpected)

    def _ask(self, mode: str | None) -> bool:
        result = self._executor.run_errand(CONTAINER, self._container(mode), seconds=self._limit)
        if result.exit_code != 0:
            last = result.stderr or result.stdout
            raise ExecutorError(f"the check ended with exit code {result.exit_code}{f': {last}' if last else ''}")
        return ON in result.stdout

    def _container(self, mode: str | None) -> ContainerSpec:
        settings = self._settings
        url = settings.default_database_url
        assert url is not None
        return ContainerSpec(
            job_id=CONTAINER,
            workspace="",
            action="maintenance",
            image=f"{settings.docker_registry}/{MAINTENANCE_IMAGE}",
            args=("maintenance", "--current-mode", str(mode)),
            env={"DATABASE_URL": url, "OPENSAFELY_BACKEND": settings.backend},
            work_dir="",
            tmp_dir="",
            hosts_file="",
            control_dir="",
            user=(settings.docker_user_id, settings.docker_group_id),
            cpu_count=min(1.0, settings.default_job_cpu_count),
            memory_limit=settings.default_job_memory_limit,
            process_limit=min(_PROCESSES, settings.job_process_limit),
            network=settings.database_access_network,
            dns=(NO_NAME_SERVER,),
            extra_hosts=resolved_host(url),
            owner=self._owner,
        )

    def _write(self, value: str | None) -> None:
        with self._database.transaction() as conn:
            before = queries.flag(conn, MODE)
            if (before.value if before is not None else None) == value:
                return
            changes.set_flag(conn, MODE, value, time.time())
        log.info("The database is %s", "under maintenance" if value else "not under maintenance any more")

    def _collect(self) -> None:
        """Remove the container of a check that is under way, or that an earlier process left."""
        try:
            self._executor.end_errand(CONTAINER, self._owner)
        except JobrunnerError as error:
            level = logging.WARNING if self._settings.enable_maintenance_mode_thread else logging.DEBUG
            log.log(level, "What may be left of a check for maintenance cannot be removed: %s", error)


def _is_set(flag: Flag | None) -> bool:
    return flag is not None and flag.value is not None
