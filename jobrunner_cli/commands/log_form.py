"""The form of the log of `run` and `sync`. As JSON it is all that stderr gets, so that whatever reads it reads nothing else."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from jobrunner_cli import diagnostics
from jobrunner_cli.engine.errors import ExitCode, JobrunnerError
from jobrunner_cli.engine.masking import Masker
from jobrunner_cli.engine.running import service_log

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings

log = logging.getLogger(__name__)


class LogForm(StrEnum):
    """What the lines of a log are."""

    TEXT = "text"
    JSON = "json"


LogFormat = Annotated[
    LogForm | None, typer.Option("--log-format", metavar="text|json", help="The form of log lines on stderr.")
]


def send_log(settings: Settings, stream: TextIO | None, form: LogForm | None) -> None:
    """Send the log to a stream in this form, also what Python would write there by itself. Raises ConfigurationError."""
    service_log.configure(settings, Masker(settings.secrets()), stream, as_json=form is LogForm.JSON)
    service_log.catch_strays()


@contextmanager
def telling(form: LogForm | None, *, service: bool = False) -> Iterator[None]:
    """What the command inside says of itself on stderr, and what it raises, in this form.

    In JSON notices and errors are lines of the log. What nobody has thought of is one in a `service`, too, in any form:
    the log masks what a traceback may have in it, and keeps where it came up.
    """
    as_json = form is LogForm.JSON
    if as_json or service:
        # Until the settings are read: they may be what is wrong.
        service_log.begin(sys.stderr, as_json=as_json)
    try:
        with diagnostics.going_to(log.warning) if as_json else nullcontext():
            yield
    except (typer.Exit, typer.Abort):
        raise
    except JobrunnerError as error:
        if not as_json:
            raise
        log.critical("%s", error.told)
        raise typer.Exit(error.exit_code) from None
    except Exception:
        if not (as_json or service):
            raise
        log.critical("This process has ended by an internal error", exc_info=True)
        raise typer.Exit(ExitCode.FAILED) from None
