"""The log of a runner: one line an event, in UTC, with the job it is about, and never a secret (section 9)."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

from jobrunner_cli.engine.masking import Masker
from jobrunner_cli.engine.running.daily_file import DailyFile

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings

log = logging.getLogger(__name__)

#: How many debug logs of earlier days are kept.
_KEPT = 14
#: The names of our handlers.
_STREAM, _FILE = "stream", "file"


def _about(record: logging.LogRecord) -> dict[str, str]:
    """The job that a record is about."""
    job = getattr(record, "job", None)
    if job is None:
        return {}
    return {
        "status": job.status_code.value,
        "workspace": job.workspace,
        "action": job.action,
        "id": job.id,
        "req": job.job_request_id,
    }


class ServiceFormatter(logging.Formatter):
    """`{time}Z {thread} {message} status=… workspace=… action=… id=… req=…`, the last part only for jobs."""

    def __init__(self, masker: Masker) -> None:
        super().__init__()
        self._masker = masker

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record, followed by its traceback if it has one."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(record.created))
        text = f"{stamp}.{int(record.msecs):03}Z {record.threadName} {record.getMessage()}"
        text += "".join(f" {name}={value}" for name, value in _about(record).items())
        if not text.isprintable():
            # What others have said, a study or a server, must not look like a line of ours.
            text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return self._masker.mask(text)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, thread, message, and what the message is about; exceptions as text."""

    def __init__(self, masker: Masker) -> None:
        super().__init__()
        self._masker = masker

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        values: dict[str, Any] = {
            "time": f"{stamp}.{int(record.msecs):03}Z",
            "level": record.levelname,
            "thread": record.threadName,
            "message": record.getMessage(),
            **_about(record),
        }
        if record.exc_info:
            values["exception"] = self.formatException(record.exc_info)
        # Value by value: what a secret has in common with JSON's own signs must not break the line.
        return json.dumps({name: self._masker.mask(str(value)) for name, value in values.items()})


class _Stream(logging.StreamHandler[TextIO]):
    """Lines for whoever started this process."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (the library's name)
        """Say where a line is lost, without its values: they have not been masked."""
        with suppress(Exception):
            self.stream.write(f"A line of {record.name}:{record.lineno} cannot be written\n")
            self.stream.flush()


def configure(settings: Settings, masker: Masker, stream: TextIO | None, *, as_json: bool = False) -> None:
    """Send the log to a stream (None: nowhere) and, if a setting says so, to a file, with a new one each day.

    Warnings of the libraries, and of Python itself, go the same way. Raises ConfigurationError for an impossible file.
    """
    handlers: list[logging.Handler] = []
    if settings.debug_log_file is not None:
        handlers.append(DailyFile(settings.debug_log_file, kept=_KEPT))
        handlers[0].set_name(_FILE)
    if stream is not None:
        handlers.append(_to(stream, settings.loglevel))
    _install(handlers, masker, as_json=as_json)


def begin(stream: TextIO, *, as_json: bool) -> None:
    """Send the log to a stream until the settings are read that say where it goes."""
    _install([_to(stream, logging.INFO)], Masker(()), as_json=as_json)


def _to(stream: TextIO, level: str | int) -> logging.Handler:
    handler = _Stream(stream)
    handler.set_name(_STREAM)
    handler.setLevel(level)
    return handler


def _install(handlers: list[logging.Handler], masker: Masker, *, as_json: bool) -> None:
    """Have these handlers, in one form, in place of those that are there."""
    formatter = JsonFormatter(masker) if as_json else ServiceFormatter(masker)
    for handler in handlers:
        handler.setFormatter(formatter)
    package, root = logging.getLogger("jobrunner_cli"), logging.getLogger()
    package.setLevel(logging.DEBUG)
    package.propagate = False
    for logger in (package, root):
        for old in [handler for handler in logger.handlers if logger is package or handler.name in {_STREAM, _FILE}]:
            logger.removeHandler(old)
            old.close()
        # Without any, Python has one of its own, which masks nothing.
        for handler in handlers or [logging.NullHandler()]:
            logger.addHandler(handler)


def catch_strays() -> None:
    """Have the log get what Python would write to stderr by itself, unmasked: warnings, and what ends a thread."""

    def thread_ended(what: threading.ExceptHookArgs) -> None:
        if what.exc_value is not None:
            log.critical("This thread has ended", exc_info=what.exc_value)

    def unraisable(what: sys.UnraisableHookArgs) -> None:
        log.error(
            "%s: %r", what.err_msg or "An error that nobody could be told of", what.object, exc_info=what.exc_value
        )

    logging.captureWarnings(True)
    threading.excepthook = thread_ended
    sys.unraisablehook = unraisable


def set_level(level: str) -> None:
    """Have the stream show this level and those above from now on; the file has every level anyway."""
    for handler in logging.getLogger("jobrunner_cli").handlers:
        if handler.get_name() == _STREAM:
            handler.setLevel(level)
