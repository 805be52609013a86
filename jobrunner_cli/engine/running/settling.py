"""What follows from the end of an effect: the next decision for its job, or when to try again (pure)."""

from __future__ import annotations

from dataclasses import dataclass

from jobrunner_cli.engine.endings import NOT_REMOVED, ended_by, started_over
from jobrunner_cli.engine.errors import (
    ContainerMissingError,
    DiskFullError,
    ExecutorUnavailableError,
    JobrunnerError,
)
from jobrunner_cli.engine.states import TABLE, StatusCode
from jobrunner_cli.engine.work import ActiveJob, Decision, EffectKind, Intent, IntentKind, Lost

_FIRST_WAIT = 0.5
_LONGEST_WAIT = 30.0
_MOST_CLEANUPS = 10

#: Effects that end or remove something: they are tried until they succeed, whatever stands in their way.
_PERSISTENT = frozenset({EffectKind.TERMINATE, EffectKind.STOP, EffectKind.HALT, EffectKind.RESET, EffectKind.CLEANUP})


@dataclass(frozen=True, slots=True, kw_only=True)
class TryAgain:
    """The same has to be tried again, after some seconds; `message` says what is in the way, if that is to be told."""

    seconds: float
    message: str | None


def is_temporary(error: Exception) -> bool:
    """Whether to wait out an error: an engine that does not answer, a disk that is full."""
    return isinstance(error, ExecutorUnavailableError | DiskFullError)


def after_success(job: ActiveJob, kind: EffectKind, cause: str) -> Decision | None:
    """The decision after an effect without a result of its own; None if the next look decides."""
    match kind:
        case EffectKind.PREPARE:
            return Decision(
                job_id=job.id, path=(StatusCode.PREPARED,), message=TABLE[StatusCode.PREPARED].message, cause="laid out"
            )
        case EffectKind.START:
            return Decision(
                job_id=job.id,
                path=(StatusCode.EXECUTING,),
                message=TABLE[StatusCode.EXECUTING].message,
                cause="started",
            )
        case EffectKind.TERMINATE | EffectKind.STOP:
            return ended_by(job, _wish(job, kind), effect=None)
        case EffectKind.RESET:
            return started_over(job, cause)
        case _:
            return None


def after_loss(job: ActiveJob, lost: Lost) -> Decision:
    """The decision for a job whose container's end says nothing."""
    return Decision(job_id=job.id, effect=EffectKind.RESET, cause=lost.reason)


def after_failure(job: ActiveJob, kind: EffectKind, error: Exception, attempts: int) -> Decision | TryAgain | None:
    """What follows from an effect that raised.

    `attempts` counts the failures in a row, this one included. None: nothing follows, the next look decides.
    """
    if kind in _PERSISTENT or is_temporary(error):
        seconds = min(_FIRST_WAIT * 2 ** (attempts - 1), _LONGEST_WAIT)
        # Ahead of its turn a job waits for something else, and what it says stays true when the trouble is over.
        message = None if kind is EffectKind.PROVISION else f"Trying again soon: {error}"
        return TryAgain(seconds=seconds, message=message)
    if kind is EffectKind.PROVISION:
        # Preparing meets the same trouble and says so.
        return None
    if kind is EffectKind.START and isinstance(error, ContainerMissingError):
        return after_loss(job, Lost(reason="its container disappeared"))
    return Decision(
        job_id=job.id, path=(StatusCode.INTERNAL_ERROR,), message=_internal_error(error), cause=f"{kind.value} failed"
    )


def after_failure_of_cleanup(error: Exception, attempts: int) -> TryAgain | None:
    """What follows when an ended job's leftovers cannot be removed; None: the next runner's start takes them up."""
    if not is_temporary(error) or attempts > _MOST_CLEANUPS:
        return None
    return TryAgain(seconds=min(_FIRST_WAIT * 2 ** (attempts - 1), _LONGEST_WAIT), message=str(error))


def not_removed(error: Exception) -> str:
    """The answer to a clean-up that is given up."""
    return f"{NOT_REMOVED}: {error}"


def is_expected(error: Exception) -> bool:
    """Whether an error is one of the program's own kinds, for which a line in the log is enough."""
    return isinstance(error, JobrunnerError)


def _internal_error(error: Exception) -> str:
    """What the user is told: the platform's own errors in full, of a bug nothing but that it is one."""
    if not isinstance(error, JobrunnerError):
        return "Internal error: this is not the study's fault; the runner's log has the details"
    hint = f" ({error.hint})" if error.hint else ""
    return f"Internal error: {error.message}{hint}"


def _wish(job: ActiveJob, kind: EffectKind) -> Intent:
    """The intent that the effect carried out; one that is gone by now still counts."""
    stops = [intent for intent in job.intents if intent.kind in {IntentKind.CANCEL, IntentKind.KILL}]
    if stops:
        return stops[0]
    return Intent(id=0, kind=IntentKind.KILL if kind is EffectKind.STOP else IntentKind.CANCEL, job_id=job.id)
