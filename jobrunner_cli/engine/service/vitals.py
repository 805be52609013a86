"""What a service that is at work says of itself to other processes: a small file that it renews every few seconds."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from jobrunner_cli.engine.service.report_file import ReportFile

FILE_NAME = "service-status.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartVitals:
    """One part of a service."""

    at_work: bool
    failures: int
    #: why it failed, or what goes wrong; None if nothing does
    problem: str | None
    #: how it says it goes
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """What a service says of itself. Times are UNIX seconds."""

    pid: int
    version: str
    started_at: float
    #: when this was written
    told_at: float
    #: when the loop last looked at the table; None before its first look
    looked_at: float | None
    leaving: bool
    #: what the engine does not do; None if it answers
    engine_problem: str | None
    max_workers: int
    max_db_workers: int
    #: what the loop could not do lately; None if it could do everything
    loop_problem: str | None = None
    parts: dict[str, PartVitals] = field(default_factory=dict)


class VitalsFile:
    """The file, for the service itself."""

    def __init__(self, workdir: Path) -> None:
        self._file = ReportFile(workdir / FILE_NAME)

    def write(self, vitals: Vitals) -> None:
        """Renew it; where that cannot be done, it is said once and the service goes on."""
        self._file.write(asdict(vitals))

    def remove(self) -> None:
        """The service is gone."""
        self._file.remove()


def read_vitals(workdir: Path, pid: int | None) -> Vitals | None:
    """What the service with this process id says of itself; None if it says nothing, or that cannot be read."""
    try:
        values: dict[str, Any] = json.loads((workdir / FILE_NAME).read_text(encoding="utf-8"))
        values["parts"] = {name: PartVitals(**part) for name, part in values["parts"].items()}
        vitals = Vitals(**values)
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        return None
    return vitals if vitals.pid == pid else None


def age(timestamp: float) -> float:
    """Seconds since then; never less than none, for clocks are set back."""
    return max(time.time() - timestamp, 0.0)
