"""All checks, put together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from jobrunner_cli.engine.diagnosis.contradictions import look_at_settings
from jobrunner_cli.engine.diagnosis.engine import look_at_engine, look_at_images, look_at_network
from jobrunner_cli.engine.diagnosis.findings import Check, Finding, problem, run
from jobrunner_cli.engine.diagnosis.machine import look_at_clock, look_at_git, look_at_python
from jobrunner_cli.engine.diagnosis.places import (
    look_at_database,
    look_at_directories,
    look_at_runner,
    look_at_space,
)
from jobrunner_cli.engine.diagnosis.server import look_at_job_server
from jobrunner_cli.engine.errors import ConfigurationError

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings

#: Seconds for what goes over a network, several answers included.
_FAR = 25.0


def examine() -> list[Finding]:
    """Look at everything, all at once; takes no longer than the longest time limit, half a minute. Raises nothing.

    Without well-formed settings, only what needs none is looked at.
    """
    from jobrunner_cli.engine import settings as settings_module
    from jobrunner_cli.engine.masking import Masker

    try:
        settings = settings_module.load()
    except ConfigurationError as error:
        wrong = [problem(line, "correct it; jobrunner config then shows every setting") for line in _lines(error)]
        return run(_checks(None, lambda: wrong), lambda text: text)
    return run(_checks(settings, lambda: look_at_settings(settings)), Masker(settings.secrets()).mask)


def _lines(error: ConfigurationError) -> list[str]:
    return [line for line in error.message.splitlines() if line.strip()]


def _checks(settings: Settings | None, look_at_them: Callable[[], Iterable[Finding]]) -> list[Check]:
    checks = [
        Check(name="python", look=lambda: look_at_python(settings)),
        Check(name="git", look=look_at_git),
        Check(name="clock", look=lambda: look_at_clock(settings)),
        Check(name="settings", look=look_at_them),
    ]
    if settings is None:
        return checks
    return [
        *checks,
        Check(name="directories", look=lambda: look_at_directories(settings)),
        Check(name="space", look=lambda: look_at_space(settings)),
        Check(name="database", look=lambda: look_at_database(settings)),
        Check(name="runner", look=lambda: look_at_runner(settings)),
        Check(name="engine", look=lambda: look_at_engine(settings), patience=_FAR),
        Check(name="images", look=lambda: look_at_images(settings), patience=_FAR),
        Check(name="network", look=lambda: look_at_network(settings), patience=_FAR),
        Check(name="job-server", look=lambda: look_at_job_server(settings), patience=_FAR),
    ]
