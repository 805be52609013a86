"""`jobrunner jobs pause` and `jobrunner jobs resume`: the backend, a workspace, or some jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from jobrunner_cli.commands.job_words import Action, DryRun, Json, Request, Since, SomeJobNames, States, Yes

if TYPE_CHECKING:
    from jobrunner_cli.engine.operations import Step
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.database import Database
    from jobrunner_cli.engine.store.filtering import JobFilter

_Workspace = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The workspace, with the jobs that it will get; with other options, its jobs."),
]


def pause(
    jobs: SomeJobNames = None,
    workspace: _Workspace = None,
    action: Action = None,
    request: Request = None,
    since: Since = None,
    state: States = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Start nothing until it is resumed: no job of this backend, or just none of a workspace, or not these jobs.

    What runs already goes on. What is paused shows in jobs ls, jobs why and flags get. --action, --request,
    --since and --state choose jobs that there are now, of all workspaces or of one.

    \b
    Examples:
      jobrunner jobs pause                    the whole backend
      jobrunner jobs pause --workspace test
      jobrunner jobs pause 7ujg test/describe
      jobrunner jobs pause --workspace test --action extract
    """
    from jobrunner_cli.commands.job_filters import filter_of

    wanted = filter_of(workspace=workspace, action=action, request=request, since=since, states=state)
    _change("pause", jobs or [], wanted, yes=yes, dry_run=dry_run, as_json=as_json)


def resume(
    jobs: SomeJobNames = None,
    workspace: _Workspace = None,
    action: Action = None,
    request: Request = None,
    since: Since = None,
    state: States = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """End a pause: of the backend, of a workspace, or of these jobs, in the way in which it was begun.

    --action, --request, --since and --state choose jobs, of all workspaces or of one.

    \b
    Examples:
      jobrunner jobs resume
      jobrunner jobs resume --workspace test
      jobrunner jobs resume 7ujg
      jobrunner jobs resume --request cx4
    """
    from jobrunner_cli.commands.job_filters import filter_of

    wanted = filter_of(workspace=workspace, action=action, request=request, since=since, states=state)
    _change("resume", jobs or [], wanted, yes=yes, dry_run=dry_run, as_json=as_json)


def _change(verb: str, names: list[str], wanted: JobFilter, *, yes: bool, dry_run: bool, as_json: bool) -> None:
    from jobrunner_cli.commands.loading import load_for_database
    from jobrunner_cli.engine.store.database import Database
    from jobrunner_cli.engine.store.filtering import JobFilter

    settings = load_for_database()
    with Database(settings.database_path) as database:
        # With nothing but a workspace it is paused as a whole, with the jobs that it will get.
        if not names and wanted == JobFilter(workspace=wanted.workspace):
            _change_place(database, verb, wanted.workspace, yes=yes, dry_run=dry_run, as_json=as_json)
        else:
            _change_jobs(settings, database, verb, names, wanted, yes=yes, dry_run=dry_run, as_json=as_json)


def _change_jobs(
    settings: Settings,
    database: Database,
    verb: str,
    names: list[str],
    wanted: JobFilter,
    *,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    from jobrunner_cli.commands import job_selection
    from jobrunner_cli.engine import operations
    from jobrunner_cli.engine.states import ACTIVE_CODES

    selection = job_selection.select(database.connection, names, wanted, ACTIVE_CODES)
    steps = operations.outline(settings, database, operations.Operation(verb), selection.jobs)
    if selection.by_filter:
        steps = [step for step in steps if step.touches]
        job_selection.require_some(database.connection, verb, selection, steps)
    # Whoever names jobs means just these, and nothing is lost by it.
    if not job_selection.may_go_on(verb, steps, ask=selection.by_filter, yes=yes, dry_run=dry_run, as_json=as_json):
        return
    touched = [step.job for step in steps if step.touches]
    if verb == "pause":
        operations.pause_jobs(database, touched)
    else:
        operations.resume_jobs(database, touched)
    job_selection.say_done([(step.job, _outcome(step, verb)) for step in steps], as_json=as_json)


def _outcome(step: Step, verb: str) -> str:
    from jobrunner_cli.engine.states import State, state_of

    if not step.touches:
        return step.what
    if verb == "resume":
        return "resumed"
    runs = state_of(step.job.status_code) is State.RUNNING
    return "paused; it runs on, and would wait only if it had to be started over" if runs else "paused"


def _change_place(
    database: Database, verb: str, workspace: str | None, *, yes: bool, dry_run: bool, as_json: bool
) -> None:
    """Pause or resume the backend or a workspace."""
    from jobrunner_cli import diagnostics, output
    from jobrunner_cli.commands import confirming
    from jobrunner_cli.engine.states import State, state_of
    from jobrunner_cli.engine.store import queries

    conn = database.connection
    damaged: list[str] = []
    active = [job for job in queries.active_jobs(conn, damaged=damaged) if workspace in {None, job.workspace}]
    for text in damaged:
        # A pause holds it up as well; only what it is, and so where it counts, cannot be told.
        diagnostics.notice(f"Not counted: {text}")
    waiting = sum(state_of(job.status_code) is State.PENDING for job in active)
    place = "the backend" if workspace is None else f"workspace {workspace}"
    counts = f"{waiting} waiting, {len(active) - waiting} running"
    if workspace is not None and not active and workspace not in queries.known_workspaces(conn):
        diagnostics.notice(f"No job was ever in workspace {workspace}.")
    paused = (
        queries.backend_paused(conn) is not None
        if workspace is None
        else any(pause.scope == "workspace" and pause.name == workspace for pause in queries.pauses(conn))
    )
    changes = paused is (verb == "resume")
    if changes and not (yes or dry_run):
        confirming.ask_if_possible(f"{verb} {place} ({counts})?")
    outcome = f"{place} is paused already" if verb == "pause" else f"{place} is not paused"
    if changes:
        did = "paused" if verb == "pause" else "resumed"
        what = f"would be {did}" if dry_run else f"is {did}"
        outcome = f"{place} {what} ({counts}{'; these run on' if verb == 'pause' and len(active) > waiting else ''})"
        if not dry_run:
            _write_place(database, verb, workspace)
    if as_json:
        output.as_json({"workspace": workspace, "changed": changes and not dry_run, "outcome": outcome})
    else:
        output.line(f"{outcome}.")


def _write_place(database: Database, verb: str, workspace: str | None) -> None:
    from jobrunner_cli.engine import operations

    if workspace is None and verb == "pause":
        operations.pause_backend(database)
    elif workspace is None:
        operations.resume_backend(database)
    elif verb == "pause":
        operations.pause_workspace(database, workspace)
    else:
        operations.resume_workspace(database, workspace)
