"""Archived workspaces: packed into one file each, with no directory any more (section 5)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings

_SUFFIXES = (".tar.gz", ".tar.zstd", ".tar.xz")


def archive_of(settings: Settings, workspace: str) -> Path | None:
    """The archive of a workspace that was packed away: its directory is gone and its archive is there; else None."""
    if settings.high_workspace(workspace).exists():
        return None
    archives = (settings.high_privacy_archive_dir / f"{workspace}{suffix}" for suffix in _SUFFIXES)
    return next((archive for archive in archives if archive.exists()), None)
