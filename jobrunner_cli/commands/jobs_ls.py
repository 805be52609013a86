"""`jobrunner jobs ls`: the jobs as a table, as JSON, in a form of one's own, once or again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobrunner_cli.commands.job_words import Action, Json, Request, Since, States, Utc, Workspace, count

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.filtering import JobFilter
    from jobrunner_cli.engine.store.models import Job

    Write = Callable[[dict[str, Any]], str] | None

_MOST = 50


def ls(
    workspace: Workspace = None,
    action: Action = None,
    request: Request = None,
    state: States = None,
    since: Since = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only jobs that failed.")] = False,
    active: Annotated[bool, typer.Option("--active", help="Only jobs that have not ended.")] = False,
    limit: Annotated[int, typer.Option(metavar="NUMBER", parser=count, help="The most jobs to show.")] = _MOST,
    everything: Annotated[bool, typer.Option("--all", help="Show all that there are.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Go on: repaint on a terminal, else a line of JSON per change.")
    ] = False,
    form: Annotated[
        str | None,
        typer.Option("--format", metavar="TEXT", help="Print this for each job; {id}, {state} … are filled in."),
    ] = None,
    utc: Utc = False,
    as_json: Json = False,
) -> None:
    """List the jobs: those that run, those that wait, then those that have ended, each time the newest first.

    \b
    Examples:
      jobrunner jobs ls
      jobrunner jobs ls --workspace test --failed --since 2d
      jobrunner jobs ls --state executing --state paused
      jobrunner jobs ls --watch --active
      jobrunner jobs ls --all --format '{id} {workspace}/{action} {status_code}'
      jobrunner jobs ls --json | jq '.[] | select(.state == "failed")'
    """
    from jobrunner_cli.commands import job_view
    from jobrunner_cli.commands.forms import require_one_form
    from jobrunner_cli.commands.job_filters import filter_of
    from jobrunner_cli.commands.loading import load_for_database
    from jobrunner_cli.commands.row_form import row_writer

    require_one_form(None if form is None else "--format", as_json=as_json)
    write = None if form is None else row_writer(form, job_view.JOB_KEYS)
    wanted = filter_of(
        workspace=workspace, action=action, request=request, since=since, states=state, failed=failed, active=active
    )
    show = _watch if watch else _once
    show(load_for_database(), wanted, None if everything else limit, write=write, utc=utc, as_json=as_json)


def _once(settings: Settings, wanted: JobFilter, most: int | None, *, write: Write, utc: bool, as_json: bool) -> None:
    """Show the jobs as they are now."""
    from jobrunner_cli import diagnostics, output
    from jobrunner_cli.commands import job_view
    from jobrunner_cli.commands.job_filters import with_whole_request
    from jobrunner_cli.commands.loading import reading
    from jobrunner_cli.engine.store.filtering import filtered_ids, jobs_in_order

    damaged: list[str] = []
    with reading(settings) as database:
        chosen = with_whole_request(database.connection, wanted)
        ids = filtered_ids(database.connection, chosen, limit=None if most is None else most + 1)
        if most is not None and len(ids) > most:
            diagnostics.notice(f"There are more jobs than these {most}; --limit and --all show more of them.")
        jobs = jobs_in_order(database.connection, ids[:most], damaged=damaged)
        if as_json:
            output.json_rows(job_view.as_dict(job) for job in jobs)
        elif write is not None:
            for job in jobs:
                output.line(write(job_view.as_dict(job)))
        elif found := list(jobs):
            output.table(found, job_view.columns(utc=utc))
        elif not ids:
            diagnostics.notice(_nothing(wanted))
    for text in damaged:
        diagnostics.notice(f"Left out: {text}")


def _nothing(wanted: JobFilter) -> str:
    from jobrunner_cli.engine.states import ACTIVE_CODES
    from jobrunner_cli.engine.store.filtering import JobFilter

    place = "" if wanted.workspace is None else f" in workspace {wanted.workspace}"
    if wanted.codes == ACTIVE_CODES and wanted == JobFilter(workspace=wanted.workspace, codes=wanted.codes):
        return f"No job{place} is active."
    if wanted == JobFilter(workspace=wanted.workspace):
        return f"No jobs{place} yet; jobrunner add-job asks for some."
    return f"No job{place} is like that."


def _watch(settings: Settings, wanted: JobFilter, most: int | None, *, write: Write, utc: bool, as_json: bool) -> None:
    """Show the jobs until interrupted."""
    from jobrunner_cli.commands import job_view, watching
    from jobrunner_cli.commands.job_filters import with_whole_request
    from jobrunner_cli.commands.loading import reading
    from jobrunner_cli.engine.store.filtering import filtered_jobs

    with reading(settings) as database:
        chosen = wanted

        def find(more: int = 0) -> Sequence[Job]:
            nonlocal chosen
            if chosen is wanted:
                # The request that a part of an id is meant for may come later; the first that does stays the one.
                chosen = with_whole_request(database.connection, wanted)
            return filtered_jobs(database.connection, chosen, limit=None if most is None else most + more)

        if watching.can_repaint() and write is None and not as_json:
            watching.repaint(database, lambda: find(1), lambda: job_view.columns(utc=utc), most)
        else:
            watching.report(database, find, write)
