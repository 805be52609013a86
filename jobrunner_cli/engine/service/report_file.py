"""A small file by which a process tells others how it is: JSON, renewed as a whole, and of no harm where it cannot be."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

log = logging.getLogger(__name__)


class ReportFile:
    """The file, for the one process that writes it; for one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writable = True

    def write(self, report: Mapping[str, object]) -> None:
        """Renew it; where that cannot be done, it is said once and the process goes on."""
        draft = self._path.with_name(f".{self._path.name}.new")
        try:
            draft.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
            draft.replace(self._path)
        except OSError as error:
            if self._writable:
                log.warning("%s cannot be written: %s", self._path, error.strerror)
            self._writable = False
            return
        self._writable = True

    def remove(self) -> None:
        """The process is gone."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            log.debug("%s cannot be removed", self._path)
