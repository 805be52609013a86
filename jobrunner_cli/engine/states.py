"""The life of a job: the one table of status codes, and what follows from it.

Each code is declared once, with its state, its legend, who moves it, what may come next and what that does to the
job's times. The scheduler, the store, the partial index, the colours, the diagram in the docs and the tests all
read this table; nothing else knows which step is legal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from types import MappingProxyType
from typing import TypedDict, Unpack

from jobrunner_cli.engine.errors import IllegalTransitionError


class State(StrEnum):
    """The coarse state, which decides; the values go over the wire."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Legend(StrEnum):
    """How a code is drawn: the three moods of the legend."""

    HAPPY = "happy"
    BLOCKED = "blocked"
    ERROR = "error"


class Mover(StrEnum):
    """Who takes a job out of a code."""

    SCHEDULER = "scheduler"
    EFFECT = "effect"
    EXECUTOR = "executor"
    OPERATOR = "operator"
    NOBODY = "nobody"


class StatusCode(StrEnum):
    """Where a job is, precisely; the values are stored and go over the wire."""

    CREATED = "created"
    WAITING_ON_DEPENDENCIES = "waiting_on_dependencies"
    WAITING_ON_WORKERS = "waiting_on_workers"
    WAITING_ON_DB_WORKERS = "waiting_on_db_workers"
    WAITING_ON_REBOOT = "waiting_on_reboot"
    WAITING_DB_MAINTENANCE = "waiting_db_maintenance"
    WAITING_PAUSED = "paused"
    PREPARING = "preparing"
    PREPARED = "prepared"
    EXECUTING = "executing"
    EXECUTED = "executed"
    FINALIZING = "finalizing"
    FINALIZED = "finalized"
    SUCCEEDED = "succeeded"
    DEPENDENCY_FAILED = "dependency_failed"
    NONZERO_EXIT = "nonzero_exit"
    UNMATCHED_PATTERNS = "unmatched_patterns"
    STALE_CODELISTS = "stale_codelists"
    INTERNAL_ERROR = "internal_error"
    CANCELLED_BY_USER = "cancelled_by_user"
    KILLED_BY_ADMIN = "killed_by_admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeEntry:
    """One row of the table."""

    #: the code that this row describes
    code: StatusCode
    #: its coarse state
    state: State
    #: how it is drawn
    legend: Legend
    #: who takes a job out of it
    mover: Mover
    #: its name for people
    word: str
    #: the same in a word or two, for lists where every column counts
    short: str
    #: when a job has it, in a few words for people
    meaning: str
    #: the message of a job with it of which there is no more to say; other programs match some of these
    message: str
    #: the codes that may directly follow
    successors: frozenset[StatusCode]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeEffects:
    """What a step does to the times of a job, besides `updated_at` and `status_code_updated_at`."""

    #: `started_at` becomes the time of the step
    sets_started: bool
    #: `started_at` becomes empty
    clears_started: bool
    #: `completed_at` becomes the time of the step
    sets_completed: bool
    #: `completed_at` becomes empty
    clears_completed: bool


_C = StatusCode
_PENDING = frozenset(
    {
        _C.CREATED,
        _C.WAITING_ON_DEPENDENCIES,
        _C.WAITING_ON_WORKERS,
        _C.WAITING_ON_DB_WORKERS,
        _C.WAITING_ON_REBOOT,
        _C.WAITING_DB_MAINTENANCE,
        _C.WAITING_PAUSED,
    }
)
_ENDED_FROM_OUTSIDE = frozenset({_C.INTERNAL_ERROR, _C.CANCELLED_BY_USER, _C.KILLED_BY_ADMIN})
_FROM_PENDING = _PENDING | _ENDED_FROM_OUTSIDE | {_C.PREPARING, _C.DEPENDENCY_FAILED}
_FROM_RUNNING = _ENDED_FROM_OUTSIDE | {_C.WAITING_ON_REBOOT, _C.WAITING_DB_MAINTENANCE}
_VERDICTS = frozenset({_C.SUCCEEDED, _C.NONZERO_EXIT, _C.UNMATCHED_PATTERNS})


class _Told(TypedDict, total=False):
    """How a code is told, as far as that is not its value with blanks: see CodeEntry."""

    word: str
    short: str
    message: str


