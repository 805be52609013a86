"""How a job is shown in a list: as a row of a table, and as JSON."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from jobrunner_cli import output, theme
from jobrunner_cli.engine.states import State, says_more, state_of

if TYPE_CHECKING:
    from jobrunner_cli.engine.store.models import Job

_SHORT_ID = 8

#: The keys of a job, as `as_dict` gives them.
JOB_KEYS = (
    "id",
    "job_request_id",
    "workspace",
    "action",
    "state",
    "status_code",
    "status_message",
    "repo_url",
    "commit",
    "run_command",
    "requires_db",
    "database_name",
    "needs",
    "wait_for",
    "created_at",
    "started_at",
    "completed_at",
    "updated_at",
)


def columns(*, utc: bool = False) -> list[output.Column]:
    """The columns of `jobs ls`; with `utc`, the times themselves stand in place of ages."""
    now = time.time()
    if utc:
        times = [
            output.Column(title="CREATED", value=lambda job: output.utc(job.created_at) or "", yields=6),
            output.Column(title="STARTED", value=lambda job: output.utc(job.started_at) or "", optional=True, yields=3),
            output.Column(title="ENDED", value=lambda job: output.utc(job.completed_at) or "", optional=True, yields=2),
        ]
    else:
        times = [
            output.Column(title="AGE", value=lambda job: output.ago(job.created_at, now), right=True, yields=6),
            output.Column(title="TIME", value=lambda job: run_time(job, now), right=True, optional=True, yields=7),
        ]
    return [
        output.Column(title="", value=lambda job: output.glyph(job.status_code), style=_style, ornament=True),
        output.Column(title="ID", value=lambda job: job.id, yields=3, least=_SHORT_ID, prefix=True),
        output.Column(
            title="WORKSPACE", value=lambda job: job.workspace, yields=4, least=16, further=((8, 9), (10, 4))
        ),
        output.Column(title="ACTION", value=lambda job: job.action, yields=5, least=20, further=((9, 12), (11, 6))),
        output.Column(title="STATE", value=lambda job: theme.word(job.status_code), style=_style, yields=12, least=6),
        *times,
        output.Column(title="DB", value=_database, optional=True, yields=1),
        output.Column(title="AGAIN", value=_restarts, optional=True, right=True, yields=1),
        output.Column(title="MESSAGE", value=_message, optional=True, yields=1),
    ]


def _style(job: Job) -> str:
    return theme.style(job.status_code)


def _database(job: Job) -> str:
    return (job.database_name or "yes") if job.requires_db else ""


def _restarts(job: Job) -> str:
    """How often a job was started over."""
    return f"{job.restarts}x" if job.restarts else ""


def _message(job: Job) -> str:
    """The first line of what is said of a job, unless its state says the same."""
    if state_of(job.status_code) is State.SUCCEEDED and not job.level4_excluded_files:
        return ""
    return says_more(job.status_code, job.status_message)


def run_time(job: Job, now: float) -> str:
    """How long a job has run, or ran."""
    return output.duration((job.completed_at or now) - job.started_at) if job.started_at is not None else ""


def as_dict(job: Job) -> dict[str, Any]:
    """A job with stable keys, as `--json` gives it."""
    return {
        "id": job.id,
        "job_request_id": job.job_request_id,
        "workspace": job.workspace,
        "action": job.action,
        "state": state_of(job.status_code).value,
        "status_code": job.status_code.value,
        "status_message": job.status_message,
        "repo_url": job.repo_url,
        "commit": job.commit,
        "run_command": job.run_command,
        "requires_db": job.requires_db,
        "database_name": job.database_name,
        "needs": list(job.requires_outputs_from),
        "wait_for": list(job.wait_for_job_ids),
        "created_at": output.utc(job.created_at),
        "started_at": output.utc(job.started_at),
        "completed_at": output.utc(job.completed_at),
        "updated_at": output.utc(job.updated_at),
    }
