"""What stands on disk, whoever's it is: the directories of jobs under the volume directory, those of workspaces."""

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


def workspaces_on_disk(settings: Settings) -> list[str]:
    """The names of the workspaces that have a directory in a privacy store, sorted; our own names begin with a dot."""
    names: set[str] = set()
    for base in (settings.high_privacy_storage_base, settings.medium_privacy_storage_base):
        try:
            with os.scandir(base / "workspaces") as entries:
                names.update(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())
        except FileNotFoundError:
            continue
    return sorted(names)
