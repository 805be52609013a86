"""Archiving a workspace, and bringing it back: steps of which each leaves either the directory or the archive whole.

    pack      -> .{workspace}.partial in the archive directory, compared with the directory, renamed to its name
    set aside -> the workspace's directory is renamed to .{workspace}.archived: from here on it is archived
    remove    -> what was set aside goes

and back: unpacked to .{workspace}.unpacked, compared, renamed into place, the archive removed. While that is done, a
marker stands in the archive directory, locked by the process that does it. It is made in an immediate transaction that
sees no active job, and jobs are inserted in one that sees no marker. A marker without a lock tells that somebody was
killed: the same command goes on.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from jobrunner_cli.engine.archive import ARCHIVE_SUFFIXES, archives_of, marker_of
from jobrunner_cli.engine.errors import DiskFullError, JobFilesError, JobrunnerError, NotFoundError
from jobrunner_cli.engine.jobfiles import packing
from jobrunner_cli.engine.jobfiles.copying import file_errors, make_directories
from jobrunner_cli.engine.jobfiles.removal import remove_tree
from jobrunner_cli.engine.jobfiles.walk import held, open_trusted
from jobrunner_cli.engine.settings import Settings
from jobrunner_cli.engine.states import ACTIVE_CODES
from jobrunner_cli.engine.store import queries
from jobrunner_cli.engine.store.database import Connection
from jobrunner_cli.engine.store.filtering import JobFilter, filtered_jobs
from jobrunner_cli.engine.work import quote_names

#: Hears what is being done, how many bytes are done, and of how many.
Tell = Callable[[str, int, int], object]

_ARCHIVE, _UNARCHIVE = "archive", "unarchive"
#: Somebody who only looks holds the marker's lock for an instant.
_LOOKERS_PATIENCE = 0.2
_RETRY_AFTER = 0.02
#: An archive of what cannot be compressed is a little larger than that.
_OVERHEAD = 1.05
_OVERHEAD_PER_FILE = 2048
_NEVER = threading.Event()


class WorkspaceBusyError(JobrunnerError):
    """Jobs of the workspace are active, or another process is moving it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What became of a workspace."""

    workspace: str
    #: False: it was so already
    done: bool
    #: its archive; None where there is none any more
    archive: Path | None
    #: how many files, and the bytes in them; 0 where nothing was packed or unpacked
    files: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Places:
    """Where a workspace and everything on its way is; our own names begin with a dot, which no workspace's does."""

    workspace: str
    directory: Path
    #: its directory once it is archived, until it is removed
    aside: Path
    unpacked: Path
    archive: Path
    partial: Path
    marker: Path

    @classmethod
    def of(cls, settings: Settings, workspace: str) -> Self:
        directory, archives = settings.high_workspace(workspace), settings.high_privacy_archive_dir
        return cls(
            workspace=workspace,
            directory=directory,
            aside=directory.with_name(f".{workspace}.archived"),
            unpacked=directory.with_name(f".{workspace}.unpacked"),
            archive=archives / f"{workspace}{ARCHIVE_SUFFIXES[0]}",
            partial=archives / f".{workspace}.partial",
            marker=marker_of(settings, workspace),
        )


def archive(settings: Settings, conn: Connection, workspace: str, *, check_space: bool, tell: Tell) -> Moved:
    """Pack a workspace's directory, compare archive and directory, and only then remove the directory.

    Goes on where one that was killed stopped. Raises WorkspaceBusyError, NotFoundError, JobFilesError, DiskFullError;
    the directory stands then as it was.
    """
    places = _Places.of(settings, workspace)
    with _moving(settings, places, _ARCHIVE, conn):
        if not places.directory.exists():
            found = archives_of(settings, workspace)
            _finish_removal(places, found, tell)
            with file_errors(f"remove {places.unpacked}"):
                _remove(places.unpacked)
            return Moved(workspace=workspace, done=False, archive=next(iter(found), None))
        _require_plain(settings, places)
        extent, _ = packing.survey(places.directory, stop=_NEVER)
        if check_space:
            need = int(extent.size * _OVERHEAD) + extent.files * _OVERHEAD_PER_FILE
            _require_space(places.archive.parent, need, f"the archive of workspace {workspace}")
        with _removed_if_broken_off(places.partial):
            packing.pack(
                places.directory,
                places.partial,
                workspace,
                stop=_NEVER,
                tell=lambda done: tell(f"packing {workspace}", done, extent.size),
            )
            compared = packing.compare(
                places.partial,
                places.directory,
                f"{workspace}/",
                stop=_NEVER,
                tell=lambda done: tell(f"comparing {workspace}", done, extent.size),
            )
        with file_errors(f"archive workspace {workspace}"):
            _rename(places.partial, places.archive)
            _rename(places.directory, places.aside)
            _, now = packing.survey(places.aside, stop=_NEVER)
            if now != compared:
                _rename(places.aside, places.directory)
                places.archive.unlink()
                msg = f"workspace {workspace} changed while it was being archived, and stands as it was"
                raise WorkspaceBusyError(msg, hint="find out who writes there, and try again")
            _remove(places.aside)
    return Moved(workspace=workspace, done=True, archive=places.archive, files=extent.files, size=extent.size)


