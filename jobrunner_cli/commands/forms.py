"""In which form a command writes: JSON is one, and never goes with another."""

from __future__ import annotations

from jobrunner_cli.engine.errors import UsageError


def require_one_form(other: str | None, *, as_json: bool) -> None:
    """Raises UsageError for --json together with an option, as it is typed, that asks for another form."""
    if as_json and other is not None:
        msg = f"--json and {other} are two forms"
        raise UsageError(msg, hint="leave one of them out")
