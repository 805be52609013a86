"""What is passed around between the rooms: requests, definitions, outcomes, decisions.

Frozen values only; nothing here reads a clock, a file or the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import Any, Protocol

from jobrunner_cli.engine.states import State, StatusCode, state_of

#: The privacy levels of outputs, from the strictest; where patterns overlap, the later level wins (section 5).
PRIVACY_LEVELS = ("highly_sensitive", "moderately_sensitive", "minimally_sensitive")

#: The kinds of files that people who check outputs can read: the only ones that reach the medium privacy store.
REVIEWABLE_SUFFIXES = (".csv", ".jpg", ".jpeg", ".png", ".svg", ".svgz", ".html", ".txt", ".log", ".json", ".md")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """Run these actions of this commit of this repository in this workspace."""

    #: the identifier that the job-server or `add-job` gave it
    id: str
    #: a URL, or an absolute path of a local repository
    repo_url: str
    #: full 40-hex SHA
    commit: str
    branch: str
    requested_actions: tuple[str, ...]
    cancelled_actions: tuple[str, ...]
    workspace: str
    codelists_ok: bool
    database_name: str
    force_run_dependencies: bool
    #: the request as received, saved beside its jobs
    original: Mapping[str, Any]


class EntryKind(StrEnum):
    """What an entry of a commit's tree is."""

    FILE = "file"
    EXECUTABLE = "executable"
    LINK = "link"
    SUBMODULE = "submodule"


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeEntry:
    """One entry of a commit's tree, directories left out."""

    #: path below the root of the tree, `/` between components, as the bytes that git has
    path: bytes
    kind: EntryKind
    #: bytes of content; 0 for a submodule
    size: int
    #: the content (a link's is its target), to be consumed before the next entry is asked for
    chunks: Iterator[bytes]


class CodeTree(Protocol):
    """A commit's tree that can be read again and again."""

    @property
    def commit(self) -> str:
        """The full SHA of the commit."""
        ...

    def read(self) -> Iterator[TreeEntry]:
        """Every entry, in git's order. Raises GitError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFile:
    """A file of the workspace that a job gets laid out."""

    #: path below the workspace's directory and below the working copy
    path: str
    #: the action whose job recorded it
    action: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDefinition:
    """All that is needed to run one job, fixed when it starts."""

    id: str
    job_request_id: str
    workspace: str
    action: str
    #: the study's repository and commit
    repo_url: str
    commit: str
    #: those of the code that runs: the action's own for a reusable action, else the study's
    code_repo_url: str
    code_commit: str
    #: full image name, registry included
    image: str
    #: what the image is given to run, without the image's own name
    args: tuple[str, ...]
    #: variables of the container; may hold secrets
    env: Mapping[str, str] = field(repr=False)
    requires_db: bool
    database_name: str | None
    #: privacy level -> output id -> pattern
    output_spec: Mapping[str, Mapping[str, str]]
    #: the actions whose outputs are inputs
    needs: tuple[str, ...]
    cpu_count: float
    #: bytes
    memory_limit: int
    #: whole UNIX seconds
    created_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """One container, as an executor is asked to create it."""

    job_id: str
    workspace: str
    action: str
    image: str
    args: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    #: directories on the machine that runs the job: the working copy (`/workspace`) and the temporary one (`/tmp`)
    work_dir: str
    tmp_dir: str
    #: a file on the same machine with the names that a container without a network knows (`/etc/hosts`)
    hosts_file: str
    #: beside the working copy, out of the job's reach; for executors that keep files of their own per job
    control_dir: str
    #: user and group ids of the process in the container
    user: tuple[int, int]
    cpu_count: float
    #: bytes; no swap beyond it
    memory_limit: int
    #: the most processes at once
    process_limit: int
    #: the network's name; None is no network at all
    network: str | None
    #: name servers, and extra names with their addresses; only for jobs with a network
    dns: tuple[str, ...] = ()
    extra_hosts: Mapping[str, str] = field(default_factory=dict)
    #: the id of the work directory, carried as a label
    owner: str


class ContainerState(StrEnum):
    """The state of a container, as far as the runner cares."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerDetail:
    """One container, inspected. Times are UNIX seconds by the engine's clock."""

    job_id: str
    state: ContainerState
    #: None while it has not exited
    exit_code: int | None
    #: the kernel killed it for memory (only together with exit code 137)
    out_of_memory: bool
    started_at: float | None
    finished_at: float | None
    #: the image's content id, `sha256:…`
    image_id: str | None
    #: the engine's own description, environment values masked
    metadata: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredOutput:
    """One output file, as recorded in the manifest (section 5)."""

    #: path below the workspace's directory
    path: str
    level: str
    #: bytes
    size: int
    #: modification time, UNIX seconds
    timestamp: float
    #: SHA-256, lower-case hex
    content_hash: str
    #: held back from the medium privacy store, and why
    excluded: bool = False
    message: str | None = None
    #: counted for moderately sensitive CSV files
    row_count: int | None = None
    col_count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedOutputs:
    """What the row of an ended job says of the outputs that it stored."""

    job_id: str
    job_request_id: str
    action: str
    #: those of the code that ran
    repo: str
    commit: str
    #: path -> privacy level
    levels: Mapping[str, str]
    #: path -> why it was held back from the medium privacy store
    held_back: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryWanted:
    """The manifest of a workspace lacks outputs that are there: it has to be completed from the rows of its jobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a job's command ended and what becomes of its files: the verdict, stored before anything is published."""

    #: SUCCEEDED, NONZERO_EXIT or UNMATCHED_PATTERNS
    code: StatusCode
    message: str
    #: what to do about it, and where somebody reads on who does not read the job's log already
    advice: str | None
    pointer: str | None
    exit_code: int
    image_id: str | None
    outputs: tuple[StoredOutput, ...]
    #: patterns that matched nothing
    unmatched_patterns: tuple[str, ...]
    #: files that the job made and no pattern matched
    unmatched_outputs: tuple[str, ...]
    #: path -> why it was not taken (a link to the outside, a device, …)
    refused: Mapping[str, str]
    #: UNIX seconds at which finalization began; it names the month of the log's directory
    finalized_at: int
    #: the engine's description of the container, masked
    container_metadata: Mapping[str, Any] = field(repr=False)

    @property
    def hint(self) -> str | None:
        """What to do about it and where to read on, for everywhere but the log."""
        return "; ".join(filter(None, (self.advice, self.pointer))) or None

    @property
    def held_back(self) -> dict[str, str]:
        """Path -> reason of each output that the checks keep out of the medium privacy store."""
        return {output.path: output.message or "" for output in self.outputs if output.excluded}

    @property
    def levels(self) -> dict[str, str]:
        """Path -> privacy level of each output."""
        return {output.path: output.level for output in self.outputs}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A container whose end says nothing about the command: it is gone, or its engine went down under it."""

    reason: str


class IntentKind(StrEnum):
    """What somebody other than the loop wants of a job."""

    CANCEL = "cancel"
    KILL = "kill"
    #: remove what an ended job left
    CLEANUP = "cleanup"
    #: finalize a job again that ended as INTERNAL_ERROR
    RETRY = "retry"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A wish, written by a command or by sync, answered by the loop."""

    id: int
    kind: IntentKind
    job_id: str


