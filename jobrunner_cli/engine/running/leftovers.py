"""What stands on disk, whoever's it is, the directories of jobs and of workspaces; and what of it may go."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from jobrunner_cli.engine.states import KEPT_CODES, State, state_of

if TYPE_CHECKING:
    from jobrunner_cli.engine.running.board import Board
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.models import Job

_PREFIX = "os-job-"


def leftovers(settings: Settings) -> list[str]:
    """The ids of jobs that have a directory."""
    try:
        with os.scandir(settings.high_privacy_volume_dir) as entries:
            return [entry.name[len(_PREFIX) :] for entry in entries if entry.name.startswith(_PREFIX)]
    except FileNotFoundError:
        return []


def ended_with_leftovers(board: Board, found: Iterable[str]) -> list[Job]:
    """The ended jobs among those with a directory or a container whose things are not kept for an operator.

    Waiting jobs that have some are remembered as provisioned.
    """
    leave: list[Job] = []
    for job_id in sorted(set(found)):
        job = board.jobs.get(job_id)
        if job is not None:
            board.track(job_id).has_leftovers = state_of(job.status_code) is State.PENDING
            continue
        job = board.rows.one(job_id)
        if job is None or (job.status_code in KEPT_CODES and job.started_at is not None):
            continue
        if state_of(job.status_code) in {State.SUCCEEDED, State.FAILED}:
            leave.append(job)
    return leave


def workspaces_on_disk(settings: Settings) -> list[str]:
    """The names of the workspaces that have a directory in a privacy store, sorted; our own names begin with a dot."""
    names: set[str] = set()
    for base in (settings.high_privacy_storage_base, settings.medium_privacy_storage_base):
        try:
            with os.scandir(base / "workspaces") as entries:
                names.update(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())
        except FileNotFoundError:
            continue
    return sorted(names)
