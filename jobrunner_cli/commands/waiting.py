"""Waiting for jobs to end: by running them, or by watching the runner that does."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from jobrunner_cli import diagnostics
from jobrunner_cli.engine.errors import ExitCode, RunnerActiveError, UnreachableError
from jobrunner_cli.engine.operations import NOTED, answers
from jobrunner_cli.engine.states import State, StatusCode, state_of
from jobrunner_cli.engine.store import queries
from jobrunner_cli.engine.store.database import Database
from jobrunner_cli.engine.store.locks import holder_pid

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.models import Job

#: Seconds between two looks at whether another process has committed.
_LOOK_INTERVAL = 0.1
#: Seconds after which somebody who waits for an answer is told what for.
_SILENCE = 5.0
#: Jobs that are named of those that have not ended in time.
_MOST_NAMED = 5

_HELD = frozenset({StatusCode.WAITING_PAUSED, StatusCode.WAITING_DB_MAINTENANCE})


def wait_for(settings: Settings, job_ids: Sequence[str], *, timeout: float | None = None) -> ExitCode:
    """Return when these jobs have ended, or when none of them can move without an operator.

    Runs them in this process if no runner is at work on the work directory; FAILED if one of them failed. With a
    `timeout`, in seconds, TIMED_OUT if some have not ended by then; running ones go on.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    while not _all_ended(settings, job_ids):
        if deadline is not None and time.monotonic() >= deadline:
            return ExitCode.TIMED_OUT
        try:
            from jobrunner_cli.commands.driving import drive

            code = drive(settings, until_idle=True, only=lambda rows: needed_for(rows, job_ids), deadline=deadline)
        except RunnerActiveError as busy:
            diagnostics.notice(f"{busy.message}: watching it.")
            _watch(settings, job_ids, deadline)
            continue
        if code is ExitCode.INTERRUPTED or (code is ExitCode.TIMED_OUT and not _all_ended(settings, job_ids)):
            return code
        break
    return _verdict(settings, job_ids)


def say_what_is_awaited(settings: Settings, job_ids: Sequence[str], timeout: float) -> None:
    """One line that names the jobs that have not ended in time, and why each has not."""
    from jobrunner_cli import output, theme
    from jobrunner_cli.engine.forms import format_duration
    from jobrunner_cli.engine.running.reasons import account

    with Database(settings.database_path, readonly=True) as database:
        found = queries.jobs_by_ids(database.connection, job_ids)
        left = [job for job in found.values() if state_of(job.status_code) in {State.PENDING, State.RUNNING}]
        told = []
        for job in left[:_MOST_NAMED]:
            reasons = "; ".join(reason.text for reason in account(settings, database, job).reasons)
            told.append(
                f"{job.workspace}/{job.action} ({job.id}): {reasons or job.status_message or theme.word(job.status_code)}"
            )
    if len(left) > len(told):
        told.append(f"and {len(left) - len(told)} more")
    diagnostics.notice(output.one_line(f"Not over after {format_duration(timeout)}: {' | '.join(told)}"))


def needed_for(rows: Sequence[Job], job_ids: Collection[str]) -> set[str]:
    """The active jobs that these wait for, directly or not, these included, and all that run already.

    A job that runs was started by a runner that is gone; whoever holds the lock takes it up.
    """
    by_id = {job.id: job for job in rows}
    wanted: set[str] = {job.id for job in rows if state_of(job.status_code) is State.RUNNING}
    pending = [job_id for job_id in job_ids if job_id in by_id]
    while pending:
        job_id = pending.pop()
        wanted.add(job_id)
        pending += [needed for needed in by_id[job_id].wait_for_job_ids if needed in by_id and needed not in wanted]
    return wanted


def say_when_no_runner(settings: Settings) -> None:
    """For what was asked for and nobody is there to do."""
    if holder_pid(settings.runner_lock_path) is None:
        diagnostics.notice(f"No runner is at work on {settings.workdir}; start one with: jobrunner run")


