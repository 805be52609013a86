"""Asking before something goes for good."""

from __future__ import annotations

import sys

import typer

from jobrunner_cli import diagnostics
from jobrunner_cli.engine.errors import ExitCode, UsageError


def require_consent(question: str, *, yes: bool) -> None:
    """Go on only with `yes`, or if somebody at a terminal agrees; else end the command, and say that nothing was done.

    Raises UsageError where nobody can be asked.
    """
    if yes:
        return
    if not _somebody_is_here():
        msg = f"nobody can be asked here: {question}"
        raise UsageError(msg, hint="--yes goes on without asking")
    _ask(question)


def ask_if_possible(question: str) -> None:
    """As `require_consent`, but go on where nobody can be asked: for what can be taken back."""
    if _somebody_is_here():
        _ask(question)


def _ask(question: str) -> None:
    try:
        agreed = typer.confirm(question, err=True)
    except typer.Abort:
        # The cursor is still behind the question.
        diagnostics.notice("\nNothing was done.")
        raise
    if not agreed:
        diagnostics.notice("Nothing was done.")
        raise typer.Exit(ExitCode.FAILED)


def _somebody_is_here() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()
