"""What decisions depend on besides the jobs: capacity, pauses, free space, the executor's last word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from jobrunner_cli.engine.states import StatusCode
from jobrunner_cli.engine.work import ContainerState


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
class Snapshot:
    """What the executor says of all jobs of this work directory in one answer, and of single ones besides."""

    #: monotonic seconds at which it was asked for
    asked_at: float
    #: job id -> state of its container; a job without a container is absent
    containers: Mapping[str, ContainerState]
    #: job id -> monotonic seconds at which it was asked about, of those that were found to have exited
    ended: Mapping[str, float] = field(default_factory=dict)

    def has_exited(self, job_id: str, since: float | None) -> bool:
        """Whether a container was found to have exited by a question asked after a monotonic time; None is before all.

        The whole answer may say that it runs: an engine tells of a death before its list does.
        """
        at = self.ended.get(job_id)
        return at is not None and (since is None or at > since)

    def with_ended(self, ended: Mapping[str, float]) -> Snapshot:
        """The same, and these jobs' containers were found to have exited, each asked about at a monotonic time."""
        return replace(self, ended={**self.ended, **ended})

    def after(self, before: Snapshot | None) -> Snapshot:
        """The same, with what an earlier one knows that this one may not know yet."""
        if before is None:
            return self
        known = {job_id: at for job_id, at in before.ended.items() if at >= self.asked_at or job_id in self.containers}
        return self.with_ended(known)


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
