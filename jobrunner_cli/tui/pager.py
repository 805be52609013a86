"""The whole log of a job, or one of its outputs, in the user's own programs, while the view steps aside."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from textual.app import App, SuspendNotSupported

from jobrunner_cli.engine.errors import JobrunnerError
from jobrunner_cli.engine.output_files import pager_words, require_file, viewer_of
from jobrunner_cli.tui.logfeed import shown

if TYPE_CHECKING:
    from jobrunner_cli.engine.output_files import OutputFile
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.overview import Brief

_T = TypeVar("_T")


def open_log(app: App[Any], settings: Settings, job: Brief | None) -> None:
    """Show what a job has printed so far in $PAGER, `less` if there is none."""
    if job is None:
        return
    some = _aside(app, lambda: feed(settings, job.id, pager_words()))
    if some is False:
        app.notify(f"{job.workspace}/{job.action} has printed nothing", markup=False)


def open_output(app: App[Any], output: OutputFile) -> None:
    """Show an output as `jobrunner jobs outputs --open` does."""

    def show() -> None:
        subprocess.run(viewer_of(require_file(output), on_terminal=True), check=False)

    _aside(app, show)


def _aside(app: App[Any], act: Callable[[], _T]) -> _T | None:
    """Do something on the terminal while the view steps aside; what goes wrong is told when it is back."""
    found, problem = None, None
    try:
        # An error must not leave `suspend`: the view would stay away.
        with app.suspend(), _deaf_to_interrupts():
            try:
                found = act()
            except FileNotFoundError as error:
                problem = f"There is no program {error.filename}: set PAGER"
            except JobrunnerError as error:
                problem = f"{error.message}\n{error.hint}" if error.hint else error.message
            except Exception as error:  # noqa: BLE001 - whatever it is, the view comes back and says so
                problem = str(error)
    except SuspendNotSupported:
        problem = "This terminal cannot step aside for another program"
    if problem is not None:
        app.notify(problem, severity="error", markup=False)
    return found


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Ctrl-C is for the program that is shown; one with a handler leaves what it starts as it is by default."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


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
