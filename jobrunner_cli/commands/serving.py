"""Being a service from a command: its log, its signals, and the service manager."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jobrunner_cli.commands.log_form import LogForm, send_log
from jobrunner_cli.engine import settings as settings_module
from jobrunner_cli.engine.errors import ExitCode
from jobrunner_cli.engine.service.daemon import Daemon
from jobrunner_cli.engine.service.notify import Notifier

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings


def serve(settings: Settings, log_form: LogForm | None) -> ExitCode:
    """Be a service until a signal ends it.

    Raises RunnerActiveError if another process is at work on the work directory, DatabaseNotMigratedError, and
    ConfigurationError.
    """
    send_log(settings, sys.stderr, log_form)
    notifier = Notifier.from_environment(os.environ)
    daemon = Daemon(settings, notifier=notifier, read_settings=settings_module.load)
    with _signals(daemon) as received:
        daemon.run()
    return ExitCode.INTERRUPTED if signal.SIGINT in received else ExitCode.FINE


@contextmanager
def _signals(daemon: Daemon) -> Iterator[list[int]]:
    """SIGTERM and SIGINT have it leave, a second one at once; SIGHUP has it read its settings anew."""
    received: list[int] = []

    def leave(number: int, _frame: Any) -> None:
        received.append(number)
        if len(received) > 1:
            # Nothing is lost: the next runner finds every job where it was.
            os._exit(ExitCode.INTERRUPTED)
        daemon.leave()

    def reload(_number: int, _frame: Any) -> None:
        daemon.reload()

    handlers = {signal.SIGINT: leave, signal.SIGTERM: leave, signal.SIGHUP: reload}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
