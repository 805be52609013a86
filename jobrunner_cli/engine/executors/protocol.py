"""What every executor can do: narrow verbs over one container per job, and nothing about files or states.

Every verb is safe to repeat after a crash at any point. Errors are of three kinds: ExecutorUnavailableError (the
engine does not answer at the moment: nothing is known about whether the verb was carried out, look before acting
again), ExecutorError (this job cannot be run this way, ever), and ImageMissingError, a kind of the latter.
Every call returns or raises within a time limit. Instances may be shared between threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from jobrunner_cli.engine.work import ContainerDetail, ContainerSpec, ContainerState


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInfo:
    """An image that jobs can use here."""

    #: full name with tag
    name: str
    #: content id, `sha256:…`
    id: str
    #: bytes
    size: int
    #: ISO 8601
    created: str


class EventStream(Protocol):
    """Hints that something changed. Open from the moment it is handed out, so that a list taken after that and the
    hints together miss nothing."""

    def wait(self, timeout: float) -> bool:
        """Wait for the next hint, at most so many seconds; true if there was one (bursts coalesce).

        Raises ExecutorUnavailableError if the stream broke.
        """
        ...

    def close(self) -> None:
        """End it; a `wait` in another thread returns false or raises at once."""
        ...


class Executor(Protocol):
    """The verbs."""

    @property
    def name(self) -> str:
        """The name that settings use, such as `docker`."""
        ...

    @property
    def isolates(self) -> bool:
        """Whether jobs are kept from this machine's files and network."""
        ...

    def check(self) -> str:
        """A line about the engine (kind, version, where) if it takes a new connection now.

        An engine that shuts down refuses new connections before it ends its containers. Raises
        ExecutorUnavailableError.
        """
        ...

    def up_since(self) -> float | None:
        """When the executor came up, in UNIX seconds by its own clock; None if it cannot tell or never ends its jobs.

        What it had started before, it may have ended when it went down. Raises ExecutorUnavailableError.
        """
        ...

    def create(self, spec: ContainerSpec) -> None:
        """Make the job's container, not started.

        One that exists with the same configuration and was never started is kept; any other is removed first and
        made anew. Raises ImageMissingError if the image is not on this machine (nothing is ever pulled here).
        """
        ...

    def start(self, job_id: str) -> None:
        """Start the container if it was never started; one that runs or has exited is left as it is.

        Raises ContainerMissingError if there is none, ExecutorError if its command cannot be started.
        """
        ...

    def stop(self, job_id: str, *, grace: float) -> None:
        """TERM, then after `grace` seconds KILL, and return when it is verified not to run. Absent or exited: fine."""
        ...

    def remove(self, job_id: str) -> None:
        """Remove the container, killing it first if it runs; return when it is gone. Absent: fine."""
        ...

    def list(self, owner: str) -> Mapping[str, ContainerState]:
        """Job id -> state of every container that bears this owner's label, by one call of the engine."""
        ...

    def inspect(self, job_id: str) -> ContainerDetail | None:
        """Everything about the job's container; None if there is none."""
        ...

    def logs(self, job_id: str, *, follow: bool = False) -> Iterator[bytes]:
        """What the container printed (both streams), one line an item, without its line end, each beginning with an
        RFC 3339 UTC timestamp and a space; an endless line comes in pieces of at most 64 KiB. With `follow` until
        the container exits. No container: nothing.
        """
        ...

    def stats(self, job_ids: Iterator[str]) -> Mapping[str, tuple[float, float]]:
        """Job id -> CPU in percent of one core, memory in MiB, of those that run."""
        ...

    def events(self, owner: str) -> EventStream:
        """A stream of hints that one of this owner's containers has ended; `list` then says so, too.

        Raises ExecutorUnavailableError.
        """
        ...

    def images(self) -> Sequence[ImageInfo]:
        """The images on this machine that jobs may use, sorted by name."""
        ...

    def pull(self, image: str) -> Iterator[str]:
        """Fetch an image; yields lines of progress. Raises ExecutorError if the registry refuses it."""
        ...
