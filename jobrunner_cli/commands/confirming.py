"""Asking before something goes for good."""

from __future__ import annotations

import sys

import typer

from jobrunner_cli.engine.errors import UsageError


def require_consent(question: str, *, yes: bool) -> bool:
    """Whether to go on: `yes`, or what somebody at a terminal answers. Raises UsageError where nobody can be asked."""
    if yes:
        return True
    if not (sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()):
        msg = f"nobody can be asked here: {question}"
        raise UsageError(msg, hint="--yes goes on without asking")
    return typer.confirm(question, err=True)
