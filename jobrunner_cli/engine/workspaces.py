"""What there is of each workspace: jobs, outputs, sizes, and whether it is archived. Looks only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from jobrunner_cli.engine.archive import ARCHIVE_SUFFIXES, archive_of, why_absent
from jobrunner_cli.engine.errors import JobFilesError, NotFoundError
from jobrunner_cli.engine.jobfiles import manifest
from jobrunner_cli.engine.jobfiles.measuring import size_below
from jobrunner_cli.engine.jobfiles.stores import WorkspaceStores
from jobrunner_cli.engine.running.leftovers import workspaces_on_disk
from jobrunner_cli.engine.settings import Settings
from jobrunner_cli.engine.states import ACTIVE_CODES
from jobrunner_cli.engine.store import queries
from jobrunner_cli.engine.store.database import Connection
from jobrunner_cli.engine.store.filtering import JobFilter, filtered_jobs
from jobrunner_cli.engine.store.models import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceView:
    """One workspace."""

    name: str
    #: its unfinished jobs, newest first
    active: tuple[Job, ...]
    #: the newest of these, or else of all; None if it never had one
    last_job: Job | None
    #: how many outputs the manifest has; None if it is damaged
    outputs: int | None
    #: bytes of the files in its directories; 0 without one
    high_size: int
    medium_size: int
    high: Path
    medium: Path
    #: None if it is not archived
    archive: Path | None
    #: bytes
    archive_size: int
    #: what keeps jobs from running in it, other than that it is archived; or what is wrong with its manifest, or with
    #: the rows of its jobs
    problem: str | None


def stores_of(settings: Settings, workspace: str) -> WorkspaceStores:
    """Where the outputs of a workspace are. Raises UsageError for what cannot be a workspace's name."""
    return WorkspaceStores(
        workspace=workspace, high=settings.high_workspace(workspace), medium=settings.medium_workspace(workspace)
    )


def names(settings: Settings, conn: Connection) -> list[str]:
    """Every workspace that has jobs, a directory or an archive, sorted."""
    found = {*queries.known_workspaces(conn), *workspaces_on_disk(settings)}
    try:
        archives = os.listdir(settings.high_privacy_archive_dir)  # noqa: PTH208 (names are all that is wanted)
    except FileNotFoundError:
        archives = []
    for name in archives:
        suffix = next((suffix for suffix in ARCHIVE_SUFFIXES if name.endswith(suffix)), None)
        if suffix is not None and not name.startswith("."):
            found.add(name.removesuffix(suffix))
    # Rows of other programs may have anything.
    return sorted(name for name in found if name not in {"", ".", ".."} and not {"/", "\0"}.intersection(name))


def look_at(settings: Settings, conn: Connection, name: str) -> WorkspaceView:
    """One workspace as it is now; sizes are found out by walking through it.

    Raises NotFoundError if there is nothing by that name, JobFilesError.
    """
    stores = stores_of(settings, name)
    damaged: list[str] = []
    jobs = filtered_jobs(conn, JobFilter(workspace=name), limit=1, damaged=damaged)
    archive = archive_of(settings, name)
    if not jobs and not damaged and archive is None and not stores.high.exists() and not stores.medium.exists():
        msg = f"there is no workspace {name!r}"
        raise NotFoundError(msg, hint="jobrunner workspaces ls lists them")
    outputs, problem = _outputs(stores)
    absence = why_absent(settings, name) if archive is None else None
    active = filtered_jobs(conn, JobFilter(workspace=name, codes=ACTIVE_CODES), damaged=damaged)
    problems = dict.fromkeys(filter(None, [problem if absence is None else absence.message, *damaged]))
    return WorkspaceView(
        name=name,
        active=tuple(active),
        last_job=jobs[0] if jobs else None,
        outputs=outputs,
        high_size=size_below(stores.high),
        medium_size=size_below(stores.medium),
        high=stores.high,
        medium=stores.medium,
        archive=archive,
        archive_size=0 if archive is None else archive.stat().st_size,
        problem="; ".join(problems) or None,
    )


def _outputs(stores: WorkspaceStores) -> tuple[int | None, str | None]:
    try:
        return len(manifest.read(stores)["outputs"]), None
    except JobFilesError as error:
        return None, error.message