def unarchive(
    settings: Settings, conn: Connection, workspace: str, *, keep: bool, check_space: bool, tell: Tell
) -> Moved:
    """Unpack a workspace's archive, compare the two, put the directory in its place and, unless `keep`, remove the archive.

    Takes an archiving back that was killed, and goes on where an unarchiving was. Raises what `archive` raises.
    """
    places = _Places.of(settings, workspace)
    with _moving(settings, places, _UNARCHIVE, conn) as before:
        found = archives_of(settings, workspace)
        if places.directory.exists():
            with file_errors(f"bring back workspace {workspace}"):
                places.partial.unlink(missing_ok=True)
            if before != _UNARCHIVE or keep or not found:
                return Moved(workspace=workspace, done=False, archive=next(iter(found), None))
            _remove_archive(places, found[0], tell)
            return Moved(workspace=workspace, done=True, archive=None)
        _finish_removal(places, found, tell)
        if len(found) != 1:
            names = ", ".join(path.name for path in found) or "none"
            msg = f"workspace {workspace} has not one archive: {names}"
            raise JobFilesError(msg, hint=f"leave only one in {places.archive.parent}")
        extent, prefix = packing.inspect(found[0], workspace, stop=_NEVER)
        with file_errors(f"unpack {found[0]}"):
            os.close(make_directories(places.directory.parent, durable=True))
        if check_space:
            need = extent.size + extent.files * _OVERHEAD_PER_FILE
            _require_space(places.directory.parent, need, f"workspace {workspace}")
        _unpack(places, found[0], prefix, extent, tell)
        if not keep:
            _delete(found[0])
    return Moved(
        workspace=workspace,
        done=True,
        archive=found[0] if keep else None,
        files=extent.files,
        size=extent.size,
    )


def _unpack(places: _Places, archive: Path, prefix: str, extent: packing.Extent, tell: Tell) -> None:
    with file_errors(f"unpack {archive}"):
        _remove(places.unpacked)
    packing.unpack(
        archive,
        places.unpacked,
        prefix,
        stop=_NEVER,
        tell=lambda done: tell(f"unpacking {places.workspace}", done, extent.size),
    )
    # All files at once: one by one, a hundred thousand of them would take minutes.
    os.sync()
    packing.compare(
        archive,
        places.unpacked,
        prefix,
        stop=_NEVER,
        tell=lambda done: tell(f"comparing {places.workspace}", done, extent.size),
    )
    with file_errors(f"bring back workspace {places.workspace}"):
        _rename(places.unpacked, places.directory)


def _remove_archive(places: _Places, archive: Path, tell: Tell) -> None:
    """Remove the archive of a workspace that was brought back by a process that was killed before it did."""
    extent, prefix = packing.inspect(archive, places.workspace, stop=_NEVER)
    packing.compare(
        archive,
        places.directory,
        prefix,
        stop=_NEVER,
        tell=lambda done: tell(f"comparing {places.workspace}", done, extent.size),
    )
    _delete(archive)


def _finish_removal(places: _Places, found: list[Path], tell: Tell) -> None:
    """Remove what a process that was killed has set aside; whatever of it still stands has to be in the archive."""
    if not places.aside.exists():
        return
    if not found:
        msg = f"{places.aside} is what an archiving set aside, and the archive is gone"
        raise JobFilesError(msg, hint=f"restore {places.archive}, or, if nothing is missing, rename the directory back")
    extent, prefix = packing.inspect(found[0], places.workspace, stop=_NEVER)
    packing.compare(
        found[0],
        places.aside,
        prefix,
        stop=_NEVER,
        tell=lambda done: tell(f"comparing {places.workspace}", done, extent.size),
        partly=True,
    )
    with file_errors(f"remove {places.aside}"):
        _remove(places.aside)


