"""`jobrunner sync`: take job requests from a job-server and tell it what becomes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from jobrunner_cli.commands.log_form import LogFormat, send_log, telling

if TYPE_CHECKING:
    from jobrunner_cli.engine.errors import ExitCode
    from jobrunner_cli.engine.service.sync import Sync


def sync(
    once: Annotated[bool, typer.Option("--once", help="Ask and tell once, and say how it went.")] = False,
    log_format: LogFormat = None,
) -> None:
    """Take job requests from the job-server, and tell it what becomes of their jobs.

    Goes on until it is ended, whatever happens to the server. Jobs are run by `jobrunner run`,
    which needs no sync, and the other way round. JOB_SERVER_TOKEN has to be set.

    With --once the exit code is 5 if the job-server could not be asked or told, and 1 if a request
    could not be taken or told.

    \b
    Examples:
      jobrunner sync
      jobrunner sync --once
      jobrunner sync --log-format json
    """
    import sys

    from jobrunner_cli.commands.loading import load_for_database
    from jobrunner_cli.engine.service.sync import Sync

    with telling(log_format, service=True):
        settings = load_for_database()
        send_log(settings, sys.stderr, log_format)
        work = Sync(settings)
        raise typer.Exit(_once(work) if once else _run(work))


def _run(work: Sync) -> ExitCode:
    import signal

    from jobrunner_cli.commands.signals import stopping
    from jobrunner_cli.engine.errors import ExitCode

    with stopping() as (stop, received):
        work.run(stop)
    return ExitCode.INTERRUPTED if signal.SIGINT in received else ExitCode.FINE


def _once(work: Sync) -> ExitCode:
    from jobrunner_cli import diagnostics, output
    from jobrunner_cli.commands.signals import stopping
    from jobrunner_cli.engine.errors import ExitCode

    with stopping() as (stop, received):
        report = work.once(stop)
    output.line(
        f"{output.counted(report.listed, 'job request')} listed, {report.taken} taken; "
        f"told of {output.counted(report.told_jobs, 'job')} of {output.counted(report.told_requests, 'request')}."
    )
    for text in (*report.problems, *report.failures):
        diagnostics.trouble(text)
    if received:
        return ExitCode.INTERRUPTED
    if report.problems:
        return ExitCode.UNREACHABLE
    return ExitCode.FAILED if report.failures else ExitCode.FINE
