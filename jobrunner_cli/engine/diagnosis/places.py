"""Directories, the database and the space for them: whether they are there, whose they are, and who else may see them."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from jobrunner_cli.engine.diagnosis.findings import Finding, ok, problem, warning
from jobrunner_cli.engine.forms import format_size
from jobrunner_cli.engine.variables import VARIABLES

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.database import Connection

#: File systems of a network, on which SQLite's locks and shared memory cannot be relied on.
_NETWORKED = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "glusterfs", "fuse.sshfs", "9p"})
#: How often the floor has to be free before nothing is said.
_COMFORT = 4
#: Seconds after which a large database has been looked at for long enough, and SQLite's steps between looks at the clock.
_LONGEST_LOOK = 4.0
_STEPS_BETWEEN_LOOKS = 10_000
_GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A directory of ours."""

    name: str
    path: Path
    #: bytes that have to be free there; 0 is none
    floor: int
    #: what is in it may only be seen by the runner
    private: bool


def _places(settings: Settings) -> list[_Place]:
    high, medium = settings.high_privacy_free_space_floor, settings.medium_privacy_free_space_floor
    return [
        _Place(name="work directory", path=settings.workdir, floor=high, private=False),
        _Place(name="high privacy store", path=settings.high_privacy_storage_base, floor=high, private=True),
        _Place(name="medium privacy store", path=settings.medium_privacy_storage_base, floor=medium, private=False),
        _Place(name="directory of jobs", path=settings.high_privacy_volume_dir, floor=high, private=True),
        _Place(name="archives", path=settings.high_privacy_archive_dir, floor=0, private=True),
    ]


def look_at_directories(settings: Settings) -> Iterator[Finding]:
    """Whether the runner may write to its directories, and nobody else reads what is private."""
    for place in _places(settings):
        found = list(_look_at(place, real_data=not settings.using_dummy_data_backend))
        yield from found or [ok(f"{place.name}: {place.path}")]
    yield from _look_at_secrets(settings)


def _look_at(place: _Place, *, real_data: bool) -> Iterator[Finding]:
    name, path = f"{place.name} {place.path}", quote(str(place.path))
    # What is not there yet is made when it is needed, below the nearest directory that is.
    present = _nearest(place.path)
    if not present.is_dir():
        yield problem(f"{name}: {present} is not a directory", "set another place; see: jobrunner config")
        return
    if not os.access(present, os.W_OK | os.X_OK):
        owner = _owner(present)
        what = name if present == place.path else f"{name}, which is to be made in {present}"
        yield problem(
            f"{what}: this user may not write there; it belongs to {owner}", f"chown {_me()} {quote(str(present))}"
        )
        return
    if present != place.path:
        yield ok(f"{place.name}: {place.path} is not there yet; it is made when it is needed")
        return
    mode = _mode(place.path)
    # The sticky bit keeps others from replacing files, not from adding some.
    if mode & stat.S_IWOTH:
        yield problem(f"{name}: every user may write there (mode {mode:03o})", f"chmod o-w {path}")
    elif place.private and real_data and mode & (stat.S_IROTH | stat.S_IXOTH) and _is_reachable(place.path):
        yield problem(f"{name}: every user may read it (mode {mode:03o})", f"chmod o-rwx {path}")


def _mode(path: Path) -> int:
    """The permissions of what is there. Raises OSError."""
    return stat.S_IMODE(path.stat().st_mode)


def _look_at_secrets(settings: Settings) -> Iterator[Finding]:
    """Files with secrets in them, and the table of jobs."""
    sources = {
        settings.sources[variable.field]
        for variable in VARIABLES
        if variable.secret and getattr(settings, variable.field) is not None
    }
    files = {settings.database_path: False}
    if ".env" in sources:
        files[Path.cwd() / ".env"] = True
    if "config.toml" in sources:
        import platformdirs

        files[Path(platformdirs.user_config_dir("jobrunner", appauthor=False)) / "config.toml"] = True
    for path, is_secret in files.items():
        if not path.exists():
            continue
        mode = _mode(path)
        if mode & stat.S_IWOTH:
            yield problem(f"{path}: every user may write to it (mode {mode:03o})", f"chmod o-w {quote(str(path))}")
        elif is_secret and mode & (stat.S_IROTH | stat.S_IRGRP):
            yield warning(
                f"{path} has secrets in it, and others may read it (mode {mode:03o})", f"chmod 600 {quote(str(path))}"
            )


