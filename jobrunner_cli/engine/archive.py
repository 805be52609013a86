"""Archived workspaces: packed into one file each, with no directory any more (section 5)."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jobrunner_cli.engine.errors import JobFilesError, JobRequestError

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings

#: What an archive's name ends with, the way in which archives are written first.
ARCHIVE_SUFFIXES = (".tar.gz", ".tar.zstd", ".tar.xz")


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """Why nothing can run in a workspace, and what helps."""

    message: str
    hint: str


def archives_of(settings: Settings, workspace: str) -> list[Path]:
    """The files that are an archive of the workspace by their names, whether or not it is archived."""
    archives = (settings.high_privacy_archive_dir / f"{workspace}{suffix}" for suffix in ARCHIVE_SUFFIXES)
    return [archive for archive in archives if archive.exists()]


def archive_of(settings: Settings, workspace: str) -> Path | None:
    """The archive of a workspace that was packed away: its directory is gone and its archive is there; else None."""
    if settings.high_workspace(workspace).exists():
        return None
    return next(iter(archives_of(settings, workspace)), None)


def marker_of(settings: Settings, workspace: str) -> Path:
    """The file that is there while a workspace is being archived or brought back, and locked by who does it."""
    return settings.high_privacy_archive_dir / f".{workspace}.moving"


def why_absent(settings: Settings, workspace: str) -> Absence | None:
    """Why nothing can run in a workspace: it is archived, or just becoming so or coming back; None if it is there.

    Raises JobFilesError if that cannot be looked at.
    """
    try:
        return _why_absent(settings, workspace)
    except OSError as error:
        msg = f"whether workspace {workspace} is archived cannot be seen: {error.filename}: {error.strerror}"
        raise JobFilesError(msg, hint="jobrunner doctor looks at the stores") from error


def _why_absent(settings: Settings, workspace: str) -> Absence | None:
    try:
        handle = os.open(marker_of(settings, workspace), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        archive = archive_of(settings, workspace)
        if archive is None:
            return None
        return Absence(
            message=f"workspace {workspace} is archived ({archive.name})",
            hint=f"bring it back with: jobrunner workspaces unarchive {workspace}",
        )
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return Absence(
            message=f"workspace {workspace} is being archived or brought back at this moment",
            hint=f"try again when that is done: jobrunner workspaces show {workspace}",
        )
    finally:
        os.close(handle)
    return Absence(
        message=f"the archiving of workspace {workspace} was broken off",
        hint=f"jobrunner workspaces archive {workspace} goes on with it, "
        f"jobrunner workspaces unarchive {workspace} takes it back",
    )


def refuse_absent(settings: Settings, workspace: str) -> None:
    """Raise JobRequestError if nothing can run in a workspace.

    To be called again in the transaction that inserts jobs: whoever archives a workspace marks it in one, too.
    """
    absence = why_absent(settings, workspace)
    if absence is not None:
        raise JobRequestError(f"{absence.message}: nothing can run in it", hint=absence.hint)
