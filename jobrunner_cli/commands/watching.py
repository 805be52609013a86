"""Watching a list of jobs: a picture that repaints itself on a terminal, else a line for each change."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from jobrunner_cli import output
from jobrunner_cli.commands import job_view
from jobrunner_cli.engine.states import State, state_of
from jobrunner_cli.engine.store import queries

if TYPE_CHECKING:
    from jobrunner_cli.engine.store.database import Database
    from jobrunner_cli.engine.store.models import Job

#: Seconds between two looks at whether another process has committed, and between repaints for the sake of the clocks.
_LOOK_INTERVAL = 0.1
_REPAINT_INTERVAL = 1.0
_STATES = (State.RUNNING, State.PENDING, State.FAILED, State.SUCCEEDED)
#: ECMA-48: the terminal's other screen, the cursor away; and both back.
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


def can_repaint() -> bool:
    """Whether stdout is a terminal that can move its cursor."""
    return sys.stdout.isatty() and os.environ.get("TERM", "") not in {"", "dumb"}


def repaint(
    database: Database, find: Callable[[], Sequence[Job]], columns: Callable[[], list[output.Column]], most: int | None
) -> None:
    """Show the jobs on the whole terminal, anew after every change and every second, until interrupted.

    Of more than `most`, so many are shown.
    """
    jobs: Sequence[Job] = ()
    version, painted = None, 0.0
    sys.stdout.write(_ENTER)
    try:
        while True:
            now = database.connection.data_version()
            if now != version or time.monotonic() - painted >= _REPAINT_INTERVAL:
                if now != version:
                    version, jobs = now, find()
                painted = time.monotonic()
                _paint(jobs[:most], columns(), more=len(jobs) > len(jobs[:most]))
            time.sleep(_LOOK_INTERVAL)
    finally:
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()


def _paint(jobs: Sequence[Job], columns: list[output.Column], *, more: bool) -> None:
    width, height = shutil.get_terminal_size()
    room = max(height - 2, 1)
    title = f"{_counts(jobs, more=more)}, {time.strftime('%H:%M:%S')}; Ctrl-C leaves"
    if len(jobs) > room - 1:
        title += f"; {len(jobs) - room + 1} do not fit"
    rows = output.lines(jobs[: room - 1], columns, width) if jobs else [[("no job is like that", "dim")]]
    lines = [output.styled(title[:width], "dim"), *("".join(output.styled(*piece) for piece in row) for row in rows)]
    sys.stdout.write(_HOME + f"{_REST_OF_LINE}\n".join(lines) + _REST_OF_LINE + _REST_OF_SCREEN)
    sys.stdout.flush()


def _counts(jobs: Sequence[Job], *, more: bool) -> str:
    """How many jobs there are, and how many of them in which state; of `more` than these, what the first are."""
    states = Counter(state_of(job.status_code) for job in jobs)
    counts = ", ".join(f"{states[state]} {state.value}" for state in _STATES if states[state])
    number = f"the first {len(jobs)} jobs" if more else "1 job" if len(jobs) == 1 else f"{len(jobs)} jobs"
    return f"{number} ({counts})" if counts else number


def report(
    database: Database, find: Callable[[], Sequence[Job]], write: Callable[[dict[str, Any]], str] | None
) -> None:
    """Print each job as a line, and again whenever it has changed, until interrupted.

    A job that is no longer among those that are looked for is printed once more, as it is then.
    """
    known: dict[str, dict[str, Any]] = {}
    version = None
    while True:
        now = database.connection.data_version()
        if now != version:
            version = now
            found = {job.id: job for job in find()}
            gone = queries.jobs_by_ids(database.connection, known.keys() - found.keys())
            for job in [*reversed(found.values()), *gone.values()]:
                row = job_view.as_dict(job)
                if _without_pulse(known.get(job.id)) != _without_pulse(row):
                    output.line(write(row) if write is not None else output.json_text(row))
                known[job.id] = row
            for job_id in gone:
                del known[job_id]
            sys.stdout.flush()
        time.sleep(_LOOK_INTERVAL)


def _without_pulse(row: dict[str, Any] | None) -> dict[str, Any] | None:
    """A row without the time by which a job that does not change shows that it is looked after."""
    return None if row is None else {name: value for name, value in row.items() if name != "updated_at"}
