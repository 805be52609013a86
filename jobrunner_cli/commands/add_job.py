"""`jobrunner add-job`: ask for actions of a study, and wait for them if wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from jobrunner_cli.engine.planning import Plan
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.models import Job


def add_job(
    repo: Annotated[str, typer.Argument(metavar="REPO", help="The study: a directory, or a URL.")],
    actions: Annotated[list[str], typer.Argument(metavar="ACTION…", help="Names of actions, or run_all.")],
    commit: Annotated[
        str | None, typer.Option(help="The commit to run; by default the newest of the branch.", show_default=False)
    ] = None,
    branch: Annotated[str, typer.Option(help="The branch that the commit is on.")] = "main",
    workspace: Annotated[str, typer.Option(help="Where the outputs live.")] = "test",
    database: Annotated[str, typer.Option(help="The database that database actions use.")] = "dummy",
    force_run_dependencies: Annotated[
        bool, typer.Option("--force-run-dependencies", "-f", help="Run what the actions need again, too.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run, and why; add nothing.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return when the jobs have ended.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the jobs, or the plan, as JSON.")] = False,
) -> None:
    """Ask for actions of a study. What they need and what has not succeeded yet runs, too.

    \b
    With --wait, the jobs are run until they end if no runner is at work on the work directory;
    otherwise the runner's progress is shown. The exit code is 1 if one of them fails.

    \b
    Examples:
      jobrunner add-job ../my-study run_all
      jobrunner add-job ../my-study describe --branch trial --dry-run
      jobrunner add-job https://github.com/opensafely/a-study make_report --workspace ws1 --wait
    """
    from jobrunner_cli.engine import requests
    from jobrunner_cli.engine import settings as settings_module
    from jobrunner_cli.engine.local_requests import local_request
    from jobrunner_cli.engine.running.session import make_repositories
    from jobrunner_cli.engine.store.database import Database, ensure_migrated

    settings = settings_module.load()
    ensure_migrated(settings.database_path)
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
    with Database(settings.database_path) as store:
        if dry_run:
            _show_plan(requests.plan_only(settings, repositories, store, request), as_json=as_json)
            return
        submission = requests.create_jobs(settings, repositories, store, request)
    if submission.error is not None:
        raise submission.error
    _show_jobs(submission.jobs, submission.plan, as_json=as_json and not wait)
    unfinished = list(submission.jobs)
    if wait:
        from jobrunner_cli.commands.waiting import wait_for

        ids = [job.id for job in unfinished] + _awaited(submission.plan)
        raise typer.Exit(wait_for(settings, ids))
    if unfinished:
        _say_when_no_runner(settings)


def _awaited(plan: Plan | None) -> list[str]:
    return [] if plan is None else [skipped.job_id for skipped in plan.skipped]


def _show_plan(plan: Plan, *, as_json: bool) -> None:
    from jobrunner_cli import output

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
    output.table(
        rows,
        [
            output.Column(title="WOULD", value=lambda row: row[0], style=lambda row: "" if row[0] == "run" else "dim"),
            output.Column(title="ACTION", value=lambda row: row[1]),
            output.Column(title="BECAUSE", value=lambda row: row[2]),
        ],
    )
    if plan.nothing_to_do:
        output.line(plan.nothing_to_do)


def _show_jobs(jobs: tuple[Job, ...], plan: Plan | None, *, as_json: bool) -> None:
    from jobrunner_cli import output

    if as_json:
        output.as_json([_short(job) for job in jobs])
        return
    if plan is not None and plan.nothing_to_do:
        output.line(plan.nothing_to_do)
        return
    for job in jobs:
        output.line(f"{job.id}  {job.workspace}/{job.action}")


def _short(job: Job) -> dict[str, Any]:
    return {"id": job.id, "workspace": job.workspace, "action": job.action, "status_code": job.status_code.value}


def _say_when_no_runner(settings: Settings) -> None:
    from jobrunner_cli import diagnostics
    from jobrunner_cli.engine.store.locks import holder_pid

    if holder_pid(settings.runner_lock_path) is None:
        diagnostics.notice(f"No runner is at work on {settings.workdir}; start one with: jobrunner run")
