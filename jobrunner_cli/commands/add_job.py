"""`jobrunner add-job`: ask for actions of a study, and wait for them if wanted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from jobrunner_cli.engine.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from jobrunner_cli.engine.planning import Plan
    from jobrunner_cli.engine.requests import Submission
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.work import JobRequest


def add_job(
    repo: Annotated[str, typer.Argument(metavar="REPO", help="The study: a directory, or a URL.")],
    actions: Annotated[list[str], typer.Argument(metavar="ACTION…", help="Names of actions, or run_all.")],
    commit: Annotated[
        str | None, typer.Option(metavar="COMMIT", help="The commit to run; by default the newest of the branch.")
    ] = None,
    branch: Annotated[str, typer.Option(metavar="NAME", help="The branch that the commit is on.")] = "main",
    workspace: Annotated[str, typer.Option(metavar="NAME", help="Where the outputs live.")] = "test",
    database: Annotated[str, typer.Option(metavar="NAME", help="The database that database actions use.")] = "dummy",
    force_run_dependencies: Annotated[
        bool, typer.Option("--force-run-dependencies", "-f", help="Run what the actions need again, too.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run, and why; add nothing.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return when the jobs have ended.")] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print the jobs, or the plan, as JSON; with --wait, all that were waited for, as they ended."
        ),
    ] = False,
) -> None:
    """Ask for actions of a study. What they need and what has not succeeded yet runs, too.

    With --wait, the jobs are run until they end if no runner is at work on the work directory;
    otherwise the runner's progress is shown. The exit code is 1 if one of them fails.

    \b
    Examples:
      jobrunner add-job ../my-study run_all
      jobrunner add-job ../my-study describe --branch trial --dry-run
      jobrunner add-job https://github.com/opensafely/a-study make_report --workspace ws1 --wait
    """
    if dry_run and wait:
        msg = "--dry-run adds nothing that --wait could wait for"
        raise UsageError(msg, hint="leave one of them out")
    from jobrunner_cli.commands.loading import load_for_database
    from jobrunner_cli.engine import requests
    from jobrunner_cli.engine.local_requests import left_behind, local_request
    from jobrunner_cli.engine.running.session import make_repositories
    from jobrunner_cli.engine.store.database import Database

    settings = load_for_database()
    repositories = make_repositories(settings)
    request = local_request(
        settings,
        repositories,
        repo,
        actions,
        commit=commit,
        branch=branch,
        workspace=workspace,
        database=database,
        force_run_dependencies=force_run_dependencies,
    )
    _say_what_is_odd(settings, request, left_behind(settings, request, is_commit_named=commit is not None))
    with Database(settings.database_path) as store:
        if dry_run:
            _show_plan(requests.plan_only(settings, repositories, store, request), as_json=as_json)
            return
        submission = requests.create_jobs(settings, repositories, store, request)
    if submission.error is not None:
        raise submission.error
    if wait:
        raise typer.Exit(_wait_for(settings, submission, as_json=as_json))
    _show_submission(submission, as_json=as_json)
    _say_when_no_runner(settings, submission)


def _say_what_is_odd(settings: Settings, request: JobRequest, missed: str | None) -> None:
    """Where the words of the command may not mean what was meant."""
    from jobrunner_cli import diagnostics

    if missed is not None:
        diagnostics.notice(missed)
    known = {"dummy", "default", "include_t1oo"}
    if settings.using_dummy_data_backend and request.database_name not in known:
        said = f"Database {request.database_name!r} is not one of {', '.join(sorted(known))}"
        diagnostics.notice(f"{said}; here all data are made up, and no database is used.")


def _wait_for(settings: Settings, submission: Submission, *, as_json: bool) -> ExitCode:
    """Wait until the jobs have ended, those that stand in for new ones too; as JSON they are shown as they end."""
    from jobrunner_cli.commands.loading import reading
    from jobrunner_cli.commands.waiting import wait_for
    from jobrunner_cli.engine.store import queries

    if not as_json:
        _show_submission(submission, as_json=False)
    code = wait_for(settings, _ids(submission))
    if as_json:
        skipped = () if submission.plan is None else submission.plan.skipped
        shown = [*(job.id for job in submission.jobs), *(one.job_id for one in skipped if one.under_way)]
        with reading(settings) as store:
            ended = queries.jobs_by_ids(store.connection, shown)
        _show_submission(replace(submission, jobs=tuple(ended[job_id] for job_id in shown)), as_json=True)
    return code


def _ids(submission: Submission) -> list[str]:
    skipped = () if submission.plan is None else submission.plan.skipped
    return [*(job.id for job in submission.runnable), *(one.job_id for one in skipped)]


def _show_submission(submission: Submission, *, as_json: bool) -> None:
    from jobrunner_cli import output
    from jobrunner_cli.commands import job_view

    if submission.plan is not None:
        _say_nothing_to_do(submission.plan, as_json=as_json)
    if as_json:
        output.as_json([job_view.as_dict(job) for job in submission.jobs])
        return
    for job in submission.runnable:
        output.line(f"{job.id}  {job.workspace}/{job.action}")


def _say_nothing_to_do(plan: Plan, *, as_json: bool) -> None:
    """The answer itself, or what explains an answer without jobs."""
    from jobrunner_cli import diagnostics, output

    if plan.nothing_to_do is not None:
        (diagnostics.notice if as_json else output.line)(f"{plan.nothing_to_do}.")


def _show_plan(plan: Plan, *, as_json: bool) -> None:
    from jobrunner_cli import output

    _say_nothing_to_do(plan, as_json=as_json)
    if as_json:
        output.as_json(
            {
                "run": [{"action": job.action, "reason": job.reason, "needs": list(job.needs)} for job in plan.new],
                "leave": [{"action": skipped.action, "reason": skipped.reason} for skipped in plan.skipped],
                "nothing_to_do": plan.nothing_to_do,
            }
        )
        return
    rows = [("run", job.action, job.reason) for job in plan.new]
    rows += [("leave", skipped.action, skipped.reason) for skipped in plan.skipped]
    if rows:
        columns = [
            output.Column(title="WOULD", value=lambda row: row[0], style=lambda row: "" if row[0] == "run" else "dim"),
            output.Column(title="ACTION", value=lambda row: row[1]),
            output.Column(title="BECAUSE", value=lambda row: row[2]),
        ]
        output.table(rows, columns)


def _say_when_no_runner(settings: Settings, submission: Submission) -> None:
    """Where one of these jobs has not ended and nobody is there to move it."""
    from jobrunner_cli.commands.loading import reading
    from jobrunner_cli.commands.waiting import say_when_no_runner
    from jobrunner_cli.engine.states import ACTIVE_CODES
    from jobrunner_cli.engine.store import queries

    with reading(settings) as store:
        codes = queries.codes_of(store.connection, _ids(submission)).values()
    if ACTIVE_CODES.intersection(codes):
        say_when_no_runner(settings)
