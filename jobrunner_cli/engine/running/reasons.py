"""Why a waiting job waits, asked of the table from outside the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobrunner_cli.engine.explaining import explain
from jobrunner_cli.engine.running.board import Board
from jobrunner_cli.engine.store.locks import holder_pid
from jobrunner_cli.engine.weights import load_weights

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.database import Database
    from jobrunner_cli.engine.store.models import Job


def reasons(settings: Settings, database: Database, job: Job) -> list[str]:
    """Why an unfinished job is where it is, one reason a line; nothing for a finished one."""
    board = Board(database, settings, load_weights(settings.job_resource_weights))
    board.look()
    view = board.view(job.id)
    if view is None:
        return []
    found = explain(view, board.views(), board.world(None, draining=False))
    if holder_pid(settings.runner_lock_path) is None:
        found.append(f"no runner is at work on {settings.workdir}: jobrunner run starts one")
    return found
