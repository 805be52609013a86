"""`jobrunner jobs retry`: failed jobs once more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobrunner_cli.commands.job_words import Action, DryRun, Json, Request, Since, SomeJobNames, States, Workspace, Yes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobrunner_cli.engine.operations import Step
    from jobrunner_cli.engine.retrying import Retried
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.database import Database
    from jobrunner_cli.engine.store.filtering import JobFilter


def retry(
    jobs: SomeJobNames = None,
    workspace: Workspace = None,
    action: Action = None,
    request: Request = None,
    since: Since = None,
    state: States = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="All failed jobs that no newer job of their action stands in for.")
    ] = False,
    anew: Annotated[
        bool, typer.Option("--anew", help="Run it anew, even where its outputs could be stored again.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return when the jobs have ended.")] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Run failed jobs again.

    A job that ended by an internal error and whose container still stands is not run again: its outputs
    are stored once more. Any other gets a new job for the same commit and action, in a local request
    that is linked to the first. With options in place of names it asks first.

    \b
    Examples:
      jobrunner jobs retry 7ujg --wait
      jobrunner jobs retry test/extract test/describe
      jobrunner jobs retry --workspace test --failed --since 1d --dry-run
      jobrunner jobs retry --state internal_error
    """
    from jobrunner_cli.commands.job_filters import filter_of
    from jobrunner_cli.commands.loading import load_for_database
    from jobrunner_cli.commands.reaching import reached_executor
    from jobrunner_cli.engine import operations
    from jobrunner_cli.engine.running.session import make_repositories
    from jobrunner_cli.engine.store.database import Database

    wanted = filter_of(workspace=workspace, action=action, request=request, since=since, states=state, failed=failed)
    settings = load_for_database()
    with Database(settings.database_path) as database:
        steps = _agreed_steps(settings, database, jobs or [], wanted, yes=yes, dry_run=dry_run, as_json=as_json)
        if steps is None:
            return
        done = operations.retry(
            settings,
            database,
            make_repositories(settings),
            lambda: reached_executor(settings),
            [step.job for step in steps if step.touches],
            origin="jobs retry",
            anew=anew,
        )
    raise typer.Exit(_finish(settings, steps, done, wait=wait, as_json=as_json))


def _agreed_steps(
    settings: Settings,
    database: Database,
    names: Sequence[str],
    wanted: JobFilter,
    *,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> Sequence[Step] | None:
    """What is to be done to the jobs that are meant; None if it is not to be done."""
    from jobrunner_cli.commands import job_selection
    from jobrunner_cli.engine import operations
    from jobrunner_cli.engine.states import TABLE, State, state_of

    conn = database.connection
    codes = frozenset(code for code in TABLE if state_of(code) is State.FAILED)
    selection = job_selection.select(conn, names, wanted, codes)
    steps = operations.outline(settings, database, operations.Operation.RETRY, selection.jobs)
    if selection.by_filter:
        replaced = operations.superseded(conn, selection.jobs)
        steps = [step for step in steps if step.touches and step.job.run_command and step.job.id not in replaced]
        job_selection.require_some(conn, "retry", selection, steps)
    agreed = job_selection.may_go_on("retry", steps, ask=selection.by_filter, yes=yes, dry_run=dry_run, as_json=as_json)
    return steps if agreed else None


def _finish(settings: Settings, steps: Sequence[Step], done: Sequence[Retried], *, wait: bool, as_json: bool) -> int:
    """Wait for what was asked for, say what became of it, and return the exit code."""
    from jobrunner_cli import diagnostics
    from jobrunner_cli.commands import job_selection
    from jobrunner_cli.commands.waiting import say_when_no_runner, wait_for, wait_for_answers
    from jobrunner_cli.engine.errors import ExitCode

    by_job = {each.job.id: each for each in done}
    answers = wait_for_answers(settings, {each.job.id: (each.intent,) for each in done if each.intent is not None})
    code = ExitCode.FAILED if any(each.error for each in done) else ExitCode.FINE
    ids = [job_id for each in done for job_id in [each.new_job_id or (each.job.id if each.intent else None)] if job_id]
    if wait and ids:
        code = max(code, wait_for(settings, ids))
    rows = [(step.job, _outcome(step, by_job.get(step.job.id), answers)) for step in steps]
    job_selection.say_done(rows, as_json=as_json, more=[_more(by_job.get(step.job.id)) for step in steps])
    for each in done:
        if each.error is not None and each.error.hint:
            diagnostics.notice(f"  hint: {each.error.hint}")
            break
    if not wait and any(each.new_job_id for each in done):
        say_when_no_runner(settings)
    return code


def _outcome(step: Step, retried: Retried | None, answers: dict[str, str]) -> str:
    if retried is None:
        return step.what
    if retried.error is not None:
        return f"cannot run again: {retried.error.message}"
    if retried.intent is not None:
        return answers.get(retried.job.id, "")
    commit = f" at the same commit, {retried.job.commit[:7]}" if retried.job.commit else ""
    return f"runs anew as {retried.new_job_id or retried.request_id}{commit}"


def _more(retried: Retried | None) -> dict[str, Any]:
    if retried is None:
        return {"new_job_id": None, "job_request_id": None}
    return {"new_job_id": retried.new_job_id, "job_request_id": retried.request_id}
