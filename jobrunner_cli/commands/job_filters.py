"""What the options that choose jobs mean: states in the words of people, and part of a request's id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobrunner_cli.engine.states import StatusCode
    from jobrunner_cli.engine.store.database import Connection
    from jobrunner_cli.engine.store.filtering import JobFilter

_MOST_SHOWN = 10


def filter_of(
    *,
    workspace: str | None = None,
    action: str | None = None,
    request: str | None = None,
    since: int | None = None,
    states: Sequence[str] | None = None,
    failed: bool = False,
    active: bool = False,
) -> JobFilter:
    """The filter that options ask for. Raises UsageError for a word that is no state."""
    from jobrunner_cli.engine.store.filtering import JobFilter

    codes = codes_of(states or [], failed=failed, active=active)
    return JobFilter(workspace=workspace, action=action, request=request, since=since, codes=codes)


def codes_of(states: Sequence[str], *, failed: bool = False, active: bool = False) -> frozenset[StatusCode] | None:
    """The codes that options ask for, which add up; None for all.

    A state may be given as it is stored or as it is shown. Raises UsageError for a word that is none.
    """
    from jobrunner_cli.engine.states import ACTIVE_CODES, TABLE, State, state_of

    if not states and not failed and not active:
        return None
    found: set[StatusCode] = set()
    for word in states:
        found |= _codes_called(word)
    if failed:
        found |= {code for code in TABLE if state_of(code) is State.FAILED}
    if active:
        found |= ACTIVE_CODES
    return frozenset(found)


def _codes_called(word: str) -> set[StatusCode]:
    from jobrunner_cli import theme
    from jobrunner_cli.engine.errors import UsageError
    from jobrunner_cli.engine.states import TABLE, State, state_of

    wanted = word.strip().lower().replace("-", "_").replace(" ", "_")
    found = {code for code in TABLE if wanted in {code.value, state_of(code).value}}
    found = found or {code for code in TABLE if wanted == theme.word(code).replace(" ", "_")}
    if found:
        return found
    import difflib

    known = [*(each.value for each in State), *(code.value for code in TABLE)]
    spoken = [theme.word(code).replace(" ", "_") for code in TABLE]
    meant = difflib.get_close_matches(wanted, [*known, *spoken], n=1)
    msg = f"there is no state {word!r}"
    raise UsageError(
        msg, hint=f"did you mean {meant[0]}?" if meant else f"there are: {', '.join(dict.fromkeys(known))}"
    )


def with_whole_request(conn: Connection, wanted: JobFilter) -> JobFilter:
    """The filter with the id of the one request that a part of it names. Raises AmbiguousError."""
    if wanted.request is None:
        return wanted
    from jobrunner_cli.engine.errors import AmbiguousError
    from jobrunner_cli.engine.store import queries

    found = queries.find_requests(conn, wanted.request, most=_MOST_SHOWN + 1)
    if len(found) > 1:
        lines = [f"  {request_id}" for request_id in found[:_MOST_SHOWN]]
        if len(found) > _MOST_SHOWN:
            lines.append("  … and more")
        msg = "\n".join([f"{wanted.request!r} may be any of these job requests:", *lines])
        raise AmbiguousError(msg, hint="give more of its id")
    return replace(wanted, request=found[0]) if found else wanted
