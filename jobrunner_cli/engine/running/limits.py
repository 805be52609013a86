"""What may change while a runner is at work: how many workers there are, and what jobs cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.weights import Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLimits:
    """Wakes the loop with limits that hold from its next look on; what runs already goes on."""

    #: those of the start, but for MAX_WORKERS and MAX_DB_WORKERS
    settings: Settings
    weights: Weights
