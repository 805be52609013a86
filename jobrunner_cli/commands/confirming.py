"""Asking before something goes for good."""

from __future__ import annotations

import sys

import typer

from jobrunner_cli.engine.errors import UsageError


def require_consent(question: str, *, yes: bool) -> bool:
    """Whether to go on: `yes`, or what somebody at a terminal answers. Raises UsageError where nobody can be asked."""
    if yes:
        return True
    if not _somebody_is_here():
        msg = f"nobody can be asked here: {question}"
        raise UsageError(msg, hint="--yes goes on without asking")
    return typer.confirm(question, err=True)


def agreed(question: str) -> bool:
    """What somebody at a terminal answers; yes where nobody can be asked: for what can be taken back."""
    return not _somebody_is_here() or typer.confirm(question, err=True)


def _somebody_is_here() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()