class EffectKind(StrEnum):
    """What can be done for a job outside the table. One is in flight per job at most; each may be repeated."""

    #: lay out the code and create the container of a job that still waits
    PROVISION = "provision"
    #: lay out everything and create the container
    PREPARE = "prepare"
    START = "start"
    #: match, check, hash and stage the outputs
    FINALIZE = "finalize"
    #: put in place what the stored verdict says
    PUBLISH = "publish"
    #: end the container, keep its log, remove container and files
    TERMINATE = "terminate"
    #: end the container and leave it and the files to the operator
    STOP = "stop"
    #: end the container of a job that takes up too much disk or time; its outputs are stored as a failed command's
    HALT = "halt"
    #: end and remove the container and the files, to start over
    RESET = "reset"
    #: remove what an ended job left
    CLEANUP = "cleanup"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveJob:
    """An unfinished job as the scheduler sees it: its row, its open intents, and what is in flight for it."""

    id: str
    workspace: str
    action: str
    code: StatusCode
    requires_db: bool
    #: the job may reach the real database (false on dummy data)
    uses_real_database: bool
    wait_for: tuple[str, ...]
    needs: tuple[str, ...]
    #: whole UNIX seconds
    created_at: int
    #: its place among the rows, which tells the older one of jobs that were made within the same second
    number: int = 0
    #: UNIX seconds since which the code has not changed, or since which capacity holds it up, under either code
    code_since: float
    #: worker units
    weight: Fraction = Fraction(1)
    #: how often it was started over because its container was lost
    restarts: int = 0
    intents: tuple[Intent, ...] = ()
    #: the verdict is stored: from here on only forward
    verdict_stored: bool = False
    #: the effect that is at work on it
    in_flight: EffectKind | None = None
    #: monotonic seconds at which its last effect ended, and at which its container began to be started
    effect_ended_at: float | None = None
    start_began_at: float | None = None
    #: monotonic seconds before which nothing is tried again
    not_before: float | None = None
    #: its code is laid out and its container created ahead of its turn
    provisioned: bool = False
    #: it takes up more disk than it may: why it is to be ended
    overuse: str | None = None
    #: seconds that its command may run; None is no limit
    time_limit: float | None = None
    #: what its row says to people
    message: str | None = None

    @property
    def state(self) -> State:
        """The coarse state."""
        return state_of(self.code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What happens next to one job: a path of legal edges, at most one effect, and the intents it answers."""

    job_id: str
    #: codes to pass through, the present one left out; empty if the code stays
    path: tuple[StatusCode, ...] = ()
    #: the new status message; None leaves it
    message: str | None = None
    #: why, for the history
    cause: str = ""
    effect: EffectKind | None = None
    #: intent id -> the answer
    answered: Mapping[int, str] = field(default_factory=dict)
    #: the job is marked as cancelled (`cancelled` in its row)
    cancelled: bool = False
    #: the job counts as started over once more
    counts_restart: bool = False


def quote_names(names: Sequence[str], most: int = 3) -> str:
    """Some names for a message: the first few, and how many more there are."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def size_text(count: int) -> str:
    """Bytes for a message, in the largest unit that they fill."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:g} {unit}"
    return f"{count} bytes"
