"""`jobrunner run`: do what was asked for."""

from __future__ import annotations

from typing import Annotated

import typer

from jobrunner_cli.commands.log_form import LogFormat, telling


def run(
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="Return when nothing can move without an operator.")
    ] = False,
    daemon: Annotated[
        bool, typer.Option("--daemon", help="Be a service: with sync, and whatever else is always to be at work.")
    ] = False,
    log_format: LogFormat = None,
) -> None:
    """Run the jobs that were asked for, in the order of their needs.

    Shows the jobs live on a terminal and writes log lines otherwise. Ctrl-C stops starting jobs and
    leaves when outputs that are being stored are stored; a second one leaves at once. Containers
    that run go on, and the next run takes them up again.

    With --until-idle the exit code is 1 if a job failed, and what still waits is named.

    With --daemon it also speaks to the job-server and samples what jobs use, tells systemd how it
    goes, and takes over numbers of workers, weights and the log level on SIGHUP. SIGTERM gives it
    DRAIN_TIMEOUT seconds to leave. docs/operations.md says how to set it up.

    \b
    Examples:
      jobrunner run
      jobrunner run --until-idle
      jobrunner run --daemon --log-format json
      EXECUTOR=process jobrunner run --until-idle     without a container engine, on dummy data
    """
    from jobrunner_cli.commands.driving import drive
    from jobrunner_cli.commands.loading import load_settings

    if daemon and until_idle:
        raise typer.BadParameter("--daemon goes on until it is ended, and so does not go with --until-idle")
    with telling(log_format, service=daemon):
        settings = load_settings()
        if daemon:
            from jobrunner_cli.commands.serving import serve

            raise typer.Exit(serve(settings, log_format))
        raise typer.Exit(drive(settings, until_idle=until_idle, log_form=log_format))
