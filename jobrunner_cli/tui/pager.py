"""The whole log of a job in the user's own pager, while the view steps aside."""

from __future__ import annotations

import os
import shlex
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from textual.app import App, SuspendNotSupported

from jobrunner_cli.engine.errors import JobrunnerError
from jobrunner_cli.tui.logfeed import shown

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.overview import Brief


def open_log(app: App[Any], settings: Settings, job: Brief | None) -> None:
    """Show what a job has printed so far in $PAGER, `less` if there is none."""
    if job is None:
        return
    command = shlex.split(os.environ.get("PAGER") or "less")
    try:
        with app.suspend():
            some = feed(settings, job.id, command)
    except SuspendNotSupported:
        app.notify("This terminal cannot step aside for a pager", severity="error")
    except FileNotFoundError:
        app.notify(f"There is no program {command[0]}: set PAGER", severity="error", markup=False)
    except JobrunnerError as error:
        app.notify(error.message, severity="error", markup=False)
    else:
        if not some:
            app.notify(f"{job.workspace}/{job.action} has printed nothing", markup=False)


def feed(settings: Settings, job_id: str, command: list[str]) -> bool:
    """Give the log of a job to a program; false if there is none. Raises FileNotFoundError and what reading a log raises."""
    from jobrunner_cli.engine.running.log_reading import read_log
    from jobrunner_cli.engine.running.session import make_executor
    from jobrunner_cli.engine.store import queries
    from jobrunner_cli.engine.store.database import Database

    with Database(settings.database_path, readonly=True, patience=5.0) as database:
        row = queries.job_by_id(database.connection, job_id)
        if row is None or row.started_at is None:
            return False
        lines = read_log(settings, database, lambda: make_executor(settings), row, follow=False)
        first = next(lines, None)
        if first is None:
            return False
        with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
            assert process.stdin is not None
            # Who leaves the pager early has seen enough.
            with suppress(BrokenPipeError), process.stdin as stream:
                stream.write(shown(first).encode("utf-8", "replace") + b"\n")
                for line in lines:
                    stream.write(shown(line).encode("utf-8", "replace") + b"\n")
    return True
