"""The decisions that end a job because somebody wants it, or start it over because its container was lost (pure)."""

from __future__ import annotations

from jobrunner_cli.engine.states import TABLE, StatusCode
from jobrunner_cli.engine.work import ActiveJob, Decision, EffectKind, Intent, IntentKind

#: How often a job is started over after its container was lost, before it is given up (section 2).
MOST_RESTARTS = 3

#: The intents that end a job.
STOPS = frozenset({IntentKind.CANCEL, IntentKind.KILL})

ALREADY_FINISHED = "already finished"
#: What an answer to a clean-up that failed begins with.
NOT_REMOVED = "what it left cannot be removed"


def ended_by(job: ActiveJob, wish: Intent, *, effect: EffectKind | None) -> Decision:
    """The decision that ends a job because somebody wanted it, answering its open intents.

    A clean-up that is still to come is answered when it is done.
    """
    cancelled = wish.kind is IntentKind.CANCEL
    code = StatusCode.CANCELLED_BY_USER if cancelled else StatusCode.KILLED_BY_ADMIN
    return Decision(
        job_id=job.id,
        path=(code,),
        message=TABLE[code].message,
        cause=wish.kind.value,
        effect=effect,
        answered={intent.id: "done" for intent in job.intents if effect is None or intent.kind in STOPS},
        cancelled=cancelled,
    )


def started_over(job: ActiveJob, reason: str) -> Decision:
    """The decision after a job's container was lost: wait to be started over, or give up (section 2)."""
    if reason == "database maintenance":
        return Decision(
            job_id=job.id,
            path=(StatusCode.WAITING_DB_MAINTENANCE,),
            message=TABLE[StatusCode.WAITING_DB_MAINTENANCE].message,
            cause=reason,
        )
    if job.restarts >= MOST_RESTARTS:
        return Decision(
            job_id=job.id,
            path=(StatusCode.INTERNAL_ERROR,),
            message=f"Internal error: {reason}, after it had been started over {MOST_RESTARTS} times",
            cause=reason,
        )
    return Decision(
        job_id=job.id,
        path=(StatusCode.WAITING_ON_REBOOT,),
        message=f"Waiting to be started over: {reason}",
        cause=reason,
        counts_restart=True,
    )
