"""`jobrunner jobs`: what became of the jobs, why they are where they are, and ending them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from jobrunner_cli.commands.groups import CommandGroup, Entry
from jobrunner_cli.engine.errors import NotFoundError

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.models import Job


class Jobs(CommandGroup):
    """`jobrunner jobs`."""

    entries: ClassVar[dict[str, Entry]] = {
        "ls": Entry(module=__name__, attribute="ls", summary="List the jobs."),
        "show": Entry(module=__name__, attribute="show", summary="Show everything about one job."),
        "logs": Entry(module=__name__, attribute="logs", summary="Print what a job printed."),
        "cancel": Entry(module=__name__, attribute="cancel", summary="Cancel a job."),
        "kill": Entry(module=__name__, attribute="kill", summary="Kill a job as an operator."),
    }


app = typer.Typer(cls=Jobs, add_completion=False, rich_markup_mode=None)


@app.callback()
def jobs() -> None:
    """List jobs, look at one, read its log, end it.

    A job is named by any unambiguous part of its id, or as workspace/action for the latest of those.

    \b
    Examples:
      jobrunner jobs ls
      jobrunner jobs show test/describe
      jobrunner jobs logs -f 7ujg
    """


def _count(text: str | int) -> int:
    if not re.fullmatch("0*[1-9][0-9]{0,8}", str(text)):
        msg = f"{text!r} is not a whole number from 1 to 999999999"
        raise typer.BadParameter(msg)
    return int(text)


_JobName = Annotated[str, typer.Argument(metavar="JOB", help="Part of an id, or workspace/action.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON with stable keys.")]


def ls(
    workspace: Annotated[str | None, typer.Option(metavar="NAME", help="Only jobs of this workspace.")] = None,
    active: Annotated[bool, typer.Option("--active", help="Only jobs that have not ended.")] = False,
    limit: Annotated[int, typer.Option(metavar="NUMBER", parser=_count, help="The most jobs to show.")] = 50,
    as_json: _Json = False,
) -> None:
    """List the jobs: those that have not ended first, then the newest.

    \b
    Examples:
      jobrunner jobs ls
      jobrunner jobs ls --workspace test --active
      jobrunner jobs ls --json | jq '.[] | select(.state == "failed")'
    """
    from jobrunner_cli import diagnostics, output
    from jobrunner_cli.commands import job_view
    from jobrunner_cli.commands.loading import load_for_database, reading
    from jobrunner_cli.engine.store import queries

    with reading(load_for_database()) as database:
        found = queries.list_jobs(database.connection, limit=limit + 1, workspace=workspace, active_only=active)
    jobs = found[:limit]
    if len(found) > limit:
        diagnostics.notice(f"There are more than {limit} jobs; --limit shows more of them.")
    if as_json:
        output.as_json([job_view.as_dict(job) for job in jobs])
    elif jobs:
        output.table(jobs, job_view.columns())
    else:
        place = "" if workspace is None else f" in workspace {workspace}"
        diagnostics.notice(
            f"No job{place} is active." if active else f"No jobs{place} yet; jobrunner add-job asks for some."
        )


def show(job: _JobName, as_json: _Json = False) -> None:
    """Show everything about one job: its state and why, times, history, outputs and what was held back.

    \b
    Examples:
      jobrunner jobs show 7ujg
      jobrunner jobs show test/describe --json
    """
    from jobrunner_cli import output
    from jobrunner_cli.commands import job_view
    from jobrunner_cli.commands.loading import load_for_database, reading
    from jobrunner_cli.commands.naming import find_job

    settings = load_for_database()
    with reading(settings) as database:
        found = find_job(database.connection, job)
        details = job_view.details(settings, database, found)
    if as_json:
        output.as_json(details)
    else:
        job_view.show(details)


def logs(
    job: _JobName,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")] = False,
    tail: Annotated[
        int | None, typer.Option(metavar="NUMBER", parser=_count, help="Begin so many lines before the present end.")
    ] = None,
    timestamps: Annotated[
        bool, typer.Option("--timestamps/--no-timestamps", help="Show when each line was printed (UTC).")
    ] = False,
) -> None:
    """Print what a job printed: live while it runs, from the store afterwards.

    Of much output the beginning and the end are kept, and a line says how much is missing between them. A pipe gets
    the bytes as they were printed; on a terminal, control characters are shown and not obeyed.

    \b
    Examples:
      jobrunner jobs logs test/describe
      jobrunner jobs logs -f 7ujg
      jobrunner jobs logs -f --tail 20 --timestamps 7ujg
    """
    from jobrunner_cli.commands import log_view
    from jobrunner_cli.commands.loading import load_for_database, reading
    from jobrunner_cli.commands.naming import find_job
    from jobrunner_cli.engine.running.log_reading import read_log
    from jobrunner_cli.engine.running.session import make_executor
    from jobrunner_cli.engine.states import State, state_of
    from jobrunner_cli.engine.store import queries

    settings = load_for_database()
    with reading(settings) as database:
        found = find_job(database.connection, job)
        if follow:
            _say_when_nobody_will_end_it(settings, found)
        elif found.started_at is None and state_of(found.status_code) is not State.RUNNING:
            raise _no_log(settings, found)
        lines = read_log(settings, database, lambda: make_executor(settings), found, follow=follow, tail=tail)
        if not log_view.write(lines, timestamps=timestamps, at_once=follow):
            _say_why_there_is_no_log(settings, queries.job_by_id(database.connection, found.id) or found)


def cancel(job: _JobName) -> None:
    """Cancel a job: a running one is ended, its outputs are not stored.

    \b
    Examples:
      jobrunner jobs cancel 7ujg
    """
    _end(job, "cancel", cleanup=False)


def kill(
    job: _JobName,
    cleanup: Annotated[bool, typer.Option("--cleanup", help="Remove its container and files, too.")] = False,
) -> None:
    """Kill a job as an operator; its container and files are kept unless --cleanup is given.

    \b
    Examples:
      jobrunner jobs kill 7ujg
      jobrunner jobs kill 7ujg --cleanup      also later, to remove what a killed job left
    """
    _end(job, "kill", cleanup=cleanup)


def _end(name: str, kind: str, *, cleanup: bool) -> None:
    import time

    from jobrunner_cli import diagnostics, output
    from jobrunner_cli.commands.loading import load_for_database
    from jobrunner_cli.commands.naming import find_job
    from jobrunner_cli.commands.waiting import wait_for_answers
    from jobrunner_cli.engine.endings import ALREADY_FINISHED
    from jobrunner_cli.engine.errors import UnreachableError
    from jobrunner_cli.engine.states import ACTIVE_CODES
    from jobrunner_cli.engine.store import intents
    from jobrunner_cli.engine.store.database import Database
    from jobrunner_cli.engine.work import IntentKind

    settings = load_for_database()
    kinds = [IntentKind(kind), *([IntentKind.CLEANUP] if cleanup else [])]
    with Database(settings.database_path) as database:
        found = find_job(database.connection, name)
        if found.status_code not in ACTIVE_CODES and not cleanup:
            output.line(f"{found.id}  {found.workspace}/{found.action}  {ALREADY_FINISHED}")
            return
        with database.transaction() as conn:
            wanted = [intents.append(conn, wish, found.id, f"jobs {kind}", time.time()) for wish in kinds]
    try:
        answers = wait_for_answers(settings, found.id, wanted)
    except UnreachableError:
        diagnostics.notice("What was asked for is noted: the next runner does it.")
        raise
    output.line(f"{found.id}  {found.workspace}/{found.action}  {'; '.join(dict.fromkeys(answers))}")


def _say_when_nobody_will_end_it(settings: Settings, job: Job) -> None:
    from jobrunner_cli import diagnostics
    from jobrunner_cli.engine.states import ACTIVE_CODES
    from jobrunner_cli.engine.store.locks import holder_pid

    if job.status_code in ACTIVE_CODES and holder_pid(settings.runner_lock_path) is None:
        diagnostics.notice(f"No runner is at work on {settings.workdir}: the job ends when jobrunner run takes it up.")


def _say_why_there_is_no_log(settings: Settings, job: Job) -> None:
    """For a job that printed nothing so far a notice is enough. Raises NotFoundError where nothing will come any more."""
    from jobrunner_cli import diagnostics
    from jobrunner_cli.engine.states import State, state_of

    if state_of(job.status_code) is not State.RUNNING:
        raise _no_log(settings, job)
    diagnostics.notice(f"{job.workspace}/{job.action} has printed nothing yet: it is {job.status_code.value}.")


def _no_log(settings: Settings, job: Job) -> NotFoundError:
    from jobrunner_cli.engine.states import State, state_of

    name = f"{job.workspace}/{job.action}"
    if state_of(job.status_code) is State.PENDING:
        return NotFoundError(
            f"{name} has no log yet: it has not started",
            hint=f"jobrunner jobs show {job.id} says what it waits for; jobs logs -f waits with it",
        )
    if job.started_at is None:
        return NotFoundError(
            f"{name} has no log: it ended before it started", hint=f"jobrunner jobs show {job.id} says why"
        )
    return NotFoundError(f"the log of {name} ({job.id}) is gone", hint=f"it was stored below {settings.logs_dir}")
