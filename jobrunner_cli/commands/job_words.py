"""The words that the commands of `jobrunner jobs` have in common: how jobs are named and chosen, counts, times."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from typing import Annotated

import typer

_DATES = ("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S")


def count(text: str | int) -> int:
    """A whole number from 1 on. Raises typer.BadParameter."""
    if not re.fullmatch("0*[1-9][0-9]{0,8}", str(text)):
        msg = f"{text!r} is not a whole number from 1 to 999999999"
        raise typer.BadParameter(msg)
    return int(text)


def since(text: str | int) -> int:
    """The UNIX time that is meant by an age (`90m`, `2h`, `3d`) or a date, with or without a time, of this machine's zone
    or, with a Z, in UTC. Raises typer.BadParameter.
    """
    if isinstance(text, int):
        return text
    import calendar

    from jobrunner_cli.engine.forms import MalformedError, parse_age

    with suppress(MalformedError):
        return int(time.time() - parse_age(text))
    utc = text.endswith("Z")
    for form in _DATES:
        try:
            parsed = time.strptime(text.removesuffix("Z"), form)
            return calendar.timegm(parsed) if utc else int(time.mktime(parsed))
        except (ValueError, OverflowError):
            continue
    msg = f"{text!r} is neither an age such as 2h or 3d nor a date such as 2026-11-23 or 2026-11-23T08:30Z"
    raise typer.BadParameter(msg)


JobName = Annotated[str, typer.Argument(metavar="JOB", help="Part of an id, or workspace/action.")]
JobNames = Annotated[list[str], typer.Argument(metavar="JOB…", help="Parts of ids, or workspace/action.")]
SomeJobNames = Annotated[list[str] | None, typer.Argument(metavar="JOB…", help="Parts of ids, or workspace/action.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON with stable keys.")]
Utc = Annotated[bool, typer.Option("--utc", help="Show exact times, in UTC.")]
Workspace = Annotated[str | None, typer.Option(metavar="NAME", help="Only jobs of this workspace.")]
States = Annotated[
    list[str] | None,
    typer.Option(
        "--state", metavar="STATE", help="Only jobs in this state (pending, failed …) or code; several add up."
    ),
]
Action = Annotated[str | None, typer.Option(metavar="NAME", help="Only jobs of this action.")]
Request = Annotated[str | None, typer.Option(metavar="ID", help="Only jobs of this job request, by part of its id.")]
Since = Annotated[
    int | None, typer.Option(metavar="WHEN", parser=since, help="Only jobs made since then: 2h, 3d, 2026-11-23.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
