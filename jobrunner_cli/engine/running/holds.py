"""What operators hold jobs up with: pauses and maintenance, with since when, as people read it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from jobrunner_cli.engine.store import queries

if TYPE_CHECKING:
    from jobrunner_cli.engine.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Holds:
    """All of them; nothing is held up by default."""

    #: the backend is paused
    paused_since: str | None = None
    paused_workspaces: Mapping[str, str] = field(default_factory=dict)
    paused_jobs: Mapping[str, str] = field(default_factory=dict)
    #: database maintenance is on
    maintenance_since: str | None = None

    @classmethod
    def read(cls, conn: Connection) -> Self:
        """Those of now."""
        paused, maintenance = queries.backend_paused(conn), queries.in_maintenance(conn)
        pauses = queries.pauses(conn)
        return cls(
            paused_since=None if paused is None else _when(paused.timestamp),
            paused_workspaces={pause.name: _when(pause.since) for pause in pauses if pause.scope == "workspace"},
            paused_jobs={pause.name: _when(pause.since) for pause in pauses if pause.scope == "job"},
            maintenance_since=None if maintenance is None else _when(maintenance.timestamp),
        )


def _when(timestamp: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(timestamp))
