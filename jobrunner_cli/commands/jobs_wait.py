"""`jobrunner jobs wait`: return when jobs have ended, with an exit code that says how."""

from __future__ import annotations

import typer

from jobrunner_cli.commands.job_words import JobNames, Json


def wait(jobs: JobNames, as_json: Json = False) -> None:
    """Wait until jobs have ended. The exit code is 0 if all have succeeded, and 1 if one has failed.

    If no runner is at work on the work directory, the jobs and what they wait for are run by this command.

    \b
    Examples:
      jobrunner jobs wait 7ujg && echo it has succeeded
      jobrunner jobs wait test/extract test/describe --json
    """
    from jobrunner_cli import output
    from jobrunner_cli.commands.job_view import as_dict
    from jobrunner_cli.commands.loading import load_for_database, reading
    from jobrunner_cli.commands.naming import find_job
    from jobrunner_cli.commands.waiting import wait_for
    from jobrunner_cli.engine.store import queries

    settings = load_for_database()
    with reading(settings) as database:
        ids = list(dict.fromkeys(find_job(database.connection, name).id for name in jobs))
    code = wait_for(settings, ids)
    with reading(settings) as database:
        ended = queries.jobs_by_ids(database.connection, ids)
    found = [ended[job_id] for job_id in ids if job_id in ended]
    if as_json:
        output.as_json([as_dict(job) for job in found])
    else:
        for job in found:
            output.line(f"{job.id}  {job.workspace}/{job.action}  {job.status_code.value}")
    raise typer.Exit(code)
