"""The command tree. Everything heavy is imported inside the bodies of the commands, so that `--help` starts fast."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from jobrunner_cli import diagnostics
from jobrunner_cli.commands import add_job, config, images, jobs, migrate, run
from jobrunner_cli.engine.errors import ExitCode, JobrunnerError

app = typer.Typer(
    name="jobrunner",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="""Run the actions of a study, each in its own locked-down container, and keep what they promise.

    \b
    Examples:
      jobrunner migrate                      make the database, once
      jobrunner add-job ../my-study run_all  ask for every action of a study
      jobrunner run                          do what was asked for
      jobrunner jobs ls                      see what became of it

    \b
    Exit codes: 0 fine, 1 a job or operation failed, 2 usage, 3 configuration or database not
    migrated, 4 not found or ambiguous, 5 engine or server not reachable, 130 interrupted.
    """,
)
app.command("add-job")(add_job.add_job)
app.command("run")(run.run)
app.command("migrate")(migrate.migrate)
app.command("config")(config.config)
app.add_typer(jobs.app, name="jobs")
app.add_typer(images.app, name="images")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"jobrunner {version('jobrunner-cli')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Nothing happens before a command."""


def main() -> None:
    """Run a command and exit with its documented code; no traceback reaches a user unless JOBRUNNER_TRACEBACK is set."""
    try:
        app()
    except JobrunnerError as problem:
        if os.environ.get("JOBRUNNER_TRACEBACK"):
            raise
        diagnostics.error(problem)
        sys.exit(problem.exit_code)
    except BrokenPipeError:
        # The reader of our output has seen enough; Python would complain once more when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.FAILED)
