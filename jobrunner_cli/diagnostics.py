"""stderr: errors, hints and notices. Results never go there, and nothing else writes to it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jobrunner_cli.engine.errors import JobrunnerError

_NAME = "jobrunner: "
_elsewhere: Callable[[str], None] | None = None


@contextmanager
def going_to(say: Callable[[str], None]) -> Iterator[None]:
    """Have a log get every line in place of stderr, without what only tells people which program speaks."""
    global _elsewhere  # noqa: PLW0603 (there is one stderr)
    before, _elsewhere = _elsewhere, say
    try:
        yield
    finally:
        _elsewhere = before


def error(problem: JobrunnerError) -> None:
    """One line that says what is wrong (a list of problems keeps its lines), and one that says what helps."""
    _line(f"{_NAME}{problem.message}")
    if problem.hint:
        _line(f"  hint: {problem.hint}")


def usage(message: str, command: str) -> None:
    """The lines for words that do not fit a command."""
    text = message.strip().removesuffix(".")
    _line(f"{_NAME}{text[:1].lower()}{text[1:]}")
    _line(f"  hint: {command} --help shows how it is used")


def bug(problem: Exception, variable: str) -> None:
    """The lines for what nobody has thought of; `variable` is the one that shows more."""
    if isinstance(problem, OSError) and problem.strerror:
        where = f"{problem.filename}: " if problem.filename is not None else ""
        _line(f"{_NAME}{where}{problem.strerror.lower()}")
    else:
        _line(f"{_NAME}internal error: {type(problem).__name__}: {problem}")
    _line(f"  hint: {variable}=1 shows where in the program this came up")


def notice(text: str) -> None:
    """Something worth knowing that is not an error."""
    _line(text)


def trouble(text: str) -> None:
    """Something that went wrong and does not end the command."""
    _line(f"{_NAME}{text}")


def _line(text: str) -> None:
    if _elsewhere is None:
        print(text, file=sys.stderr, flush=True)
    else:
        _elsewhere(text.removeprefix(_NAME).strip())
