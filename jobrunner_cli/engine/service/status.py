"""What sync last did, for people: kept in memory, and in a file that another process can read."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jobrunner_cli.engine.service.report_file import ReportFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """The last exchange of one kind with the job-server. Times are ISO 8601 in UTC."""

    #: when it was last tried
    at: str
    #: when it last went well; None before the first time
    well_at: str | None
    #: what went wrong the last time; None if nothing did
    problem: str | None
    #: how many job requests were listed, or told of
    requests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncReport:
    """What a sync did so far."""

    pid: int
    endpoint: str
    started_at: str
    #: the last GET and the last POST; None before the first
    asked: Exchange | None = None
    told: Exchange | None = None
    #: requests whose jobs the server refuses, and why
    refused: dict[str, str] | None = None


class SyncStatus:
    """The report of the sync of this process, renewed by its threads."""

    def __init__(self, path: Path, endpoint: str) -> None:
        self._file = ReportFile(path)
        self._guard = threading.Lock()
        self._report = SyncReport(pid=os.getpid(), endpoint=endpoint, started_at=_now())

    @property
    def report(self) -> SyncReport:
        """As it is now."""
        with self._guard:
            return self._report

    def asked(self, requests: int, problem: str | None) -> None:
        """Note a GET of the list: how many requests it has, or what went wrong."""
        with self._guard:
            self._report = replace(self._report, asked=_exchange(self._report.asked, requests, problem))
            self._file.write(asdict(self._report))

    def told(self, requests: int, problem: str | None, refused: dict[str, str]) -> None:
        """Note a round of POSTs: how many requests were confirmed, what went wrong, and which were refused."""
        with self._guard:
            exchange = _exchange(self._report.told, requests, problem)
            self._report = replace(self._report, told=exchange, refused=dict(refused))
            self._file.write(asdict(self._report))


def read_status(path: Path) -> SyncReport | None:
    """The report that a sync has left; None if there is none, or it cannot be read."""
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for name in ("asked", "told"):
            values[name] = None if values.get(name) is None else Exchange(**values[name])
        return SyncReport(**values)
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def _exchange(before: Exchange | None, requests: int, problem: str | None) -> Exchange:
    now = _now()
    well_at = now if problem is None else (before.well_at if before is not None else None)
    return Exchange(at=now, well_at=well_at, problem=problem, requests=requests)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
