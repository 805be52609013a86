"""Live progress on stderr: a table of the jobs that repaints itself on a terminal. In a pipe there are log lines instead."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jobrunner_cli import diagnostics, output, theme
from jobrunner_cli.engine.states import State, state_of

if TYPE_CHECKING:
    from jobrunner_cli.engine.store.models import Job

#: Repaints a second: the clocks show whole seconds.
_REPAINTS = 4
#: Lines of the terminal that the table leaves alone.
_MARGIN = 4


class Progress:
    """What a runner tells of its jobs, shown live if stderr is a terminal."""

    def __init__(self, *, live: bool) -> None:
        self._live = live
        self._jobs: dict[str, Job] = {}
        self._trouble: str | None = None
        self._lock = threading.RLock()
        self._console: Any = None

    def say(self, text: str) -> None:
        """A line for people; above the table, while that is shown."""
        if self._console is None:
            diagnostics.notice(text)
        else:
            self._console.print(text)

    @property
    def jobs(self) -> dict[str, Job]:
        """The newest row of every job that was heard of."""
        return self._jobs

    def job_changed(self, job: Job) -> None:
        """A row was written."""
        with self._lock:
            self._jobs[job.id] = job

    def trouble(self, reason: str | None) -> None:
        """The executor went away, or is back."""
        with self._lock:
            self._trouble = reason

    def leaving(self) -> None:
        """The runner was told to leave."""
        self.say("Leaving as soon as what is being stored is stored; once more to leave at once.")

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the table while inside; what it looked like last stays."""
        if not self._live:
            yield
            return
        # Rich costs as much as the whole rest of the start, and only what repaints itself needs it.
        from rich.console import Console
        from rich.live import Live

        console = Console(file=sys.stderr, highlight=False, emoji=False, markup=False)
        with Live(
            get_renderable=lambda: self._picture(console.width, console.height),
            console=console,
            refresh_per_second=_REPAINTS,
            redirect_stdout=False,
            redirect_stderr=False,
        ):
            self._console = console
            try:
                yield
            finally:
                self._console = None

    def _picture(self, width: int, height: int) -> Any:
        from rich.console import Group
        from rich.text import Text

        with self._lock:
            jobs, trouble = list(self._jobs.values()), self._trouble
        parts: list[Any] = []
        room = max(3, height - _MARGIN)
        order = {job.id: number for number, job in enumerate(jobs)}
        shown = sorted(jobs, key=_liveliness)[:room]
        if shown:
            rows = output.lines(sorted(shown, key=lambda job: order[job.id]), _columns(), width)
            parts += [Text.assemble(*line, no_wrap=True, overflow="crop") for line in rows]
        counts = {state: sum(1 for job in jobs if state_of(job.status_code) is state) for state in State}
        words = [f"{count} {state.value}" for state, count in counts.items() if count]
        if len(shown) < len(jobs):
            words.append(f"{len(jobs) - len(shown)} not shown")
        parts.append(Text(" · ".join(words) or "nothing to do yet", style="dim"))
        if trouble:
            parts.append(Text(f"waiting for the executor: {trouble}", style="yellow"))
        return Group(*parts)


def _liveliness(job: Job) -> tuple[int, int]:
    """Running jobs first, then those that ended last, then waiting ones."""
    state = state_of(job.status_code)
    order = {State.RUNNING: 0, State.FAILED: 1, State.SUCCEEDED: 1, State.PENDING: 2}[state]
    return (order, -(job.completed_at or 0))


def _columns() -> list[output.Column]:
    return [
        output.Column(title="", value=lambda job: theme.glyph(job.status_code), style=_style),
        output.Column(title="ACTION", value=lambda job: f"{job.workspace}/{job.action}", yields=3, least=12),
        output.Column(title="STATE", value=lambda job: theme.word(job.status_code), style=_style),
        output.Column(title="TIME", value=run_time, right=True, yields=2),
        output.Column(title="MESSAGE", value=_message, optional=True, yields=1),
    ]


def _style(job: Job) -> str:
    return theme.style(job.status_code)


def _message(job: Job) -> str:
    """Why a job failed, and how far the copying for one is that runs."""
    message = job.status_message or ""
    state = state_of(job.status_code)
    return message if state is State.FAILED or (state is State.RUNNING and ": " in message) else ""


def run_time(job: Job) -> str:
    """How long a job has run, or ran."""
    if job.started_at is None:
        return ""
    return output.duration((job.completed_at or time.time()) - job.started_at)


def on_terminal() -> bool:
    """Whether progress can repaint itself: stderr is a terminal that can move its cursor."""
    import os

    return sys.stderr.isatty() and os.environ.get("TERM", "") not in {"", "dumb"}


def goes_on(jobs: list[Job]) -> None:
    """Say what a runner that leaves does not end."""
    if not jobs:
        return
    number = "1 job goes" if len(jobs) == 1 else f"{len(jobs)} jobs go"
    diagnostics.notice(f"{number} on running without this runner:")
    for job in jobs:
        diagnostics.notice(f"  {job.workspace}/{job.action}  (to end it: jobrunner jobs kill {job.id})")
    diagnostics.notice(f"jobrunner run takes {'it' if len(jobs) == 1 else 'them'} up again.")