def wait_for_answers(
    settings: Settings, asked: Mapping[str, Sequence[int]], *, silence: float = _SILENCE
) -> dict[str, str]:
    """Job id -> the answer to the wishes for it: from the runner that is at work, or given by one in this process.

    Of a runner that has not answered for `silence`, in seconds, it is said once that it was asked.
    Raises KeyboardInterrupt if that one is told to leave before it has answered, and UnreachableError, with a notice of
    what becomes of the wishes, if it does not reach an engine.
    """
    driven = False
    say_at: float | None = time.monotonic() + silence
    with Database(settings.database_path, readonly=True) as database:
        while True:
            given = answers(database.connection, asked)
            if len(given) == len(asked):
                return given
            if driven:
                raise KeyboardInterrupt
            holder = holder_pid(settings.runner_lock_path)
            if holder is not None:
                if say_at is not None and time.monotonic() >= say_at:
                    say_at = None
                    diagnostics.notice(
                        f"Process {holder} was asked and has not answered yet; Ctrl-C ends the waiting, not the wish."
                    )
                time.sleep(_LOOK_INTERVAL)
                continue
            try:
                from jobrunner_cli.commands.driving import drive

                drive(settings, until_idle=True, only=lambda rows: asked.keys(), quiet=True)
                driven = True
            except RunnerActiveError:
                continue
            except UnreachableError:
                diagnostics.notice(NOTED)
                raise


def _all_ended(settings: Settings, job_ids: Sequence[str]) -> bool:
    with Database(settings.database_path, readonly=True) as database:
        codes = queries.codes_of(database.connection, job_ids)
    return all(state_of(code) in {State.SUCCEEDED, State.FAILED} for code in codes.values())


def _watch(settings: Settings, job_ids: Sequence[str], deadline: float | None) -> None:
    """Show the jobs until they have ended, their runner is gone, or it is too late."""
    from jobrunner_cli.progress import Progress, on_terminal

    progress = Progress(live=on_terminal())
    with Database(settings.database_path, readonly=True) as database, progress.shown():
        version, told = None, set[str]()
        while holder_pid(settings.runner_lock_path) is not None:
            if database.connection.data_version() != version:
                version = database.connection.data_version()
                jobs = queries.jobs_by_ids(database.connection, job_ids)
                for job in jobs.values():
                    progress.job_changed(job)
                if all(state_of(job.status_code) in {State.SUCCEEDED, State.FAILED} for job in jobs.values()):
                    _say_what_failed(jobs.values())
                    return
                told = _say_what_is_held(jobs.values(), told)
            if deadline is not None and time.monotonic() >= deadline:
                return
            time.sleep(_LOOK_INTERVAL)


def _say_what_is_held(jobs: Iterable[Job], told: set[str]) -> set[str]:
    """Name the jobs that an operator holds up, once for as long as each is held; returns those that are."""
    held = {job.id: job for job in jobs if job.status_code in _HELD}
    for job_id in held.keys() - told:
        job = held[job_id]
        diagnostics.notice(f"{job.workspace}/{job.action} ({job.id}) waits for an operator: {job.status_message}.")
        diagnostics.notice("Watching on; Ctrl-C ends that, and the job stays where it is.")
    return set(held)


def _say_what_failed(jobs: Iterable[Job]) -> None:
    for job in jobs:
        if state_of(job.status_code) is State.FAILED:
            diagnostics.notice(f"{job.workspace}/{job.action} ({job.id}) failed: {job.status_message}")


def _verdict(settings: Settings, job_ids: Sequence[str]) -> ExitCode:
    with Database(settings.database_path, readonly=True) as database:
        codes = queries.codes_of(database.connection, job_ids)
    done = all(state_of(code) is State.SUCCEEDED for code in codes.values())
    return ExitCode.FINE if done else ExitCode.FAILED
