"""How long the last successful runs of actions took."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from jobrunner_cli.engine.store.database import Connection

#: The runs that are looked at.
_LAST = 5


def usual_run_times(conn: Connection, actions: Iterable[tuple[str, str]]) -> dict[tuple[str, str], float]:
    """(workspace, action) -> the median of the last runs that succeeded, in seconds; one that never did is absent."""
    # The plus leaves the index of states aside: that of actions has few rows for each, in the order that is wanted.
    query = (
        "SELECT completed_at - started_at AS seconds FROM job WHERE workspace = ? AND action = ? "
        "AND +state = 'succeeded' AND completed_at >= started_at ORDER BY created_at DESC LIMIT ?"
    )
    found: dict[tuple[str, str], float] = {}
    for workspace, action in set(actions):
        rows = conn.execute(query, (workspace, action, _LAST)).fetchall()
        if rows:
            found[workspace, action] = float(median(row["seconds"] for row in rows))
    return found
