"""What may go: kept containers and directories of ended jobs, logs and mirrors past an age. Finding it, and removing
what needs no runner for it.

What jobs left is removed by the loop alone, through CLEANUP intents. A month of logs goes when it is over for longer
than the age; a mirror under its own lock, and never one that an unfinished job needs.
"""

from __future__ import annotations

import calendar
import os
import re
import stat
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from jobrunner_cli.engine.errors import GitError
from jobrunner_cli.engine.jobfiles.copying import file_errors
from jobrunner_cli.engine.jobfiles.layout import JobDirectory
from jobrunner_cli.engine.jobfiles.measuring import size_below
from jobrunner_cli.engine.jobfiles.removal import remove_tree
from jobrunner_cli.engine.jobfiles.walk import held, open_trusted
from jobrunner_cli.engine.running.leftovers import leftovers
from jobrunner_cli.engine.settings import Settings
from jobrunner_cli.engine.states import KEPT_CODES, TABLE
from jobrunner_cli.engine.store import queries
from jobrunner_cli.engine.store.database import Connection
from jobrunner_cli.engine.store.locks import workdir_id
from jobrunner_cli.engine.study.access import GitAccess, reach
from jobrunner_cli.engine.study.mirror import Mirror

if TYPE_CHECKING:
    from jobrunner_cli.engine.executors.protocol import Executor

_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")
_MIRROR = ".git"
_HISTORY = ".history.git"
_DAY = 86400.0
#: Seconds that a mirror's lock is waited for: whoever holds it is using the mirror.
_PATIENCE = 5.0


class Kind(StrEnum):
    """The kinds of things that may go."""

    #: the container and the directory of an ended job that were kept for an operator
    KEPT = "kept"
    #: the same of a job that the table does not know
    UNKNOWN = "unknown"
    #: the logs of all jobs of a month
    LOGS = "logs"
    #: the copies of a repository's commits
    MIRROR = "mirror"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prunable:
    """Something that may go."""

    kind: Kind
    #: a job's id, a month, a mirror's key
    name: str
    #: what it is, in words
    what: str
    #: None for a container without a directory
    path: Path | None
    #: UNIX seconds since which nobody needs it; None if nothing tells
    since: float | None
    #: bytes of its files
    size: int


def kept(settings: Settings, conn: Connection, executor: Executor, *, before: float) -> list[Prunable]:
    """What jobs left that ended before a UNIX time, or that the table does not know, the oldest first.

    Raises ExecutorUnavailableError.
    """
    containers = executor.list(workdir_id(settings.workdir))
    directories = set(leftovers(settings))
    rows = queries.jobs_by_ids(conn, {*containers, *directories})
    found = [
        Prunable(
            kind=Kind.KEPT,
            name=job.id,
            what=f"{job.workspace}/{job.action} {TABLE[job.status_code].word}",
            path=_job_directory(settings, job.id, directories),
            since=float(job.completed_at or job.updated_at),
            size=_size(_job_directory(settings, job.id, directories)),
        )
        for job in rows.values()
        if job.status_code in KEPT_CODES and (job.completed_at or job.updated_at) < before
    ]
    for job_id in containers.keys() - rows.keys():
        detail = executor.inspect(job_id)
        since = None if detail is None else detail.finished_at or detail.started_at
        if since is None or since < before:
            path = _job_directory(settings, job_id, directories)
            found.append(
                Prunable(
                    kind=Kind.UNKNOWN,
                    name=job_id,
                    what="container of a job that is not in the database",
                    path=path,
                    since=since,
                    size=_size(path),
                )
            )
    return sorted(found, key=lambda item: (item.since or 0.0, item.name))


