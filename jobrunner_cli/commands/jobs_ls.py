"""`jobrunner jobs ls`: the jobs as a table, as JSON, in a form of one's own, once or again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobrunner_cli.commands.job_words import Action, Json, Request, Since, Utc, Workspace, count

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.states import StatusCode
    from jobrunner_cli.engine.store.filtering import JobFilter
    from jobrunner_cli.engine.store.models import Job

_MOST = 50


def ls(
    workspace: Workspace = None,
    action: Action = None,
    request: Request = None,
    state: Annotated[
        list[str] | None,
        typer.Option(metavar="STATE", help="Only jobs in this state (pending, failed …) or code; several add up."),
    ] = None,
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
    """List the jobs: those that have not ended first, then the newest.

    \b
    Examples:
      jobrunner jobs ls
      jobrunner jobs ls --workspace test --failed --since 2d
      jobrunner jobs ls --state executing --state paused
      jobrunner jobs ls --watch --active
      jobrunner jobs ls --all --format '{id} {workspace}/{action} {status_code}'
      jobrunner jobs ls --json | jq '.[] | select(.state == "failed")'
    """
    from jobrunner_cli import diagnostics, output
    from jobrunner_cli.commands import job_view
    from jobrunner_cli.commands.loading import load_for_database, reading
    from jobrunner_cli.commands.row_form import row_writer
    from jobrunner_cli.engine.store.filtering import JobFilter, filtered_jobs

    write = None if form is None else row_writer(form, job_view.JOB_KEYS)
    wanted = JobFilter(
        workspace=workspace,
        action=action,
        request=request,
        codes=_codes(state or [], failed=failed, active=active),
        since=since,
    )
    most = None if everything else limit
    settings = load_for_database()
    if watch:
        _watch(settings, wanted, most, write=write, utc=utc, as_json=as_json)
        return
    damaged: list[str] = []
    with reading(settings) as database:
        found = filtered_jobs(database.connection, wanted, limit=None if most is None else most + 1, damaged=damaged)
    for text in damaged:
        diagnostics.notice(f"Left out: {text}")
    jobs = found[:most]
    if len(found) > len(jobs):
        diagnostics.notice(f"There are more than {most} jobs; --limit shows more of them.")
    if as_json:
        output.as_json([job_view.as_dict(job) for job in jobs])
    elif write is not None:
        for job in jobs:
            output.line(write(job_view.as_dict(job)))
    elif jobs:
        output.table(jobs, job_view.columns(utc=utc))
    else:
        diagnostics.notice(_nothing(wanted))


def _codes(states: Sequence[str], *, failed: bool, active: bool) -> frozenset[StatusCode] | None:
    """The codes that the options ask for; None for all. Raises UsageError for a word that is neither state nor code."""
    from jobrunner_cli.engine.errors import UsageError
    from jobrunner_cli.engine.states import ACTIVE_CODES, TABLE, State, state_of

    if not states and not failed and not active:
        return None
    found: set[StatusCode] = set()
    for word in states:
        these = {code for code in TABLE if word.lower() in {code.value, state_of(code).value}}
        if not these:
            msg = f"there is no state {word!r}"
            names = ", ".join(each.value for each in State)
            raise UsageError(msg, hint=f"{names}, or a code: {', '.join(code.value for code in TABLE)}")
        found |= these
    if failed:
        found |= {code for code in TABLE if state_of(code) is State.FAILED}
    if active:
        found |= ACTIVE_CODES
    return frozenset(found)


def _nothing(wanted: JobFilter) -> str:
    from jobrunner_cli.engine.states import ACTIVE_CODES
    from jobrunner_cli.engine.store.filtering import JobFilter

    place = "" if wanted.workspace is None else f" in workspace {wanted.workspace}"
    if wanted.codes == ACTIVE_CODES and wanted == JobFilter(workspace=wanted.workspace, codes=wanted.codes):
        return f"No job{place} is active."
    if wanted == JobFilter(workspace=wanted.workspace):
        return f"No jobs{place} yet; jobrunner add-job asks for some."
    return f"No job{place} is like that."


def _watch(
    settings: Settings,
    wanted: JobFilter,
    most: int | None,
    *,
    write: Callable[[dict[str, Any]], str] | None,
    utc: bool,
    as_json: bool,
) -> None:
    """Show the jobs until interrupted."""
    from jobrunner_cli.commands import job_view, watching
    from jobrunner_cli.commands.loading import reading
    from jobrunner_cli.engine.store.filtering import filtered_jobs

    with reading(settings) as database:

        def find() -> Sequence[Job]:
            return filtered_jobs(database.connection, wanted, limit=most)

        if watching.can_repaint() and write is None and not as_json:
            watching.repaint(database, find, lambda: job_view.columns(utc=utc))
        else:
            watching.report(database, find, write)
