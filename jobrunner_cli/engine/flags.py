"""Flags: named values that operators set (section 9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from jobrunner_cli.engine.store import changes, queries

if TYPE_CHECKING:
    from jobrunner_cli.engine.store.database import Database
    from jobrunner_cli.engine.store.models import Flag

PAUSED, MODE, MANUAL_MAINTENANCE = "paused", "mode", "manual-db-maintenance"
MAINTENANCE = "db-maintenance"

#: Characters of a value. All flags go into one header of every request to the job-server, and a server that finds it too
#: long answers none.
LONGEST_VALUE = 200

#: The flags that something here reads, and what they do.
MEANINGS: Mapping[str, str] = {
    PAUSED: "true: no waiting job starts",
    MODE: f"{MAINTENANCE}: jobs that use the database wait, and those that run are put back",
    MANUAL_MAINTENANCE: "set to anything: database maintenance, whatever a detection says",
}


def set_flags(
    database: Database, values: Mapping[str, str | None], *, detection: bool, now: float
) -> tuple[list[Flag], list[str]]:
    """Set flags, or unset those with None or an empty value, in one transaction; what a flag has already stays as it is.

    Maintenance by hand is also written as `mode`, which the job-server reads; when it ends, `mode` is unset, too, unless
    a `detection` is at work, which then says how things are. `now` is in UNIX seconds. Returns the flags that were
    asked for and `mode` where it was written, and the names of those that changed.
    """
    wanted = dict(values)
    with database.transaction() as conn:
        before = {flag.id: flag for flag in queries.flags(conn)}
        if MANUAL_MAINTENANCE in wanted and MODE not in wanted:
            by_hand, mode = (_value(before.get(name)) for name in (MANUAL_MAINTENANCE, MODE))
            if wanted[MANUAL_MAINTENANCE]:
                wanted[MODE] = MAINTENANCE
            elif not detection and by_hand is not None and mode == MAINTENANCE:
                wanted[MODE] = None
        found = []
        for name, value in wanted.items():
            if name not in before and not value:
                # What was never set is unset; a row would say that somebody had done that.
                continue
            found.append(changes.set_flag(conn, name, value, now))
    return found, [flag.id for flag in found if before.get(flag.id) != flag]


def doubt(name: str, value: str | None) -> str | None:
    """What somebody who sets a flag should know: nothing reads it, or not this value; None if all is well."""
    if name not in MEANINGS:
        return f"nothing here reads a flag {name}; known are {', '.join(MEANINGS)}"
    if name == PAUSED and value and value.lower() not in {"true", "false"}:
        return f"only paused=true pauses; paused={value} does not"
    if name == MODE and value and value != MAINTENANCE:
        return f"only mode={MAINTENANCE} changes anything; mode={value} does not"
    return None


def _value(flag: Flag | None) -> str | None:
    return flag.value if flag is not None else None
