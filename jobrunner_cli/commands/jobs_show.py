"""`jobrunner jobs show`: everything about one job."""

from __future__ import annotations

from jobrunner_cli.commands.job_words import JobName, Json, Utc


def show(job: JobName, utc: Utc = False, as_json: Json = False) -> None:
    """Show everything about one job.

    Its state and why; the jobs it needs and those that need it; times, and what it went through;
    outputs with their levels and sizes, and what was held back; resources; its log; what was asked for it.

    \b
    Examples:
      jobrunner jobs show 7ujg
      jobrunner jobs show test/describe --utc
      jobrunner jobs show test/describe --json
    """
    from jobrunner_cli import output
    from jobrunner_cli.commands import job_details
    from jobrunner_cli.commands.loading import load_for_database, reading
    from jobrunner_cli.commands.naming import find_job

    settings = load_for_database()
    with reading(settings) as database:
        found = find_job(database.connection, job)
        details = job_details.details(settings, database, found)
    if as_json:
        output.as_json(details)
    else:
        job_details.show(details, utc=utc)
