"""`jobrunner flags`: the named values by which operators steer a backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from jobrunner_cli.commands.groups import CommandGroup, Entry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobrunner_cli.engine.store.models import Flag


class Flags(CommandGroup):
    """`jobrunner flags`."""

    entries: ClassVar[dict[str, Entry]] = {
        "get": Entry(module=__name__, attribute="get", summary="Show flags."),
        "set": Entry(module=__name__, attribute="set_", summary="Set flags, or unset them."),
    }


app = typer.Typer(cls=Flags, add_completion=False, rich_markup_mode=None)


@app.callback()
def flags() -> None:
    """Show and set flags: paused, mode, manual-db-maintenance.

    \b
    Examples:
      jobrunner flags get
      jobrunner flags set mode=db-maintenance
      jobrunner flags set mode=
    """


_Json = Annotated[bool, typer.Option("--json", help="Print JSON with stable keys.")]


def get(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME…", help="Only these flags.")] = None,
    as_json: _Json = False,
) -> None:
    """Show all flags that were ever set, or just some, each with the time since which it has its value (UTC).

    \b
    Examples:
      jobrunner flags get
      jobrunner flags get paused mode --json
    """
    from jobrunner_cli import diagnostics
    from jobrunner_cli.commands.loading import load_for_database, reading
    from jobrunner_cli.engine.store import queries

    settings = load_for_database()
    with reading(settings) as database:
        found = {flag.id: flag for flag in queries.flags(database.connection)}
    wanted = list(dict.fromkeys(names)) if names else list(found)
    _show([(name, found.get(name)) for name in wanted], as_json=as_json)
    if not wanted and not as_json:
        diagnostics.notice("No flag was ever set.")


def set_(
    assignments: Annotated[
        list[str], typer.Argument(metavar="NAME=VALUE…", help="What to set; nothing behind the = unsets a flag.")
    ],
    as_json: _Json = False,
) -> None:
    """Set flags, or unset them. Setting the value that a flag has changes nothing, nor its time.

    With paused=true no waiting job starts, and what runs goes on. With mode=db-maintenance jobs that
    use the database wait, and those that run are put back. With manual-db-maintenance=on it is the
    same, whatever a detection says; that sets mode, too.

    \b
    Examples:
      jobrunner flags set paused=true
      jobrunner flags set manual-db-maintenance=on
      jobrunner flags set paused= mode=
    """
    import time

    from jobrunner_cli import diagnostics
    from jobrunner_cli.commands.loading import load_for_database
    from jobrunner_cli.engine import flags as engine_flags
    from jobrunner_cli.engine.store.database import Database

    values = dict(map(_parsed, assignments))
    settings = load_for_database()
    for name, value in values.items():
        doubt = engine_flags.doubt(name, value)
        if doubt is not None:
            diagnostics.notice(f"{doubt[0].upper()}{doubt[1:]}.")
    with Database(settings.database_path) as database:
        detection = settings.enable_maintenance_mode_thread
        found, _ = engine_flags.set_flags(database, values, detection=detection, now=time.time())
    by_name: dict[str, Flag | None] = {**dict.fromkeys(values), **{flag.id: flag for flag in found}}
    _show(list(by_name.items()), as_json=as_json)


def _parsed(assignment: str) -> tuple[str, str | None]:
    """`name=value`. Raises UsageError."""
    import re

    from jobrunner_cli.engine.errors import UsageError
    from jobrunner_cli.engine.flags import LONGEST_VALUE

    name, equals, value = assignment.partition("=")
    is_name = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", name) is not None
    if not equals or not is_name:
        msg = f"{assignment!r} is not NAME=VALUE"
        example = name if is_name else "paused"
        raise UsageError(msg, hint=f"jobrunner flags set {example}=true sets a flag, {example}= unsets it")
    if not value.isprintable():
        msg = f"the value of {name} has characters in it that cannot be printed"
        raise UsageError(msg)
    if len(value) > LONGEST_VALUE:
        msg = f"the value of {name} has {len(value)} characters; {LONGEST_VALUE} are the most"
        raise UsageError(msg, hint="the job-server gets all flags with every request, and refuses what is too long")
    return name, value or None


def _show(found: Sequence[tuple[str, Flag | None]], *, as_json: bool) -> None:
    from jobrunner_cli import output

    def row(name: str, flag: Flag | None) -> dict[str, Any]:
        return {
            "name": name,
            "value": flag.value if flag is not None else None,
            "set_at": output.utc(flag.timestamp) if flag is not None else None,
        }

    if as_json:
        output.as_json([row(name, flag) for name, flag in found])
        return
    for name, flag in found:
        when = output.utc(flag.timestamp) if flag is not None else "never set"
        output.line(output.one_line(f"{name}={flag.value or '' if flag is not None else ''} ({when})"))