def _nearest(path: Path) -> Path:
    """The path, or the first of those above it that exists."""
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path


def _is_reachable(path: Path) -> bool:
    """Whether other users get as far as this directory."""
    return all(_mode(above) & stat.S_IXOTH for above in path.resolve().parents)


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except KeyError:
        return str(path.stat().st_uid)


def _me() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def look_at_space(settings: Settings) -> Iterator[Finding]:
    """Whether there is space: jobs wait where there is less than the floor."""
    seen: set[int] = set()
    for place in _places(settings):
        present = _nearest(place.path)
        device, system = present.stat().st_dev, os.statvfs(present)
        if device in seen or not system.f_blocks:
            # A file system is told of once; those of some networks have no size at all.
            continue
        seen.add(device)
        free = (system.f_bfree if os.geteuid() == 0 else system.f_bavail) * system.f_frsize
        text = f"{place.name} {place.path}: {free / _GIB:.1f} GiB free"
        if free < place.floor:
            yield problem(
                f"{text}, less than the floor of {format_size(place.floor)}: nothing starts",
                "jobrunner prune --dry-run",
            )
        elif system.f_files and not system.f_favail:
            yield problem(f"{text}, but no file can be made: it has no inodes left", "jobrunner prune --dry-run")
        elif free < place.floor * _COMFORT:
            yield warning(f"{text}, not much more than the floor", "jobrunner prune --dry-run")
        else:
            yield ok(text)


def look_at_database(settings: Settings) -> Iterator[Finding]:
    """Whether the database is there, as this version needs it, on a disk that it can be on. Raises JobrunnerError."""
    from jobrunner_cli.engine.store.database import RESTORE_IT, connect, ensure_migrated, translated
    from jobrunner_cli.engine.store.models import NEWEST_LEVEL

    path = settings.database_path
    ensure_migrated(path)
    with translated(path), closing(connect(path, readonly=True, patience=2.0)) as conn:
        ((journal,),) = conn.execute("PRAGMA journal_mode").fetchall()
        damage = _damage(conn)
    kind = _file_system(path)
    if damage:
        yield problem(f"{path} is damaged: {damage}", RESTORE_IT)
    elif kind in _NETWORKED:
        yield problem(f"{path} is on a file system of a network ({kind})", "set WORKDIR to a disk of this machine")
    elif journal != "wal":
        yield warning(
            f"{path} keeps no write-ahead log, so readers and the runner wait for one another",
            f"sqlite3 {quote(str(path))} 'PRAGMA journal_mode=WAL'",
        )
    else:
        yield ok(f"{path} at level {NEWEST_LEVEL}")


def _damage(conn: Connection) -> str:
    """The first thing that is wrong with the pages of a database; empty if none is found within a few seconds."""
    import sqlite3

    end = time.monotonic() + _LONGEST_LOOK
    conn.set_progress_handler(lambda: time.monotonic() > end, _STEPS_BETWEEN_LOOKS)
    try:
        ((found, *_),) = conn.execute("PRAGMA quick_check(1)").fetchall()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        return ""
    return "" if found == "ok" else str(found).replace("\n", " ")


def _file_system(path: Path) -> str:
    """The kind of the file system that a path is on; empty where the kernel does not say."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    resolved = str(path.resolve())
    best, kind = -1, ""
    for line in lines:
        before, _, after = line.partition(" - ")
        point = before.split()[4].encode().decode("unicode_escape")
        if len(point) >= best and (point == "/" or f"{resolved}/".startswith(f"{point}/")):
            best, kind = len(point), after.split()[0]
    return kind


def look_at_runner(settings: Settings) -> Iterator[Finding]:
    """Whether somebody moves the jobs that wait. Raises JobrunnerError."""
    from jobrunner_cli.engine.store import queries
    from jobrunner_cli.engine.store.database import connect, translated
    from jobrunner_cli.engine.store.locks import holder_pid

    pid = holder_pid(settings.runner_lock_path)
    if pid is not None:
        yield ok(f"process {pid} runs the jobs of {settings.workdir}")
        return
    if not settings.database_path.exists():
        yield ok("no runner is at work")
        return
    path = settings.database_path
    with translated(path), closing(connect(path, readonly=True, patience=2.0)) as conn:
        waiting = sum(queries.active_counts(conn).values())
    if waiting:
        who = "1 job has" if waiting == 1 else f"{waiting} jobs have"
        yield warning(f"{who} not ended, and no runner is at work", "jobrunner run")
    else:
        yield ok("no runner is at work, and no job waits for one")
