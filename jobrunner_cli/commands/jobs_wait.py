"""`jobrunner jobs wait`: return when jobs have ended, with an exit code that says how."""

from __future__ import annotations

from typing import Annotated

import typer

from jobrunner_cli.commands.job_words import JobNames, Json


def _duration(text: str) -> float:
    """Seconds. Raises BadParameter."""
    from jobrunner_cli.engine.forms import MalformedError, parse_duration

    try:
        return parse_duration(str(text))
    except MalformedError as problem:
        msg = f"{text!r} is not {problem}"
        raise typer.BadParameter(msg) from problem


def wait(
    jobs: JobNames,
    timeout: Annotated[
        float | None,
        typer.Option(metavar="DURATION", parser=_duration, help="Wait no longer than this, such as 90s, 30m or 2h."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Wait until jobs have ended. The exit code is 0 if all have succeeded, and 1 if one has failed.

    If no runner is at work on the work directory, the jobs and what they wait for are run by this command.
    With --timeout the exit code is 124 if some have not ended by then, and a line on stderr names them
    and says why. What runs goes on.

    \b
    Examples:
      jobrunner jobs wait 7ujg && echo it has succeeded
      jobrunner jobs wait test/extract test/describe --json
      jobrunner jobs wait 7ujg --timeout 30m || jobrunner jobs why 7ujg
    """
    from jobrunner_cli import output, theme
    from jobrunner_cli.commands.job_view import as_dict
    from jobrunner_cli.commands.loading import load_for_database, reading
    from jobrunner_cli.commands.naming import find_job
    from jobrunner_cli.commands.waiting import say_what_is_awaited, wait_for
    from jobrunner_cli.engine.errors import ExitCode
    from jobrunner_cli.engine.store import queries

    settings = load_for_database()
    with reading(settings) as database:
        ids = list(dict.fromkeys(find_job(database.connection, name).id for name in jobs))
    code = wait_for(settings, ids, timeout=timeout)
    with reading(settings) as database:
        ended = queries.jobs_by_ids(database.connection, ids)
    found = [ended[job_id] for job_id in ids if job_id in ended]
    if as_json:
        output.as_json([as_dict(job) for job in found])
    else:
        for job in found:
            output.line(f"{job.id}  {job.workspace}/{job.action}  {theme.word(job.status_code)}")
    if code is ExitCode.TIMED_OUT and timeout is not None:
        say_what_is_awaited(settings, ids, timeout)
    raise typer.Exit(code)
