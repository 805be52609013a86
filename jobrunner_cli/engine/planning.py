"""Planning: a job request, a pipeline and what the workspace has already give the jobs to make. Pure.

Nothing here reads a clock, a file, git or the table, so the same question always has the same answer, and a dry run
shows exactly what a real one would insert. The rules are those of section 3.
"""

from __future__ import annotations

import base64
import difflib
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from jobrunner_cli.engine.errors import JobRequestError, UnknownActionError
from jobrunner_cli.engine.states import State
from jobrunner_cli.engine.study.pipeline import RUN_ALL, Pipeline
from jobrunner_cli.engine.work import JobRequest, quote_names

#: The longest part of a name from outside that a message repeats, in characters.
_LONGEST_NAME = 100

#: What people put between names in one word.
_SEPARATORS = re.compile(r"[,;\s]+")

_UNDER_WAY = frozenset({State.PENDING, State.RUNNING})


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestJob:
    """The most recent job of an action in the workspace: all that planning needs to know of the past."""

    id: str
    action: str
    state: State
    #: paths of recorded outputs that are not in the high privacy store any more
    missing_outputs: tuple[str, ...] = ()

    @property
    def outputs_present(self) -> bool:
        """Whether everything that the job recorded is still there."""
        return not self.missing_outputs

    @property
    def under_way(self) -> bool:
        """Whether it is pending or running, and so awaited instead of run again."""
        return self.state in _UNDER_WAY


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedJob:
    """A job that does not exist yet."""

    id: str
    action: str
    #: why it runs, for people
    reason: str
    #: the actions whose outputs it gets, as written in project.yaml
    needs: tuple[str, ...]
    #: ids of the pending or running jobs of its needs, old and new, in the order of `needs`
    wait_for: tuple[str, ...]
    requires_db: bool
    #: privacy level -> output id -> pattern
    outputs: Mapping[str, Mapping[str, str]]
    #: image and arguments; for a reusable action, that action's name and arguments
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """An action that was looked at and gets no new job."""

    action: str
    #: why, for people
    reason: str
    #: the job that stands in for a new one
    job_id: str
    #: it has not ended yet
    under_way: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a request amounts to in a workspace as it stands."""

    #: needs before dependants
    new: tuple[PlannedJob, ...]
    skipped: tuple[Skipped, ...]
    #: set exactly when `new` is empty: why that is as it should be
    nothing_to_do: str | None


def job_id(job_request_id: str, action: str) -> str:
    """The id of the job of an action of a request: 16 lower-case letters and digits, always the same (section 3)."""
    digest = hashlib.sha1(f"{job_request_id}\n{action}".encode("utf-8", "surrogatepass"), usedforsecurity=False)
    return base64.b32encode(digest.digest()[:10]).decode("ascii").lower()


def plan(request: JobRequest, pipeline: Pipeline, latest: Mapping[str, LatestJob], *, dummy_data: bool) -> Plan:
    """Which jobs the request makes, given the latest job of each action (action -> job) of its workspace.

    An action that need not run ends the walk there: its own needs are of no interest to the request.
    Raises JobRequestError if nothing is requested, and UnknownActionError.
    """
    starts = _starts(request.requested_actions, pipeline)
    named = frozenset(request.requested_actions) - {RUN_ALL}

    def reason_to_run(action: str) -> str | None:
        return _reason_to_run(action, latest.get(action), named=named, forced=request.force_run_dependencies)

    new: dict[str, PlannedJob] = {}
    skipped: dict[str, Skipped] = {}
    for action, because in _walk(starts, pipeline, reason_to_run):
        reason = reason_to_run(action)
        if reason is None:
            skipped[action] = _skipped(latest[action])
            continue
        if action not in named:
            reason = f"{because}, {reason}"
        new[action] = _planned(request, pipeline, action, reason, new, latest, dummy_data=dummy_data)
    nothing = None if new else _nothing_to_do(request, skipped.values(), latest)
    return Plan(new=tuple(new.values()), skipped=tuple(skipped.values()), nothing_to_do=nothing)


def _starts(requested: Sequence[str], pipeline: Pipeline) -> list[tuple[str, str]]:
    """The actions to begin the walk with, in order, each with why."""
    if not requested:
        msg = f"the request names no action; name at least one, or {RUN_ALL} for every action of the file"
        raise JobRequestError(msg)
    unknown = [name for name in dict.fromkeys(requested) if name != RUN_ALL and name not in pipeline.actions]
    if unknown:
        raise _unknown_actions(unknown, pipeline)
    starts: list[tuple[str, str]] = []
    for name in requested:
        if name == RUN_ALL:
            starts.extend((action, f"part of {RUN_ALL}") for action in pipeline.all_actions)
        else:
            starts.append((name, "requested by name"))
    return starts


def _unknown_actions(unknown: Sequence[str], pipeline: Pipeline) -> UnknownActionError:
    """The error that names what is unknown, what was perhaps meant, and what there is."""
    valid = [RUN_ALL, *pipeline.all_actions]
    shown = quote_names([_shown(name) for name in unknown])
    noun = "action" if len(unknown) == 1 else "actions"
    close = {name: difflib.get_close_matches(name[:_LONGEST_NAME], valid, n=1) for name in unknown[:3]}
    guesses = list(dict.fromkeys(guess for found in close.values() for guess in found))
    meant = f"; did you mean {' and '.join(repr(guess) for guess in guesses)}?" if guesses else "."
    message = f"project.yaml has no {noun} {shown}{meant} Valid actions are: {', '.join(valid)}"
    hint = "project.yaml is read as it is in the commit: is the action committed?"
    run_together = [parts for name in unknown if len(parts := _SEPARATORS.split(name[:_LONGEST_NAME])) > 1]
    if any(set(parts) <= set(valid) for parts in run_together):
        hint = "separate the names of actions with spaces, each a word of its own"
    return UnknownActionError(message, hint=hint)


def _shown(name: str) -> str:
    """A name from outside, fit for one line of a message."""
    return repr(name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…")


def _walk(
    starts: Iterable[tuple[str, str]], pipeline: Pipeline, reason_to_run: Callable[[str], str | None]
) -> Iterator[tuple[str, str]]:
    """Every action that is reached, once, needs before dependants, each with why it was reached.

    The needs of an action that does not run are not walked: its outputs are there or on their way, whatever became of
    those it was made from. A stack instead of recursion: a chain of needs may be longer than Python's stack.
    """
    seen: set[str] = set()
    stack: list[tuple[str, str, Iterator[str]]] = []

    def enter(action: str, because: str) -> None:
        seen.add(action)
        needs = pipeline.actions[action].needs if reason_to_run(action) is not None else ()
        stack.append((action, because, iter(needs)))

    for start, why in starts:
        if start not in seen:
            enter(start, why)
        while stack:
            action, because, needs = stack[-1]
            following = next((need for need in needs if need not in seen), None)
            if following is None:
                stack.pop()
                yield action, because
            else:
                enter(following, f"needed by {action}")


def _reason_to_run(action: str, last: LatestJob | None, *, named: frozenset[str], forced: bool) -> str | None:
    """Why the action gets a new job; None if its latest one will do."""
    if last is not None and last.under_way:
        return None
    if action in named:
        return "requested by name"
    if last is None:
        return "not succeeded in this workspace yet"
    if last.state is State.FAILED:
        return "failed last time"
    if forced:
        return "forced to run again"
    if not last.outputs_present:
        return f"its recorded output {quote_names(last.missing_outputs)} is gone"
    return None


def _skipped(last: LatestJob) -> Skipped:
    reason = f"already under way ({last.state.value})" if last.under_way else "has succeeded, and its outputs are there"
    return Skipped(action=last.action, reason=reason, job_id=last.id, under_way=last.under_way)


def _planned(
    request: JobRequest,
    pipeline: Pipeline,
    action: str,
    reason: str,
    new: Mapping[str, PlannedJob],
    latest: Mapping[str, LatestJob],
    *,
    dummy_data: bool,
) -> PlannedJob:
    """The new job of an action whose needs have all been looked at."""
    spec = pipeline.actions[action]
    wait_for: list[str] = []
    for need in dict.fromkeys(spec.needs):
        if need in new:
            wait_for.append(new[need].id)
        elif latest[need].under_way:
            wait_for.append(latest[need].id)
    return PlannedJob(
        id=job_id(request.id, action),
        action=action,
        reason=reason,
        needs=tuple(spec.needs),
        wait_for=tuple(wait_for),
        requires_db=spec.is_database_action,
        outputs=spec.outputs,
        command=spec.command(dummy_data=dummy_data),
    )


def _nothing_to_do(request: JobRequest, skipped: Iterable[Skipped], latest: Mapping[str, LatestJob]) -> str:
    """Why a request without new jobs is a success (section 3)."""
    under_way = {latest[one.action].under_way for one in skipped}
    if not under_way:
        return "Nothing to do: project.yaml has no actions"
    if under_way == {True}:
        what = "every action" if RUN_ALL in request.requested_actions else "everything requested"
        return f"Nothing to do: {what} is already under way"
    if under_way == {False}:
        return "Nothing to do: every action has already succeeded"
    return "Nothing to do: every action has already succeeded or is under way"