def _entry(
    code: StatusCode,
    state: State,
    legend: Legend,
    mover: Mover,
    meaning: str,
    successors: Iterable[StatusCode],
    told: _Told,
) -> tuple[StatusCode, CodeEntry]:
    value = code.value.replace("_", " ")
    word = told.get("word", value)
    return code, CodeEntry(
        code=code,
        state=state,
        legend=legend,
        mover=mover,
        word=word,
        short=told.get("short", word),
        meaning=meaning,
        message=told.get("message", value.capitalize()),
        successors=frozenset(successors) - {code},
    )


def _pending(
    code: StatusCode, legend: Legend, meaning: str, *more: StatusCode, **told: Unpack[_Told]
) -> tuple[StatusCode, CodeEntry]:
    return _entry(code, State.PENDING, legend, Mover.SCHEDULER, meaning, _FROM_PENDING | set(more), told)


def _running(
    code: StatusCode, mover: Mover, meaning: str, *following: StatusCode, **told: Unpack[_Told]
) -> tuple[StatusCode, CodeEntry]:
    return _entry(code, State.RUNNING, Legend.HAPPY, mover, meaning, _FROM_RUNNING | set(following), told)


def _succeeded(code: StatusCode, meaning: str, **told: Unpack[_Told]) -> tuple[StatusCode, CodeEntry]:
    return _entry(code, State.SUCCEEDED, Legend.HAPPY, Mover.NOBODY, meaning, (), told)


def _failed(
    code: StatusCode, meaning: str, *following: StatusCode, **told: Unpack[_Told]
) -> tuple[StatusCode, CodeEntry]:
    mover = Mover.OPERATOR if following else Mover.NOBODY
    return _entry(code, State.FAILED, Legend.ERROR, mover, meaning, following, told)


#: The table itself, in the order in which a job meets the codes.
TABLE: Mapping[StatusCode, CodeEntry] = MappingProxyType(
    dict(
        (
            _pending(
                _C.CREATED, Legend.HAPPY, "nothing has looked at it yet", _C.STALE_CODELISTS, _C.SUCCEEDED,
                short="new",
            ),
            _pending(
                _C.WAITING_ON_DEPENDENCIES, Legend.HAPPY, "a job it needs is not finished",
                word="waiting",
            ),
            _pending(
                _C.WAITING_ON_WORKERS, Legend.BLOCKED, "no worker is free",
                word="waiting for a worker", short="no worker", message="Waiting on available workers",
            ),
            _pending(
                _C.WAITING_ON_DB_WORKERS, Legend.BLOCKED, "no database worker is free",
                word="waiting for a database worker", short="no db worker",
                message="Waiting on available database workers",
            ),
            _pending(
                _C.WAITING_ON_REBOOT, Legend.BLOCKED, "put back, to be started over",
                word="to be started over", short="start over",
            ),
            _pending(
                _C.WAITING_DB_MAINTENANCE, Legend.BLOCKED, "the database is under maintenance",
                word="database maintenance", short="maintenance", message="Waiting for database maintenance to finish",
            ),
            _pending(_C.WAITING_PAUSED, Legend.BLOCKED, "the backend, the workspace or the job is paused"),
            _running(_C.PREPARING, Mover.EFFECT, "code and inputs are being laid out", _C.PREPARED, _C.EXECUTING),
            _running(_C.PREPARED, Mover.EFFECT, "laid out, about to start", _C.EXECUTING),
            _running(_C.EXECUTING, Mover.EXECUTOR, "the command runs", _C.EXECUTED, _C.FINALIZING),
            _running(_C.EXECUTED, Mover.EFFECT, "the command has ended", _C.FINALIZING),
            _running(_C.FINALIZING, Mover.EFFECT, "outputs and logs are being stored", _C.FINALIZED, *_VERDICTS),
            _running(_C.FINALIZED, Mover.EFFECT, "stored, about to be recorded", *_VERDICTS),
            _succeeded(_C.SUCCEEDED, "done", message="Completed successfully"),
            _failed(
                _C.DEPENDENCY_FAILED, "a job it needs failed",
                short="needs failed", message="Not starting as dependency failed",
            ),
            _failed(_C.NONZERO_EXIT, "the command exited with an error", short="exit error"),
            _failed(_C.UNMATCHED_PATTERNS, "an output pattern matched nothing", short="unmatched"),
            _failed(_C.STALE_CODELISTS, "the study's codelists are out of date", short="codelists"),
            _failed(
                _C.INTERNAL_ERROR, "the platform failed, or the request made no sense", _C.EXECUTED, short="internal"
            ),
            _failed(
                _C.CANCELLED_BY_USER, "the user cancelled it", short="cancelled", message="Cancelled by user"
            ),
            _failed(_C.KILLED_BY_ADMIN, "an operator killed it", short="killed", message="Killed by an administrator"),
        )
    )
)  # fmt: skip

