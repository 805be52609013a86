"""Driving a runner from a command: signals, progress, and what is said at the end."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

from jobrunner_cli import diagnostics
from jobrunner_cli.commands.log_form import LogForm, send_log
from jobrunner_cli.commands.reaching import reach
from jobrunner_cli.engine.errors import ExitCode
from jobrunner_cli.engine.explaining import explain
from jobrunner_cli.engine.running.session import make_executor, runner
from jobrunner_cli.engine.service.metrics import sampling
from jobrunner_cli.engine.states import State, StatusCode, state_of
from jobrunner_cli.progress import Progress, goes_on, on_terminal

if TYPE_CHECKING:
    from jobrunner_cli.engine.running.board import Board
    from jobrunner_cli.engine.running.controller import Controller
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.models import Job


def drive(
    settings: Settings,
    *,
    until_idle: bool,
    only: Callable[[Sequence[Job]], Collection[str]] | None = None,
    quiet: bool = False,
    log_form: LogForm | None = None,
    deadline: float | None = None,
) -> ExitCode:
    """Run the loop in this process until it is idle or told to leave, and say what happened; `quiet` says less.

    At the `deadline`, in monotonic seconds, it leaves as it does when it is told to, and the code is TIMED_OUT.
    With a `log_form` there are log lines in place of the live table. Raises RunnerActiveError if another process runs it already.
    """
    live = on_terminal() and not quiet and log_form is None
    progress = Progress(live=live)
    stream = None if live or quiet else sys.stderr
    send_log(settings, stream, log_form)
    executor = make_executor(settings)
    if not executor.isolates and not quiet:
        diagnostics.notice(
            "The process executor isolates nothing: study code runs as you, with your files and your network."
        )
    with runner(settings, progress, executor=executor, only=only, reach=reach) as (controller, board):
        measured = nullcontext() if quiet else sampling(settings, executor)
        leaving = _leaving_at(deadline, controller)
        with _signals(controller, board) as received, progress.shown(), measured, leaving as over:
            controller.run(until_idle=until_idle)
        if received:
            goes_on([job for job in board.jobs.values() if job.status_code is StatusCode.EXECUTING])
            return ExitCode.INTERRUPTED if signal.SIGINT in received else ExitCode.FINE
        if over.is_set():
            goes_on([job for job in board.jobs.values() if job.status_code is StatusCode.EXECUTING])
            return ExitCode.TIMED_OUT
        if not quiet:
            _say_what_is_left(board)
        failed = [code for code in board.ended.values() if state_of(code) is State.FAILED]
        return ExitCode.FAILED if failed else ExitCode.FINE


@contextmanager
def _leaving_at(deadline: float | None, controller: Controller) -> Iterator[threading.Event]:
    """Have the loop leave at a deadline, if there is one. Yields what is set then."""
    over = threading.Event()

    def leave() -> None:
        over.set()
        controller.drain()

    if deadline is None:
        yield over
        return
    timer = threading.Timer(max(0.0, deadline - time.monotonic()), leave)
    timer.daemon = True
    timer.start()
    try:
        yield over
    finally:
        timer.cancel()


@contextmanager
def _signals(controller: Controller, board: Board) -> Iterator[list[int]]:
    """The first signal drains, the second leaves at once. Yields the list of those that came."""
    received: list[int] = []

    def handle(number: int, _frame: Any) -> None:
        received.append(number)
        if len(received) > 1:
            # Nothing is lost: the next runner finds every job where it was. And it may come in the middle of a line
            # that is being written, where nothing else can be.
            with suppress(Exception):
                goes_on([job for job in board.jobs.values() if job.status_code is StatusCode.EXECUTING])
            os._exit(ExitCode.INTERRUPTED)
        controller.drain()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say_what_is_left(board: Board) -> None:
    views = board.views()
    world = board.world(None, draining=False)
    for view in views:
        reasons = "; ".join(explain(view, views, world)) or board.jobs[view.id].status_message or ""
        diagnostics.notice(f"{view.workspace}/{view.action} ({view.id}) waits: {reasons}")
