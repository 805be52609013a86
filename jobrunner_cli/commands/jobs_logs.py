"""`jobrunner jobs logs`: what jobs printed, live or from the store; of several jobs, line by line with their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from jobrunner_cli.commands.job_words import JobNames, count
from jobrunner_cli.engine.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.database import Database
    from jobrunner_cli.engine.store.models import Job


def logs(
    jobs: JobNames,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the jobs have ended.")] = False,
    tail: Annotated[
        int | None,
        typer.Option(metavar="NUMBER", parser=count, help="Of what was printed so far, only the last lines."),
    ] = None,
    timestamps: Annotated[
        bool, typer.Option("--timestamps/--no-timestamps", help="Show when each line was printed (UTC); JSON does.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON for each line, with stable keys.")
    ] = False,
) -> None:
    """Print what a job printed: live while it runs, from the store afterwards.

    Of much output the beginning and the end are kept, and a line says how much is missing between them. A pipe gets
    the bytes as they were printed; on a terminal, control characters are shown and not obeyed. Of several jobs, the
    lines come in the order in which they were printed, each behind the name of its job.

    \b
    Examples:
      jobrunner jobs logs test/describe
      jobrunner jobs logs -f 7ujg
      jobrunner jobs logs -f --tail 20 --timestamps 7ujg
      jobrunner jobs logs -f test/extract test/describe
      jobrunner jobs logs test/describe --json | jq -r 'select(.at > "2026-11-23") | .text'
    """
    from jobrunner_cli.commands.forms import require_one_form
    from jobrunner_cli.commands.loading import load_for_database, reading
    from jobrunner_cli.commands.naming import find_job

    require_one_form("--timestamps" if timestamps else None, as_json=as_json)
    settings = load_for_database()
    with reading(settings) as database:
        found = list({job.id: job for job in (find_job(database.connection, name) for name in jobs)}.values())
        for job in found:
            if follow:
                _say_when_nobody_will_end_it(settings, job)
            elif len(found) == 1:
                _refuse_before_its_start(settings, database, job)
        if as_json:
            silent = _as_json(settings, database, found, follow=follow, tail=tail)
        elif len(found) == 1:
            silent = _one(settings, database, found[0], follow=follow, tail=tail, timestamps=timestamps)
        else:
            silent = _several(settings, database, found, follow=follow, tail=tail, timestamps=timestamps)
        _say_who_is_silent(settings, database, silent, of=len(found))


def _one(
    settings: Settings, database: Database, job: Job, *, follow: bool, tail: int | None, timestamps: bool
) -> Iterable[str]:
    """As the other two do, write what there is, and return the ids of the jobs that have printed nothing."""
    from jobrunner_cli.commands import log_view
    from jobrunner_cli.commands.reaching import reached_executor
    from jobrunner_cli.engine.running.log_reading import read_log

    lines = read_log(settings, database, lambda: reached_executor(settings), job, follow=follow, tail=tail)
    return [] if log_view.write(lines, timestamps=timestamps, at_once=follow) else [job.id]


def _several(
    settings: Settings, database: Database, jobs: Sequence[Job], *, follow: bool, tail: int | None, timestamps: bool
) -> Iterable[str]:
    from jobrunner_cli.commands import interleaving, log_view

    lines = _merged(settings, database, jobs, follow=follow, tail=tail)
    names = interleaving.names(jobs)
    return log_view.write_named(lines, names, timestamps=timestamps, at_once=follow)


def _as_json(
    settings: Settings, database: Database, jobs: Sequence[Job], *, follow: bool, tail: int | None
) -> Iterable[str]:
    from jobrunner_cli.commands import log_view

    lines = _merged(settings, database, jobs, follow=follow, tail=tail)
    by_id = {job.id: job for job in jobs}
    return log_view.write_json(lines, by_id, at_once=follow)


def _merged(
    settings: Settings, database: Database, jobs: Sequence[Job], *, follow: bool, tail: int | None
) -> Iterator[tuple[str, bytes]]:
    """The lines of the jobs with their ids: as they come while it follows, else in the order of their times."""
    from jobrunner_cli.commands import interleaving
    from jobrunner_cli.commands.reaching import reached_executor
    from jobrunner_cli.engine.running.log_reading import read_log

    readers = {
        job.id: lambda job=job: read_log(
            settings, database, lambda: reached_executor(settings), job, follow=follow, tail=tail
        )
        for job in jobs
    }
    return interleaving.as_they_come(readers) if follow else interleaving.in_order_of_time(readers)


def _say_who_is_silent(settings: Settings, database: Database, job_ids: Iterable[str], *, of: int) -> None:
    """Say of each why there is no log. Raises NotFoundError if none of the jobs, so many, has one, and none will come."""
    from jobrunner_cli import diagnostics
    from jobrunner_cli.engine.store import queries

    without = []
    for job_id in job_ids:
        now = queries.job_by_id(database.connection, job_id)
        if now is not None:
            try:
                _say_why_there_is_no_log(settings, database, now)
            except NotFoundError as nothing:
                if of == 1:
                    raise
                diagnostics.notice(f"{nothing.message}.")
                without.append(nothing)
    if len(without) == of:
        hints = {nothing.hint for nothing in without}
        msg = f"none of these {of} jobs has a log"
        raise NotFoundError(msg, hint=hints.pop() if len(hints) == 1 else None)


def _refuse_before_its_start(settings: Settings, database: Database, job: Job) -> None:
    from jobrunner_cli.engine.states import State, state_of

    if job.started_at is None and state_of(job.status_code) is not State.RUNNING:
        raise _no_log(settings, database, job)


def _say_when_nobody_will_end_it(settings: Settings, job: Job) -> None:
    from jobrunner_cli import diagnostics
    from jobrunner_cli.engine.states import ACTIVE_CODES
    from jobrunner_cli.engine.store.locks import holder_pid

    if job.status_code in ACTIVE_CODES and holder_pid(settings.runner_lock_path) is None:
        diagnostics.notice(f"No runner is at work on {settings.workdir}: the job ends when jobrunner run takes it up.")


def _say_why_there_is_no_log(settings: Settings, database: Database, job: Job) -> None:
    """For a job that printed nothing so far a notice is enough. Raises NotFoundError where nothing will come any more."""
    from jobrunner_cli import diagnostics, theme
    from jobrunner_cli.engine.states import State, state_of

    if state_of(job.status_code) is not State.RUNNING:
        raise _no_log(settings, database, job)
    diagnostics.notice(f"{job.workspace}/{job.action} has printed nothing yet: it is {theme.word(job.status_code)}.")


def _no_log(settings: Settings, database: Database, job: Job) -> NotFoundError:
    from jobrunner_cli.engine.states import State, StatusCode, state_of
    from jobrunner_cli.engine.store import queries

    name = f"{job.workspace}/{job.action}"
    if state_of(job.status_code) is State.PENDING:
        return NotFoundError(
            f"{name} has no log yet: it has not started",
            hint=f"jobrunner jobs why {job.id} says what it waits for; jobs logs -f waits with it",
        )
    if not queries.command_ran(database.connection, job):
        return NotFoundError(
            f"{name} has no log: it ended before it started", hint=f"jobrunner jobs why {job.id} says why"
        )
    hint = f"it was stored below {settings.logs_dir}"
    if job.status_code is StatusCode.INTERNAL_ERROR:
        hint = "its container had it, and that is gone; nothing was stored"
    return NotFoundError(f"the log of {name} ({job.id}) is gone", hint=hint)
