"""Jobs that ended as INTERNAL_ERROR and are finalized again because an operator wants it (section 4)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jobrunner_cli.engine.states import TABLE, StatusCode
from jobrunner_cli.engine.store import changes, intents, queries
from jobrunner_cli.engine.work import ContainerState, Intent

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.database import Connection, Database
    from jobrunner_cli.engine.store.models import Job

STORED_AGAIN = "its outputs are being stored again"


def is_likely(settings: Settings, conn: Connection, job: Job) -> bool:
    """Whether an ended job can probably be finalized again: its files stand, and no engine is asked for its container."""
    ended_so = job.status_code is StatusCode.INTERNAL_ERROR
    return ended_so and has_left_files(settings, job) and queries.command_ran(conn, job)


def has_left_files(settings: Settings, job: Job) -> bool:
    """Whether the directory of an ended job is still there, for an operator."""
    from jobrunner_cli.engine.jobfiles.layout import JobDirectory

    return JobDirectory.of(settings.high_privacy_volume_dir, job.id).root.exists()


def refusal(job: Job, container: ContainerState | None) -> str | None:
    """Why a job that somebody wants finalized again cannot be; None if it can (pure)."""
    if job.status_code is not StatusCode.INTERNAL_ERROR:
        return f"it did not end by an internal error ({TABLE[job.status_code].word})"
    match container:
        case ContainerState.EXITED:
            return None
        case ContainerState.RUNNING:
            return "its container still runs; jobs kill --cleanup ends and removes it"
        case ContainerState.CREATED:
            return "its command was never started; retry it anew"
        case None:
            return "its container is gone; retry it anew"


def finalize_again(database: Database, job_id: str, wishes: Sequence[Intent], container: ContainerState | None) -> bool:
    """Put an ended job back to EXECUTED, the verdict on it forgotten, and answer the wishes; in one transaction.

    False if that cannot be; the answer then says why.
    """
    now_ns = time.time_ns()
    with database.transaction() as conn:
        job = queries.job_by_id(conn, job_id)
        if job is None:
            return False
        reason = refusal(job, container)
        if reason is None:
            changes.discard_verdict(conn, job_id)
            changes.advance(
                conn,
                job,
                (StatusCode.EXECUTED,),
                now_ns=now_ns,
                message="Storing outputs again",
                cause="wanted by an operator",
            )
        for wish in wishes:
            intents.answer(conn, wish.id, reason or STORED_AGAIN, now_ns // 10**9)
    return reason is None
