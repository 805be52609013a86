"""The log of a runner: one line an event, in UTC, with the job it is about, and never a secret (section 9)."""

from __future__ import annotations

import json
import logging
import time
from logging.handlers import TimedRotatingFileHandler
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from jobrunner_cli.engine.masking import Masker
    from jobrunner_cli.engine.settings import Settings

#: Days for which the rotated debug log is kept.
_KEPT = 14
_STREAM = "stream"


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


def configure(settings: Settings, masker: Masker, stream: TextIO | None, *, as_json: bool = False) -> None:
    """Send the package's log to a stream (None: nowhere) and, if a setting says so, to a file that is rotated daily."""
    package = logging.getLogger("jobrunner_cli")
    package.setLevel(logging.DEBUG)
    package.propagate = False
    for old in list(package.handlers):
        package.removeHandler(old)
        old.close()
    formatter = JsonFormatter(masker) if as_json else ServiceFormatter(masker)
    if stream is not None:
        handler: logging.Handler = logging.StreamHandler(stream)
        handler.set_name(_STREAM)
        handler.setLevel(settings.loglevel)
        handler.setFormatter(formatter)
        package.addHandler(handler)
    if settings.debug_log_file is not None:
        rotating = TimedRotatingFileHandler(
            settings.debug_log_file,
            when="midnight",
            backupCount=_KEPT,
            utc=True,
            encoding="utf-8",
            errors="backslashreplace",
        )
        rotating.setFormatter(formatter)
        package.addHandler(rotating)
    if not package.handlers:
        package.addHandler(logging.NullHandler())


def set_level(level: str) -> None:
    """Have the stream show this level and those above from now on; the file has every level anyway."""
    for handler in logging.getLogger("jobrunner_cli").handlers:
        if handler.get_name() == _STREAM:
            handler.setLevel(level)
