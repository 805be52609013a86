"""Whether traces are sent, and what the loop tells of itself for them; without OpenTelemetry as long as they are not.

The standard OTEL_* variables configure it (section 9), from the environment, or from a `.env` that is believed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.states import StatusCode
    from jobrunner_cli.engine.store.models import Job
    from jobrunner_cli.engine.work import Outcome

log = logging.getLogger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
HEADERS = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
CONSOLE = "OTEL_EXPORTER_CONSOLE"
#: Where traces go that have headers and no endpoint.
DEFAULT_ENDPOINT = "https://api.honeycomb.io/v1/traces"
_TRUTHY = frozenset({"true", "1", "yes", "on"})


class Tracing:
    """What the loop tells. This one sends nothing; every method returns at once and raises nothing."""

    def new_context(self) -> Mapping[str, str] | None:
        """What the row of a job that has no trace yet is to carry; None if it is to have none."""
        return None

    def moved(self, before: Job, path: Sequence[StatusCode], after: Job, outcome: Outcome | None = None) -> None:
        """A job was moved along a path, its first code left out; `outcome` is how its command ended."""

    def looked(self, began_at: int, changed: Sequence[Job]) -> None:
        """A look of the loop, begun at a time in nanoseconds, has changed these rows."""

    def tick(self, jobs: Mapping[str, Job]) -> None:
        """The loop is alive, with these active jobs."""

    def close(self) -> None:
        """Send what is still to be sent, if that is quick."""


def sends_spans(variables: Mapping[str, str]) -> bool:
    """Whether these variables name somebody who is to get spans over the network."""
    if variables.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none":
        return False
    return any(variables.get(name, "").strip() for name in (*ENDPOINTS, *HEADERS))


def shows_spans(variables: Mapping[str, str]) -> bool:
    """Whether these variables want spans on the console."""
    return variables.get(CONSOLE, "").strip().lower() in _TRUTHY


def start_tracing(
    settings: Settings,
    original: Callable[[str], Mapping[str, Any] | None],
    environment: MutableMapping[str, str] | None = None,
) -> Tracing:
    """The tracing that the variables ask for.

    `original` finds a job request as it was received, by its id. Trouble is logged, and there are no traces then.
    """
    environment = os.environ if environment is None else environment
    _add_dotenv(environment)
    wanted = sends_spans(environment) or shows_spans(environment)
    if not wanted or environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Tracing()
    try:
        # A tenth of a second and ten megabytes, for those alone who want it.
        from jobrunner_cli.engine.spans import Spans

        return Spans(settings, original, environment)
    except Exception as error:  # noqa: BLE001 (jobs have to run without traces, too)
        log.error("No traces are sent, because they cannot be set up: %s", error)
        return Tracing()


def _add_dotenv(environment: MutableMapping[str, str]) -> None:
    """Give the environment, where the libraries look, those variables that stand in `.env` alone."""
    path = Path.cwd() / ".env"
    if not path.is_file():
        return
    # python-dotenv and the question to git, only where there is such a file.
    from jobrunner_cli.engine import setting_files

    if setting_files.distrust(path) is not None:
        return
    for name, value in setting_files.read_dotenv(path, []).items():
        if name.startswith("OTEL_"):
            environment.setdefault(name, value)
