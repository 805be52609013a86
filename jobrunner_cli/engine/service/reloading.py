"""Reading settings anew while the service is at work: what may change then, and what waits for a restart."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from jobrunner_cli.engine.errors import JobrunnerError
from jobrunner_cli.engine.running import service_log
from jobrunner_cli.engine.running.limits import NewLimits
from jobrunner_cli.engine.variables import VARIABLES
from jobrunner_cli.engine.weights import load_weights

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.weights import Weights

log = logging.getLogger(__name__)

#: Settings that a running service takes over.
CHANGEABLE = ("max_workers", "max_db_workers", "loglevel", "job_resource_weights")


class Reloader:
    """The settings of a service, and how they are read anew."""

    def __init__(self, settings: Settings, read: Callable[[], Settings]) -> None:
        """`read` reads all settings again. Raises ConfigurationError for weights that cannot be read."""
        self.settings = settings
        self._read = read
        self._weights = load_weights(settings.job_resource_weights)

    @property
    def limits(self) -> NewLimits:
        """What holds now."""
        return NewLimits(settings=self.settings, weights=self._weights)

    def reload(self) -> NewLimits | None:
        """Read everything again, say what was taken over, and return it; None if something is malformed.

        Then all stays as it was.
        """
        try:
            wanted = self._read()
            weights = load_weights(wanted.job_resource_weights)
        except (JobrunnerError, OSError) as error:
            log.error(
                "Nothing is taken over, because the settings cannot be read: %s", "; ".join(str(error).split("\n"))
            )
            return None
        for text in wanted.notices:
            log.warning("%s", text)
        before, after = self.settings, replace(self.settings, **{name: getattr(wanted, name) for name in CHANGEABLE})
        taken = [
            f"{name.upper()} {getattr(before, name)} -> {getattr(after, name)}"
            for name in CHANGEABLE
            if getattr(before, name) != getattr(after, name)
        ]
        if weights != self._weights:
            taken.append(f"the weights of jobs ({_rules(weights)} in {after.job_resource_weights})")
        log.info("Settings were read again. Taken over: %s", "; ".join(taken) or "nothing, for nothing has changed")
        later = [
            variable.name
            for variable in VARIABLES
            if variable.field not in CHANGEABLE and getattr(wanted, variable.field) != getattr(before, variable.field)
        ]
        if later:
            log.warning("Only a restart takes over: %s", ", ".join(later))
        service_log.set_level(after.loglevel)
        self.settings, self._weights = after, weights
        return self.limits


def _rules(weights: Weights) -> str:
    count = sum(map(len, weights.rules.values()))
    return f"{count} rule{'' if count == 1 else 's'}"
