"""The log of a runner: one line an event, in UTC, with the job it is about, and never a secret (section 9)."""

from __future__ import annotations

import logging
import time
from logging.handlers import TimedRotatingFileHandler
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from jobrunner_cli.engine.masking import Masker
    from jobrunner_cli.engine.settings import Settings

#: Days for which the rotated debug log is kept.
_KEPT = 14


class ServiceFormatter(logging.Formatter):
    """`{time}Z {thread} {message} status=… workspace=… action=… id=… req=…`, the last part only for jobs."""

    def __init__(self, masker: Masker) -> None:
        super().__init__()
        self._masker = masker

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record, followed by its traceback if it has one."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(record.created))
        text = f"{stamp}.{int(record.msecs):03}Z {record.threadName} {record.getMessage()}"
        job = getattr(record, "job", None)
        if job is not None:
            text += (
                f" status={job.status_code.value} workspace={job.workspace} action={job.action}"
                f" id={job.id} req={job.job_request_id}"
            )
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return self._masker.mask(text)


def configure(settings: Settings, masker: Masker, stream: TextIO | None) -> None:
    """Send the package's log to a stream (None: nowhere) and, if a setting says so, to a file that is rotated daily."""
    package = logging.getLogger("jobrunner_cli")
    package.setLevel(logging.DEBUG)
    package.propagate = False
    for old in list(package.handlers):
        package.removeHandler(old)
        old.close()
    formatter = ServiceFormatter(masker)
    if stream is not None:
        handler: logging.Handler = logging.StreamHandler(stream)
        handler.setLevel(settings.loglevel)
        handler.setFormatter(formatter)
        package.addHandler(handler)
    if settings.debug_log_file is not None:
        rotating = TimedRotatingFileHandler(
            settings.debug_log_file, when="midnight", backupCount=_KEPT, utc=True, encoding="utf-8"
        )
        rotating.setFormatter(formatter)
        package.addHandler(rotating)
    if not package.handlers:
        package.addHandler(logging.NullHandler())
