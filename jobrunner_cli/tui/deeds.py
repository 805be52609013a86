"""What the view does for its user, each in a thread of its own: outlines, ends, pauses, retries, new jobs."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from jobrunner_cli import output
from jobrunner_cli.engine import operations
from jobrunner_cli.engine.errors import JobrunnerError, RunnerActiveError, UnreachableError
from jobrunner_cli.engine.operations import Operation, Step
from jobrunner_cli.engine.output_files import copy_output, require_file
from jobrunner_cli.engine.store import queries
from jobrunner_cli.engine.store.database import Database
from jobrunner_cli.engine.store.locks import holder_pid
from jobrunner_cli.tui.news import Done

if TYPE_CHECKING:
    from jobrunner_cli.engine.output_files import OutputFile
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.models import Job
    from jobrunner_cli.tui.feed import Post

log = logging.getLogger(__name__)

#: Who asks, in the table of wishes.
ORIGIN = "tui"
#: Seconds between two looks for an answer, and for which one is waited for before the view says that it is asked for.
_LOOK_INTERVAL = 0.1
_PATIENCE = 60.0

_PAST = {
    Operation.CANCEL: "cancelled",
    Operation.KILL: "killed",
    Operation.PAUSE: "paused",
    Operation.RESUME: "resumed",
    Operation.RETRY: "to run again",
}


class Outlined:
    """What an operation would do: shown before it is done."""

    def __init__(
        self, operation: Operation, steps: Sequence[Step], dependants: Sequence[Job], *, cleanup: bool
    ) -> None:
        self.operation, self.steps, self.dependants, self.cleanup = operation, steps, dependants, cleanup


class Deeds:
    """Does things, and posts what became of them. `call` runs a function in the app's thread."""

    def __init__(self, settings: Settings, post: Post, call: Callable[[Callable[[], object]], object]) -> None:
        self._settings = settings
        self._post = post
        self._call = call
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Wait for no answer any more; what was asked for stays asked for."""
        self._stopped.set()

    def begin(self, what: Callable[[], object], doing: str) -> None:
        """Do something in a thread of its own; what goes wrong is told, not raised."""

        def run() -> None:
            try:
                what()
            except JobrunnerError as error:
                self._post(Done(error.message, failed=True, hint=error.hint))
            except (sqlite3.Error, OSError) as error:
                self._post(Done(f"{doing} failed: {error}", failed=True))
            except Exception as bug:
                log.exception("%s failed", doing)
                self._post(Done(f"{doing} failed: {bug!r}", failed=True))

        threading.Thread(target=run, name=doing, daemon=True).start()

    # Jobs.

    def outline(
        self, operation: Operation, job_ids: Sequence[str], then: Callable[[Outlined], object], *, cleanup: bool = False
    ) -> None:
        """Find out what an operation would do to these jobs, and hand it to the app's thread."""

        def find_out() -> None:
            with Database(self._settings.database_path, readonly=True, patience=5.0) as database:
                jobs = _jobs(database, job_ids)
                steps = operations.outline(self._settings, database, operation, jobs, cleanup=cleanup)
                ends = operation in {Operation.CANCEL, Operation.KILL}
                touched = [step.job for step in steps if step.touches]
                lost = operations.dependants(database.connection, touched) if ends else []
            found = Outlined(operation, steps, lost, cleanup=cleanup)
            self._call(lambda: then(found))

        self.begin(find_out, f"looking at what {operation} would do")

    def carry_out(self, operation: Operation, job_ids: Sequence[str], *, cleanup: bool = False) -> None:
        """Do it to these jobs, and tell when it is done."""
        match operation:
            case Operation.CANCEL | Operation.KILL:
                self.begin(lambda: self._end(operation, job_ids, cleanup=cleanup), operation.value)
            case Operation.RETRY:
                self.begin(lambda: self._retry(job_ids), operation.value)
            case Operation.PAUSE | Operation.RESUME:
                self.begin(lambda: self._pause(operation, job_ids), operation.value)

    def _pause(self, operation: Operation, job_ids: Sequence[str]) -> None:
        with Database(self._settings.database_path) as database:
            jobs = _jobs(database, job_ids)
            act = operations.pause_jobs if operation is Operation.PAUSE else operations.resume_jobs
            changed = act(database, jobs)
        self._post(Done(f"{output.counted(len(changed), 'job')} {_PAST[operation]}"))

    def _end(self, operation: Operation, job_ids: Sequence[str], *, cleanup: bool) -> None:
        with Database(self._settings.database_path) as database:
            jobs = _jobs(database, job_ids)
            asked = operations.end(database, operation, jobs, origin=ORIGIN, cleanup=cleanup)
            answers = self._answers(database, asked)
        if len(answers) < len(asked):
            rest = len(asked) - len(answers)
            self._post(Done(f"The end of {output.counted(rest, 'job')} is asked for; the runner has not answered yet"))
            return
        texts = list(dict.fromkeys(answers.values()))
        name = f"{jobs[0].workspace}/{jobs[0].action}" if len(jobs) == 1 else output.counted(len(jobs), "job")
        self._post(Done(f"{name}: {'; '.join(texts[:3])}"))

    def _retry(self, job_ids: Sequence[str]) -> None:
        from jobrunner_cli.engine.running.session import make_executor, make_repositories

        settings = self._settings
        with Database(settings.database_path) as database:
            jobs = _jobs(database, job_ids)
            done = operations.retry(
                settings,
                database,
                make_repositories(settings),
                lambda: make_executor(settings),
                jobs,
                origin=ORIGIN,
            )
        for one in done:
            if one.error is not None:
                name = f"{one.job.workspace}/{one.job.action}"
                self._post(Done(f"{name}: {one.error.message}", failed=True, hint=one.error.hint))
        again = sum(one.intent is not None for one in done)
        anew = sum(one.new_job_id is not None for one in done)
        parts = [f"{output.counted(again, 'job')} to be finalized again"] if again else []
        parts += [f"{output.counted(anew, 'job')} to run anew"] if anew else []
        if parts:
            self._post(Done(", ".join(parts)))

    def _answers(self, database: Database, asked: dict[str, tuple[int, ...]]) -> dict[str, str]:
        """What the runner answers; where none is at work, this process is it for just these jobs."""
        found: dict[str, str] = {}
        driven = False
        for _ in range(round(_PATIENCE / _LOOK_INTERVAL)):
            found = operations.answers(database.connection, asked)
            if len(found) == len(asked) or self._stopped.is_set():
                break
            if not driven and holder_pid(self._settings.runner_lock_path) is None:
                driven = self._drive(set(asked))
                continue
            self._stopped.wait(_LOOK_INTERVAL)
        return found

    def _drive(self, job_ids: set[str]) -> bool:
        """Run the loop for these jobs until it is idle. False if another process was quicker."""
        from jobrunner_cli.engine.running.session import runner

        try:
            with runner(self._settings, _Silent(), only=lambda _rows: job_ids) as (controller, _board):
                controller.run(until_idle=True)
        except RunnerActiveError:
            return False
        except UnreachableError as error:
            raise UnreachableError(error.message, hint=operations.NOTED) from error
        return True

    # A workspace.

    def outline_workspace(self, operation: Operation, workspace: str, then: Callable[[Sequence[Step]], object]) -> None:
        """Find out what pausing or resuming a workspace means for its jobs, and hand it to the app's thread."""

        def find_out() -> None:
            with Database(self._settings.database_path, readonly=True, patience=5.0) as database:
                steps = operations.outline_workspace(database.connection, operation, workspace)
            self._call(lambda: then(steps))

        self.begin(find_out, f"looking at the workspace {workspace}")

    def change_workspace(self, operation: Operation, workspace: str) -> None:
        """Pause a workspace, or resume it."""

        def act() -> None:
            with Database(self._settings.database_path) as database:
                if operation is Operation.PAUSE:
                    operations.pause_workspace(database, workspace)
                else:
                    operations.resume_workspace(database, workspace)
            self._post(Done(f"The workspace {workspace} is {'' if operation is Operation.PAUSE else 'not '}paused"))

        self.begin(act, f"{operation.value} of the workspace {workspace}")

    # Outputs.

    def copy_output(
        self,
        output: OutputFile,
        to: str,
        *,
        force: bool,
        then: Callable[[], object],
        refused: Callable[[str], object],
    ) -> None:
        """Copy an output; what is wrong with the place goes to `refused`, in the app's thread as well."""

        def act() -> None:
            try:
                target = copy_output(require_file(output), to, force=force)
            except JobrunnerError as error:
                text = error.message
            except OSError as error:
                text = f"{to} cannot be written: {error.strerror or error}"
            else:
                self._call(then)
                self._post(Done(f"{output.path} is copied to {target}"))
                return
            self._call(lambda: refused(text))

        self.begin(act, f"copying {output.path}")

    # The backend.

    def pause_backend(self) -> None:
        """Nothing new starts."""

        def act() -> None:
            with Database(self._settings.database_path) as database:
                operations.pause_backend(database)
            self._post(Done("The backend is paused: no waiting job starts"))

        self.begin(act, "pausing the backend")

    def resume_backend(self) -> None:
        """What waits may start."""

        def act() -> None:
            with Database(self._settings.database_path) as database:
                operations.resume_backend(database)
            self._post(Done("The backend is not paused any more"))

        self.begin(act, "resuming the backend")


class _Silent:
    """A listener that says nothing: the view sees what happens in the table."""

    def job_changed(self, job: Job) -> None:
        """A row was written."""

    def trouble(self, reason: str | None) -> None:
        """The executor went away, or is back."""

    def leaving(self) -> None:
        """The runner was told to leave."""


def _jobs(database: Database, job_ids: Iterable[str]) -> list[Job]:
    """The rows of these jobs, in their order."""
    ids = list(job_ids)
    found = queries.jobs_by_ids(database.connection, ids)
    return [found[job_id] for job_id in ids if job_id in found]
