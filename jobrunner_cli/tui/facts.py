"""Everything about one job, gathered by a thread for the pane."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobrunner_cli.engine.neighbours import Neighbourhood, neighbourhood
from jobrunner_cli.engine.output_files import OutputFile, output_files
from jobrunner_cli.engine.running.log_reading import last_words, stored_log
from jobrunner_cli.engine.running.reasons import account, culprit, reasons
from jobrunner_cli.engine.service.usage import recorded_usage
from jobrunner_cli.engine.states import ACTIVE_CODES, KEPT_CODES, State, StatusCode, state_of
from jobrunner_cli.engine.store import queries
from jobrunner_cli.engine.store.run_times import usual_run_times
from jobrunner_cli.log_text import in_short

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.database import Database
    from jobrunner_cli.engine.store.models import HistoryEntry, Job
    from jobrunner_cli.engine.work import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything about one job."""

    job: Job
    #: None before it has a verdict
    outcome: Outcome | None
    #: why it waits, or which job's failure ended it, one reason a line
    reasons: tuple[str, ...]
    #: the job that has to move first for it, or whose failure ended it
    cause: str | None
    #: seconds until it may start, going by earlier runs; None where nobody can tell
    expected_start: float | None
    #: seconds that the last runs of its action took; None where there was none
    usual: float | None
    history: tuple[HistoryEntry, ...]
    #: id, workspace/action and code of each job that it waits for
    awaited: tuple[tuple[str, str, StatusCode], ...]
    around: Neighbourhood
    #: its samples, as the table of metrics has them
    usage: dict[str, Any]
    log: Path | None
    #: what it printed last, if it failed, or the job whose failure ended it, a line each
    last_words: tuple[str, ...]
    #: the directory that an ended job left to the operator
    kept: Path | None
    #: its outputs by their paths, where they are, and the newer job of the action that may have replaced them
    files: tuple[OutputFile, ...]
    outputs_in: Path
    newer: str | None


def gather(settings: Settings, database: Database, job_id: str) -> Facts | None:
    """Everything about a job; None if there is none. Raises what the database raises."""
    from jobrunner_cli.engine.jobfiles.layout import JobDirectory

    conn = database.connection
    job = queries.job_by_id(conn, job_id)
    if job is None:
        return None
    awaited = queries.jobs_by_ids(conn, job.wait_for_job_ids)
    outcome = queries.result_of(conn, job.id)
    latest = queries.last_recorded_outputs(conn, job.workspace, job.action) if job.outputs else None
    left = JobDirectory.of(settings.high_privacy_volume_dir, job.id).root
    reasons, cause, expected_start = _reasons(settings, database, job)
    return Facts(
        job=job,
        outcome=outcome,
        reasons=reasons,
        cause=cause,
        expected_start=expected_start,
        usual=usual_run_times(conn, [(job.workspace, job.action)]).get((job.workspace, job.action)),
        history=tuple(queries.history_of(conn, job.id)),
        awaited=tuple((one.id, f"{one.workspace}/{one.action}", one.status_code) for one in awaited.values()),
        around=neighbourhood(conn, job),
        usage=recorded_usage(settings.metrics_path, [job.id]).get(job.id, {}),
        log=stored_log(settings, job),
        last_words=tuple(map(in_short, last_words(settings, culprit(database, job)))),
        kept=left if job.status_code in KEPT_CODES and left.exists() else None,
        files=tuple(output_files(settings, job, outcome)),
        outputs_in=settings.high_workspace(job.workspace),
        newer=latest.job_id if latest is not None and latest.job_id != job.id else None,
    )


def _reasons(settings: Settings, database: Database, job: Job) -> tuple[tuple[str, ...], str | None, float | None]:
    """Why it is where it is, a reason a line; the job that is the cause; and when it may start.

    What would change it is said of a failure that came from another job: of what waits, the reasons say it.
    """
    ended = job.status_code not in ACTIVE_CODES
    if state_of(job.status_code) is not State.PENDING and job.status_code is not StatusCode.DEPENDENCY_FAILED:
        return tuple(reasons(settings, database, job)), None, None
    told = account(settings, database, job)
    lines = [line for each in told.reasons for line in ((each.text, each.change) if ended else (each.text,))]
    causes = [each.job_ids[-1] for each in told.reasons if each.job_ids]
    return tuple(lines), next(iter(causes), None), told.expected_start
