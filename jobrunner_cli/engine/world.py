"""What decisions depend on besides the jobs: capacity, pauses, free space, the executor's last word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jobrunner_cli.engine.states import StatusCode
from jobrunner_cli.engine.work import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """A file system of ours that is fuller than it may be for something to start."""

    #: what is there, for people, and where
    place: str
    path: str
    #: bytes that are free, and that have to be
    free: int
    floor: int

    def __str__(self) -> str:
        return f"{self.place} ({self.path}) has {_gibibytes(self.free)} free, and nothing starts below {_gibibytes(self.floor)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything besides the jobs that a decision depends on."""

    #: UNIX seconds, and monotonic seconds
    now: float
    monotonic: float
    max_workers: int
    max_db_workers: int
    #: when the backend was paused; workspaces and jobs that are paused, each with since when (texts for people)
    paused_since: str | None = None
    paused_workspaces: Mapping[str, str] = field(default_factory=dict)
    paused_jobs: Mapping[str, str] = field(default_factory=dict)
    #: database maintenance is on, and since when
    maintenance_since: str | None = None
    #: code of each finished job that some unfinished one waits for
    ended: Mapping[str, StatusCode] = field(default_factory=dict)
    #: nothing new may start: the runner is on its way out
    draining: bool = False
    #: nothing new may start: these have too little free space
    shortages: tuple[Shortage, ...] = ()
    #: seconds after which a job that capacity holds up reserves it
    starvation_seconds: float = 60.0
    #: how many jobs at most are provisioned ahead of their turn
    provision_ahead: int = 0
    #: the last word of the executor
    snapshot: Snapshot | None = None


def _gibibytes(size: int) -> str:
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 // 100 else f"{size / 2**20:.2f} MiB"
