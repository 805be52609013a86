"""This machine: Python, git and the clock."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from jobrunner_cli.engine.diagnosis.findings import Finding, ok, problem, warning

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings

#: The oldest git that knows how to keep users' and systems' configuration out.
_OLDEST_GIT = (2, 32)
_GIT_PATIENCE = 5.0
#: Nothing of this program is older: 1 January 2026.
_EARLIEST = 1_767_225_600
#: Seconds by which another clock may be ahead before it is said.
_SKEW = 60
#: adjtimex(2): the kernel's clock is not synchronized.
_TIME_ERROR = 5
#: Larger than `struct timex` on every architecture.
_TIMEX_SIZE = 512


def look_at_python(settings: Settings | None) -> Iterator[Finding]:
    """The interpreter, its SQLite and this program."""
    python = ".".join(map(str, sys.version_info[:3]))
    version = f"jobrunner {settings.deployment_text}, " if settings is not None else ""
    yield ok(f"{version}Python {python}, SQLite {sqlite3.sqlite_version}")


def look_at_git() -> Iterator[Finding]:
    """Whether git is there, and new enough."""
    helps = "install git 2.32 or newer: apt-get install git"
    try:
        done = subprocess.run(
            ["git", "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_GIT_PATIENCE,
            check=False,
        )
    except FileNotFoundError:
        yield problem("git is not installed", helps)
        return
    except subprocess.TimeoutExpired:
        yield problem("git does not answer", helps)
        return
    version = re.search(r"(\d+)\.(\d+)(?:\.\d+)*", done.stdout)
    if done.returncode or version is None:
        yield problem(f"git does not say its version: {done.stderr.strip()[:200]}", helps)
    elif (int(version[1]), int(version[2])) < _OLDEST_GIT:
        yield problem(f"git {version[0]} is too old", helps)
    else:
        yield ok(f"git {version[0]}")


def look_at_clock(settings: Settings | None) -> Iterator[Finding]:
    """Whether the clock can be right: jobs are sorted by it, and the job-server is told of it."""
    now = time.time()
    helps = "have it set by the network: timedatectl set-ntp true"
    if now < _EARLIEST:
        yield problem(f"the clock says {_said(now)}, which is past", helps)
        return
    ahead = None if settings is None else _newest_time(settings)
    if ahead is not None and ahead > now + _SKEW:
        yield warning(f"the clock says {_said(now)}, but the database knows of a change at {_said(ahead)}", helps)
    elif not _is_synchronized():
        yield warning(f"{_said(now)}; the kernel says that nothing keeps the clock right", helps)
    else:
        yield ok(_said(now))


def _said(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(moment))


def _newest_time(settings: Settings) -> int | None:
    """When the newest job was made; None without a job, or a database that can be asked."""
    from jobrunner_cli.engine.store import names

    try:
        conn = names.open_for_names(settings.database_path, patience=1.0)
        try:
            return names.newest_time(conn)
        finally:
            conn.close()
    except sqlite3.Error:
        return None


def _is_synchronized() -> bool:
    """What the kernel says of its clock; true where it cannot be asked."""
    # Only for this question.
    import ctypes

    try:
        # With no modes set, this only reads.
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(_TIMEX_SIZE))
    except (OSError, AttributeError):
        return True
    return bool(state != _TIME_ERROR)
