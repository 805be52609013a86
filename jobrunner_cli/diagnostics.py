"""stderr: errors, hints and notices. Results never go there, and nothing else writes to it."""

from __future__ import annotations

import sys

from jobrunner_cli.engine.errors import ExitCode, JobrunnerError


def error(problem: JobrunnerError) -> None:
    """One line that says what is wrong (a list of problems keeps its lines), and one that says what helps."""
    _line(f"jobrunner: {problem.message}")
    if problem.hint:
        _line(f"  hint: {problem.hint}")


def usage(message: str, help_command: str) -> None:
    """The line for words of a command that do not fit."""
    _line(f"jobrunner: {message}")
    _line(f"  hint: {help_command} --help shows how it is used")


def notice(text: str) -> None:
    """Something worth knowing that is not an error."""
    _line(text)


def interrupted() -> ExitCode:
    """The exit code of a command that Ctrl-C ended."""
    return ExitCode.INTERRUPTED


def _line(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