def logs(settings: Settings, *, before: float) -> list[Prunable]:
    """The months of logs that were over before a UNIX time, and for a day at least: the log of a job goes to the month
    in which its storing began."""
    limit = min(before, time.time() - _DAY)
    found = []
    for name in _names(settings.logs_dir):
        month = _MONTH.fullmatch(name)
        path = settings.logs_dir / name
        if month is None or not stat.S_ISDIR(path.lstat().st_mode):
            continue
        over = _end_of(int(month[1]), int(month[2]))
        if over <= limit:
            count = len(_names(path))
            what = "the log of 1 job" if count == 1 else f"the logs of {count} jobs"
            found.append(Prunable(kind=Kind.LOGS, name=name, what=what, path=path, since=over, size=size_below(path)))
    return found


def mirrors(settings: Settings, conn: Connection, *, before: float) -> list[Prunable]:
    """The mirrors that no unfinished job needs and nothing has used since a UNIX time, the oldest first."""
    uses = _uses(settings, conn)
    found = []
    for name in _names(settings.repos_dir):
        if not name.endswith(_MIRROR) or name.endswith(_HISTORY):
            continue
        key = name.removesuffix(_MIRROR)
        since = _unused_since(Mirror(settings.repos_dir, key), uses)
        if since is None or since >= before:
            continue
        use = uses.get(key)
        mirror = Mirror(settings.repos_dir, key)
        found.append(
            Prunable(
                kind=Kind.MIRROR,
                name=key,
                what=use.repo_url if use is not None else "a repository that no job knows",
                path=mirror.git_dir,
                since=since,
                size=size_below(mirror.git_dir) + size_below(mirror.history_dir),
            )
        )
    return sorted(found, key=lambda item: (item.since or 0.0, item.name))


def remove_logs(month: Prunable) -> None:
    """Remove a month of logs. Raises JobFilesError."""
    assert month.path is not None
    with file_errors(f"remove {month.path}"), held(open_trusted(month.path.parent)) as parent:
        remove_tree(parent, month.path.name)


def remove_mirror(settings: Settings, conn: Connection, mirror: Prunable, *, before: float) -> bool:
    """Remove a mirror, unless somebody uses it or has used it since a UNIX time: then false. Raises GitError."""
    found = Mirror(settings.repos_dir, mirror.name)
    with found.locked(stop=None, timeout=_PATIENCE):
        since = _unused_since(found, _uses(settings, conn))
        if since is None or since >= before:
            return False
        found.remove()
    return True


def _uses(settings: Settings, conn: Connection) -> Mapping[str, queries.RepositoryUse]:
    """Mirror's key -> what the table knows of its repository."""
    access = GitAccess(
        repos_dir=settings.repos_dir, backend=settings.backend, token=None, use_proxy=settings.github_proxy
    )
    found = {}
    for use in queries.repository_uses(conn):
        try:
            found[reach(use.repo_url, access).key] = use
        except GitError:
            # A row that reports why its request was refused may have any text there.
            continue
    return found


def _unused_since(mirror: Mirror, uses: Mapping[str, queries.RepositoryUse]) -> float | None:
    """When the mirror was last of use, in UNIX seconds; None if it is now."""
    use = uses.get(mirror.key)
    if use is not None and use.active:
        return None
    fetched = (
        mirror.git_dir,
        mirror.git_dir / "refs/tags/fetched",
        mirror.history_dir,
        mirror.history_dir / "refs/heads",
    )
    times = [path.stat().st_mtime for path in fetched if path.exists()]
    return max([*times, 0.0 if use is None else float(use.newest_at)])


def _job_directory(settings: Settings, job_id: str, directories: set[str]) -> Path | None:
    return JobDirectory.of(settings.high_privacy_volume_dir, job_id).root if job_id in directories else None


def _size(path: Path | None) -> int:
    return 0 if path is None else size_below(path)


def _names(directory: Path) -> Sequence[str]:
    try:
        return sorted(os.listdir(directory))  # noqa: PTH208 (names are all that is wanted)
    except FileNotFoundError:
        return ()


def _end_of(year: int, month: int) -> float:
    """The UNIX time at which a month is over, in UTC."""
    following = (year + 1, 1) if month == 12 else (year, month + 1)
    return float(calendar.timegm((*following, 1, 0, 0, 0)))