def _require_known(settings: Settings, conn: Connection, places: _Places) -> None:
    """Raises NotFoundError if there is neither a directory nor an archive nor anything on the way."""
    there = places.directory.exists() or places.aside.exists() or archives_of(settings, places.workspace)
    if there:
        return
    if places.workspace in queries.known_workspaces(conn):
        msg = f"workspace {places.workspace} has no files: there is neither {places.directory} nor an archive"
        raise NotFoundError(msg)
    msg = f"there is no workspace {places.workspace!r}"
    raise NotFoundError(msg, hint="jobrunner workspaces ls lists them")


def _require_plain(settings: Settings, places: _Places) -> None:
    """Raises JobFilesError where it would not be clear what is what."""
    if places.directory.is_symlink():
        msg = f"{places.directory} is a link, and only a directory can be archived"
        raise JobFilesError(msg, hint="put the directory in its place")
    if places.aside.exists():
        msg = f"both {places.directory} and {places.aside}, which an archiving set aside, are there"
        raise JobFilesError(msg, hint="look at both, and keep the right one")
    others = [path for path in archives_of(settings, places.workspace) if path != places.archive]
    if others:
        msg = f"workspace {places.workspace} has an archive already: {others[0]}"
        raise JobFilesError(msg, hint="move it away first")


def _require_space(directory: Path, need: int, what: str) -> None:
    with file_errors(f"look at the space in {directory}"):
        free = shutil.disk_usage(directory).free
    if need > free:
        msg = f"{what} may need {_amount(need)}, and {directory} has {_amount(free)} left"
        raise DiskFullError(msg, hint="free some space, or try all the same with --no-space-check")


def _amount(size: int) -> str:
    return f"{size / 2**30:,.1f} GiB" if size >= 2**30 else f"{size / 2**20:,.1f} MiB"


@contextmanager
def _moving(settings: Settings, places: _Places, verb: str, conn: Connection) -> Iterator[str]:
    """Hold the marker; gives what one that was left behind says. It goes in the end where the workspace is whole.

    Raises WorkspaceBusyError if jobs are active or another process holds it, NotFoundError if there is nothing to move.
    """
    with file_errors(f"use {places.marker.parent}"):
        os.close(make_directories(places.marker.parent, durable=True))
    with conn.transaction():
        wanted = JobFilter(workspace=places.workspace, codes=ACTIVE_CODES)
        active = [job.action for job in filtered_jobs(conn, wanted)]
        if active:
            jobs = "a job is" if len(active) == 1 else f"{len(active)} jobs are"
            msg = f"workspace {places.workspace} cannot be moved: {jobs} active ({quote_names(active)})"
            raise WorkspaceBusyError(msg, hint="wait for them, or end them with: jobrunner jobs cancel")
        _require_known(settings, conn, places)
        with file_errors(f"use {places.marker}"):
            handle = _take(places)
    with held(handle):
        before = os.pread(handle, 32, 0).decode("ascii", "replace")
        os.ftruncate(handle, 0)
        os.pwrite(handle, verb.encode(), 0)
        os.fsync(handle)
        try:
            yield before
        finally:
            # Where something is still set aside, the next try has to know.
            if not places.aside.exists():
                places.marker.unlink(missing_ok=True)


def _take(places: _Places) -> int:
    """A handle of the marker, locked. Raises WorkspaceBusyError if another process has it."""
    deadline = time.monotonic() + _LOOKERS_PATIENCE
    while True:
        handle = os.open(places.marker, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), places.marker.stat()):
                    return handle
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(handle)
                msg = f"another process is archiving workspace {places.workspace}, or bringing it back"
                raise WorkspaceBusyError(msg, hint="try again when it is done") from None
            time.sleep(_RETRY_AFTER)
        except BaseException:
            os.close(handle)
            raise
        # Whoever had it before has removed it, or somebody only looked.
        os.close(handle)


@contextmanager
def _removed_if_broken_off(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        raise


def _rename(before: Path, after: Path) -> None:
    """Rename, so that it survives a power cut."""
    before.rename(after)
    with held(open_trusted(after.parent)) as parent:
        os.fsync(parent)


def _remove(directory: Path) -> None:
    """Remove a directory with everything in it. Absent is fine."""
    if not os.path.lexists(directory):
        return
    with held(open_trusted(directory.parent)) as parent:
        remove_tree(parent, directory.name)
        os.fsync(parent)


def _delete(path: Path) -> None:
    with file_errors(f"remove {path}"):
        path.unlink()
        with held(open_trusted(path.parent)) as parent:
            os.fsync(parent)
