"""`jobrunner run`: do what was asked for."""

from __future__ import annotations

from typing import Annotated

import typer


def run(
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="Return when nothing can move without an operator.")
    ] = False,
) -> None:
    """Run the jobs that were asked for, in the order of their needs.

    Shows the jobs live on a terminal and writes log lines otherwise. Ctrl-C stops starting jobs and
    leaves when outputs that are being stored are stored; a second one leaves at once. Containers
    that run go on, and the next run takes them up again.

    With --until-idle the exit code is 1 if a job failed, and what still waits is named.

    \b
    Examples:
      jobrunner run
      jobrunner run --until-idle
      EXECUTOR=process jobrunner run --until-idle     without a container engine, on dummy data
    """
    from jobrunner_cli.commands.driving import drive
    from jobrunner_cli.commands.loading import load_settings

    raise typer.Exit(drive(load_settings(), until_idle=until_idle))