#: Codes of jobs that are not finished.
ACTIVE_CODES: frozenset[StatusCode] = frozenset(
    code for code, entry in TABLE.items() if entry.state in {State.PENDING, State.RUNNING}
)

#: Codes after which the container and the files of a job are kept for an operator.
KEPT_CODES: frozenset[StatusCode] = frozenset({_C.INTERNAL_ERROR, _C.KILLED_BY_ADMIN})


def state_of(code: StatusCode) -> State:
    """The coarse state of a code."""
    return TABLE[code].state


def says_more(code: StatusCode, message: str | None) -> str:
    """The first line of a job's message if it says more than the words for its code do, else an empty text."""
    first = (message or "").partition("\n")[0]
    entry = TABLE[code]
    return "" if first.lower() in {code.value.replace("_", " "), entry.word, entry.message.lower()} else first


def is_legal(before: StatusCode, after: StatusCode) -> bool:
    """Whether a job may go directly from one code to the other. Staying is not a step."""
    return after in TABLE[before].successors


def require_legal(path: Sequence[StatusCode]) -> None:
    """Check that each step of a path, which starts with the present code, is legal.

    Raises IllegalTransitionError otherwise: that is a bug, and nothing of the path may be written.
    """
    for before, after in pairwise(path):
        if not is_legal(before, after):
            msg = f"no edge {before.value} -> {after.value} in path {' -> '.join(code.value for code in path)}"
            raise IllegalTransitionError(msg)


def time_effects(before: StatusCode, after: StatusCode) -> TimeEffects:
    """What the step does to the times of a job.

    Being started means having left the pending codes; a job that falls back to waiting was not started after all.
    """
    was, becomes = state_of(before), state_of(after)
    ends = becomes in {State.SUCCEEDED, State.FAILED}
    return TimeEffects(
        sets_started=was is State.PENDING and becomes is State.RUNNING,
        clears_started=was is State.RUNNING and becomes is State.PENDING,
        sets_completed=ends,
        clears_completed=was is State.FAILED and not ends,
    )


def diagram() -> str:
    """The table as a Mermaid state diagram.

    Steps that all codes of a state share are drawn once, from the state's box, so that the picture stays readable.
    """
    boxes = {state: [code for code in TABLE if state_of(code) is state] for state in (State.PENDING, State.RUNNING)}
    shared = {
        state: frozenset.intersection(*(TABLE[code].successors | {code} for code in codes)) - set(codes)
        for state, codes in boxes.items()
    }
    lines = ["stateDiagram-v2", "    [*] --> created"]
    for state, codes in boxes.items():
        lines.append(f"    state {state.value} {{")
        if state is State.PENDING:
            lines.append("        note left of created: pending codes move freely among one another")
        lines.extend(f"        {code.value}" for code in codes)
        lines.extend(
            f"        {code.value} --> {after.value}"
            for code in codes
            for after in TABLE
            if after in TABLE[code].successors and after in codes and state is State.RUNNING
        )
        lines.append("    }")
    for code, entry in TABLE.items():
        common = shared.get(entry.state, frozenset())
        inside = boxes.get(entry.state, [])
        lines.extend(
            f"    {code.value} --> {after.value}"
            for after in TABLE
            if after in entry.successors and after not in common and after not in inside
        )
    for state, common in shared.items():
        lines.extend(f"    {state.value} --> {after.value}" for after in TABLE if after in common)
    return "\n".join(lines) + "\n"
