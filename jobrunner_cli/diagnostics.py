"""stderr: errors, hints and notices. Results never go there, and nothing else writes to it."""

from __future__ import annotations

import sys

from jobrunner_cli.engine.errors import JobrunnerError


def error(problem: JobrunnerError) -> None:
    """One line that says what is wrong (a list of problems keeps its lines), and one that says what helps."""
    _line(f"jobrunner: {problem.message}")
    if problem.hint:
        _line(f"  hint: {problem.hint}")


def usage(message: str, command: str) -> None:
    """The lines for words that do not fit a command."""
    text = message.strip().removesuffix(".")
    _line(f"jobrunner: {text[:1].lower()}{text[1:]}")
    _line(f"  hint: {command} --help shows how it is used")


def bug(problem: Exception, variable: str) -> None:
    """The lines for what nobody has thought of; `variable` is the one that shows more."""
    if isinstance(problem, OSError) and problem.strerror:
        where = f"{problem.filename}: " if problem.filename is not None else ""
        _line(f"jobrunner: {where}{problem.strerror.lower()}")
    else:
        _line(f"jobrunner: internal error: {type(problem).__name__}: {problem}")
    _line(f"  hint: {variable}=1 shows where in the program this came up")


def notice(text: str) -> None:
    """Something worth knowing that is not an error."""
    _line(text)


def _line(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
