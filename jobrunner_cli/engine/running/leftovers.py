"""The directories of jobs that stand under the volume directory, whoever's they are."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings

_PREFIX = "os-job-"


def leftovers(settings: Settings) -> list[str]:
    """The ids of jobs that have a directory."""
    try:
        with os.scandir(settings.high_privacy_volume_dir) as entries:
            return [entry.name[len(_PREFIX) :] for entry in entries if entry.name.startswith(_PREFIX)]
    except FileNotFoundError:
        return []
