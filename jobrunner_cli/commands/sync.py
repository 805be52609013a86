"""`jobrunner sync`: take job requests from a job-server and tell it what becomes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from jobrunner_cli.engine.errors import ExitCode
    from jobrunner_cli.engine.service.sync import Sync


def sync(
    once: Annotated[bool, typer.Option("--once", help="Ask and tell once, and say how it went.")] = False,
    log_format: Annotated[
        str | None, typer.Option("--log-format", metavar="text|json", help="The form of log lines on stderr.")
    ] = None,
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
    import logging
    import sys

    from jobrunner_cli.commands.loading import load_for_database
    from jobrunner_cli.engine.errors import JobrunnerError
    from jobrunner_cli.engine.masking import Masker
    from jobrunner_cli.engine.running import service_log
    from jobrunner_cli.engine.service.sync import Sync

    if log_format not in {None, "text", "json"}:
        raise typer.BadParameter("--log-format is text or json")
    settings = load_for_database()
    service_log.configure(settings, Masker(settings.secrets()), sys.stderr, as_json=log_format == "json")
    service_log.catch_strays()
    try:
        work = Sync(settings)
        code = _once(work) if once else _run(work)
    except JobrunnerError as error:
        if log_format != "json":
            raise
        # Whatever reads the log reads nothing else.
        logging.getLogger(__name__).critical("%s", error.told)
        code = error.exit_code
    raise typer.Exit(code)


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
        f"{report.listed} job requests listed, {report.taken} taken; "
        f"told of {report.told_jobs} jobs of {report.told_requests} requests."
    )
    for text in (*report.problems, *report.failures):
        diagnostics.notice(f"jobrunner: {text}")
    if received:
        return ExitCode.INTERRUPTED
    if report.problems:
        return ExitCode.UNREACHABLE
    return ExitCode.FAILED if report.failures else ExitCode.FINE
