"""What every executor can do: narrow verbs over one container per job, and nothing about files or states.

Every verb is safe to repeat after a crash at any point. Errors are of three kinds: ExecutorUnavailableError (the
engine does not answer at the moment: nothing is known about whether the verb was carried out, look before acting
again), ExecutorError (this job cannot be run this way, ever), and ImageMissingError, a kind of the latter.
Every call returns or raises within a time limit. Instances may be shared between threads.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from jobrunner_cli.engine.loglines import LogLines
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


class Use(NamedTuple):
    """What a container that runs uses."""

    #: percent of one core, since the last time that it was asked for
    cpu: float
    #: MiB
    memory: float
    #: names this container; one that is made anew has another
    container_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrandResult:
    """How a container outside of jobs ended."""

    exit_code: int
    #: the last line of each stream that says something; empty if nothing does
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """That something changed, and what of it is known for certain."""

    #: job id -> monotonic seconds at which it was asked about, of those that were found to have exited
    ended: Mapping[str, float]
    #: whether that is all; if not, only `list` tells
    is_all: bool


class EventStream(Protocol):
    """Hints that something changed. Open from the moment it is handed out, so that a list taken after that and the
    hints together miss nothing."""

    def wait(self, timeout: float) -> Hint | None:
        """Wait for the next hint, at most so many seconds; None if there was none (bursts coalesce).

        Raises ExecutorUnavailableError if the stream broke.
        """
        ...

    def close(self) -> None:
        """End it; a `wait` in another thread returns None or raises at once."""
        ...


class FileTransfer(Protocol):
    """How files come into a job's container and back, where the executor does not see this machine's directories."""

    def copy_id(self, job_id: str) -> str | None:
        """Names the job's present working copy; a container that is made anew has another. None without a container.

        Raises ExecutorUnavailableError.
        """
        ...

    def put(self, job_id: str, chunks: Iterator[bytes]) -> None:
        """Unpack a tar stream (POSIX.1-2001, names below the working copy) into the working copy of a container that
        was not started; owner, mode and time of each entry are those of its header.

        What the iterator raises comes through. After any error, or a crash, the working copy holds a part of it.
        Raises ContainerMissingError, ExecutorError for a stream that cannot be unpacked, ExecutorUnavailableError.
        """
        ...

    def get(self, job_id: str) -> Generator[bytes]:
        """The working copy as a tar stream: its root first, and each name below that of the root.

        To be read to its end, or closed. Raises ContainerMissingError, ExecutorUnavailableError, also in the middle.
        """
        ...

    def left(self, owner: str) -> Collection[str]:
        """The jobs of this owner whose files are kept there, with or without a container.

        Raises ExecutorUnavailableError.
        """
        ...


class Executor(Protocol):
    """The verbs."""

    @property
    def name(self) -> str:
        """The name that settings use, such as `docker`."""
        ...

    @property
    def place(self) -> str:
        """What the engine is and where, for people; known without asking it."""
        ...

    @property
    def isolates(self) -> bool:
        """Whether jobs are kept from this machine's files and network."""
        ...

    @property
    def transfer(self) -> FileTransfer | None:
        """The way for the files of jobs; None where the directories that `create` is told of are mounted or used.

        With one, `create` makes an empty working copy and an empty `/tmp` that belong to the job's user, together with
        the container, and `remove` removes them with it.
        """
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

    def ran_out_of_memory(self, detail: ContainerDetail) -> bool:
        """Whether a lack of memory ended it. Knows more than the description does; may take two seconds if it was
        killed, whatever by.
        """
        ...

    @property
    def keeps_log_head(self) -> bool:
        """Whether the beginning of a job's log stays, however much follows; if not, the newest part alone does."""
        ...

    def logs(self, job_id: str, *, follow: bool = False, tail: int | None = None) -> LogLines:
        """What the container printed (both streams), one line an item, without its line end, each beginning with an
        RFC 3339 UTC timestamp and a space; a line of more than 64 KiB comes in pieces (`LogPiece`) of at most that.
        With `follow` until the container exits; with `tail` from about so many lines before the present end. Where
        output is known to be missing there is a `LogGap`. No container: nothing.
        """
        ...

    def stats(self, job_ids: Iterator[str]) -> Mapping[str, Use]:
        """Job id -> what it uses, of those that run. Raises ExecutorUnavailableError."""
        ...

    def run_errand(self, name: str, spec: ContainerSpec, *, seconds: float) -> ErrandResult:
        """Run a container outside of jobs to its end, and remove it; it gets the spec's limits, user and network, but
        no directory of this machine, and its environment is not recorded.

        It is called `{name}-{owner}`; one of that name that was left is removed first. Raises ImageMissingError,
        ExecutorError if it cannot be run or does not end in so many seconds, ExecutorUnavailableError.
        """
        ...

    def end_errand(self, name: str, owner: str) -> None:
        """End and remove such a container, if it is there; who waits for it is told. Raises ExecutorUnavailableError."""
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
        """Fetch an image; yields lines of progress. Raises ExecutorError if the registry refuses it, RegistryUnreachableError."""
        ...
