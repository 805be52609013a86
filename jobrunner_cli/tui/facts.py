"""Everything about one job, gathered by a thread for the pane."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobrunner_cli.engine.neighbours import Neighbourhood, neighbourhood
from jobrunner_cli.engine.output_files import OutputFile, output_files
from jobrunner_cli.engine.running.log_reading import last_words, stored_log
from jobrunner_cli.engine.running.reasons import account, culprit
from jobrunner_cli.engine.service.usage import recorded_usage
from jobrunner_cli.engine.states import KEPT_CODES, StatusCode
from jobrunner_cli.engine.store import queries
from jobrunner_cli.engine.store.run_times import usual_run_times
from jobrunner_cli.log_text import in_short

if TYPE_CHECKING:
    from jobrunner_cli.engine.running.reasons import Account
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
    #: the job to look at first: the one that has to move for it, or whose failure ended it
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
    told = account(settings, database, job)
    return Facts(
        job=job,
        outcome=outcome,
        reasons=_why(told, job.status_code),
        cause=told.cause,
        expected_start=told.expected_start,
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


def _why(told: Account, code: StatusCode) -> tuple[str, ...]:
    """Why it is where it is, a reason a line.

    What would change it is said of a failure that came from another job: of what waits, the reasons say it.
    """
    if code is StatusCode.DEPENDENCY_FAILED:
        return tuple(line for each in told.reasons for line in (each.text, each.change))
    return tuple(each.text for each in told.obstacles)
