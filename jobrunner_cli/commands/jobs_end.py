"""`jobrunner jobs cancel` and `jobrunner jobs kill`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from jobrunner_cli.commands.job_words import Action, DryRun, Json, Request, Since, SomeJobNames, States, Workspace, Yes

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.filtering import JobFilter
    from jobrunner_cli.engine.store.models import Job


def cancel(
    jobs: SomeJobNames = None,
    workspace: Workspace = None,
    action: Action = None,
    request: Request = None,
    since: Since = None,
    state: States = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Cancel jobs: running ones are ended, their logs kept, their outputs not stored.

    Says what it will touch and asks, unless each job is given by its whole id. If no runner is at work
    on the work directory, this command does it itself.

    \b
    Examples:
      jobrunner jobs cancel 7ujg
      jobrunner jobs cancel test/extract test/describe --yes
      jobrunner jobs cancel --workspace test --dry-run
      jobrunner jobs cancel --request cx4 --state pending
    """
    from jobrunner_cli.commands.job_filters import filter_of

    wanted = filter_of(workspace=workspace, action=action, request=request, since=since, states=state)
    _end("cancel", jobs or [], wanted, cleanup=False, yes=yes, dry_run=dry_run, as_json=as_json)


def kill(
    jobs: SomeJobNames = None,
    cleanup: Annotated[
        bool, typer.Option("--cleanup", help="Remove their containers and files, too; also of jobs that ended before.")
    ] = False,
    workspace: Workspace = None,
    action: Action = None,
    request: Request = None,
    since: Since = None,
    state: States = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Kill jobs as an operator; their containers and files are kept unless --cleanup is given.

    Says what it will touch and asks, unless each job is given by its whole id. If no runner is at work
    on the work directory, this command does it itself.

    \b
    Examples:
      jobrunner jobs kill 7ujg
      jobrunner jobs kill 7ujg --cleanup      also later, to remove what a killed job left
      jobrunner jobs kill --workspace test --action extract --yes
      jobrunner jobs kill --workspace test --state executing
    """
    from jobrunner_cli.commands.job_filters import filter_of

    wanted = filter_of(workspace=workspace, action=action, request=request, since=since, states=state)
    _end("kill", jobs or [], wanted, cleanup=cleanup, yes=yes, dry_run=dry_run, as_json=as_json)


def _end(
    verb: str,
    names: list[str],
    wanted: JobFilter,
    *,
    cleanup: bool,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    from jobrunner_cli.commands import job_selection
    from jobrunner_cli.commands.loading import load_for_database
    from jobrunner_cli.commands.waiting import wait_for_answers
    from jobrunner_cli.engine import operations
    from jobrunner_cli.engine.endings import ALREADY_FINISHED
    from jobrunner_cli.engine.states import ACTIVE_CODES, KEPT_CODES
    from jobrunner_cli.engine.store.database import Database

    settings = load_for_database()
    operation = operations.Operation(verb)
    with Database(settings.database_path) as database:
        codes = ACTIVE_CODES | KEPT_CODES if cleanup else ACTIVE_CODES
        selection = job_selection.select(database.connection, names, wanted, codes)
        steps = operations.outline(settings, database, operation, selection.jobs, cleanup=cleanup)
        if selection.by_filter:
            # Of jobs that ended long ago nobody wants to read that there may be something left.
            steps = [step for step in steps if step.touches and _has_something(settings, step.job)]
            job_selection.require_some(database.connection, verb, selection, steps)
        touched = [step.job for step in steps if step.touches]
        lost = operations.dependants(database.connection, [job for job in touched if job.status_code in ACTIVE_CODES])
        if not job_selection.may_go_on(
            verb, steps, ask=not selection.exact, yes=yes, dry_run=dry_run, as_json=as_json, lost=lost
        ):
            return
        asked = operations.end(database, operation, touched, origin=f"jobs {verb}", cleanup=cleanup)
    answers = wait_for_answers(settings, asked)
    done = [(step.job, answers.get(step.job.id, ALREADY_FINISHED)) for step in steps]
    job_selection.say_done(done, as_json=as_json)


def _has_something(settings: Settings, job: Job) -> bool:
    from jobrunner_cli.engine.running.second_chances import has_left_files
    from jobrunner_cli.engine.states import ACTIVE_CODES

    return job.status_code in ACTIVE_CODES or has_left_files(settings, job)
