"""The command tree, and what every command has in common. A command is imported when it is called, so that help is fast."""

from __future__ import annotations

import codecs
import gc
import io
import os
import sys
from typing import Annotated, ClassVar, NoReturn

import typer

from jobrunner_cli import diagnostics
from jobrunner_cli.commands.groups import CommandGroup, Entry
from jobrunner_cli.engine.errors import ExitCode, JobrunnerError

#: Show Python's traceback of an error in place of its message.
TRACEBACK_VARIABLE = "JOBRUNNER_TRACEBACK"
#: What a stream does with characters that its encoding lacks.
_PLAIN = "jobrunner-plain"


def _entry(module: str, attribute: str, summary: str) -> Entry:
    return Entry(module=f"jobrunner_cli.commands.{module}", attribute=attribute, summary=summary)


class Root(CommandGroup):
    """`jobrunner` itself."""

    entries: ClassVar[dict[str, Entry]] = {
        "add-job": _entry("add_job", "add_job", "Ask for actions of a study."),
        "run": _entry("run", "run", "Run the jobs that were asked for."),
        "sync": _entry("sync", "sync", "Take job requests from a job-server, and tell it what becomes of them."),
        "jobs": _entry("jobs", "app", "List jobs, look at one, read its log, end it, hold it up, run it again."),
        "tui": _entry("tui", "tui", "Watch the jobs live, and act on them."),
        "flags": _entry("flags", "app", "Show and set flags: paused, mode, manual-db-maintenance."),
        "prepare-for-reboot": _entry(
            "prepare_for_reboot", "prepare_for_reboot", "Put running jobs back before a restart."
        ),
        "images": _entry("images", "app", "List and fetch the images that jobs run in."),
        "project": _entry("project", "app", "Check a study's project.yaml before anything runs."),
        "workspaces": _entry("workspaces", "app", "List workspaces, pack one away, bring it back."),
        "manifests": _entry("manifests", "app", "See to the lists of what is in each workspace."),
        "prune": _entry("prune", "prune", "Show what may go, and remove it."),
        "status": _entry("status", "status", "Say how things are, for people and for monitoring."),
        "migrate": _entry("migrate", "migrate", "Make the database, or upgrade it."),
        "backup": _entry("backup", "backup", "Copy the database to a file, and check the copy."),
        "restore": _entry("backup", "restore", "Put such a copy in the database's place."),
        "config": _entry("config", "config", "Show every setting and where it comes from."),
        "doctor": _entry("doctor", "doctor", "Look whether everything is there that jobs need."),
        "completion": _entry("completion", "app", "Have the shell complete what you type."),
    }


app = typer.Typer(
    cls=Root,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help=f"""Run the actions of a study, each in its own locked-down container, and keep what they promise.

    \b
    Examples:
      jobrunner migrate                      make the database, once
      jobrunner add-job ../my-study run_all  ask for every action of a study
      jobrunner run                          do what was asked for
      jobrunner jobs ls                      see what became of it

    Exit codes: 0 fine, 1 a job or operation failed or was not wanted, 2 usage, 3 configuration or database not
    migrated, 4 not found or ambiguous, 5 engine or server not reachable, 124 not over in time
    (jobs wait --timeout), 130 interrupted.
    With {TRACEBACK_VARIABLE}=1, an error shows where in the program it came up.
    """,
)


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


def main() -> NoReturn:
    """Run a command and exit with its documented code. A traceback is shown only to those who ask for it."""
    _prepare_streams()
    try:
        code = _run()
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output has seen enough; Python would complain once more when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = ExitCode.FAILED
    try:
        sys.stderr.flush()
    except OSError:
        # A log that nobody reads, or that has no space, makes no other exit code.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    if code == ExitCode.INTERRUPTED:
        # Python ends itself with SIGINT, whatever exit code is wanted, where the interrupt came in the middle of `exec`,
        # and dataclasses that are being imported are made by that.
        os._exit(code)
    # The process ends: looking for garbage in what it leaves would take longer than some commands.
    gc.freeze()
    sys.exit(code)


def _prepare_streams() -> None:
    """Have streams that take everything that is written to them."""
    codecs.register_error(_PLAIN, _in_ascii)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of files need not be text in any encoding, and not every terminal has the legend's glyphs.
        sys.stdout.reconfigure(errors=_PLAIN)
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors=_PLAIN)
    # A stream that was closed before the start is None.
    sys.stdout = sys.stdout or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
    sys.stderr = sys.stderr or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")


def _in_ascii(problem: UnicodeError) -> tuple[str | bytes, int]:
    """What stands for characters that a stream has not got: an ellipsis has a likeness, others are written as codes."""
    if not isinstance(problem, UnicodeEncodeError):
        raise problem
    if problem.object[problem.start] == "…":
        return "...", problem.start + 1
    return codecs.lookup_error("backslashreplace")(
        UnicodeEncodeError(problem.encoding, problem.object, problem.start, problem.start + 1, problem.reason)
    )


def _run() -> int:
    command = typer.main.get_command(app)
    try:
        return command.main(prog_name="jobrunner", standalone_mode=False) or ExitCode.FINE
    except JobrunnerError as problem:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        diagnostics.error(problem)
        return problem.exit_code
    except typer.TyperException as problem:
        context = getattr(problem, "ctx", None)
        diagnostics.usage(problem.format_message(), "jobrunner" if context is None else context.command_path)
        return ExitCode.USAGE
    except (typer.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as bug:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        if isinstance(bug, UnicodeEncodeError) and any(bug.object in word for word in sys.argv[1:]):
            # Names of files may be any bytes; whatever else is given by name is text.
            diagnostics.usage(f"{bug.object!r} is not text", "jobrunner")
            return ExitCode.USAGE
        diagnostics.bug(bug, TRACEBACK_VARIABLE)
        return ExitCode.FAILED
