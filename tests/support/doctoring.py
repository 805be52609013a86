"""A place for `jobrunner doctor` to look at, and what it finds there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.store import work_directory_with
from support.terminal import jobrunner

Findings = dict[str, list[dict[str, str]]]


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A work directory with a database, where no engine is asked."""
    return work_directory_with(tmp_path, monkeypatch)


def examined(*, code: int = 0, **environment: str) -> Findings:
    """The findings by their check."""
    found: Findings = {}
    for one in json.loads(jobrunner("doctor", "--json", code=code, **environment).stdout):
        assert set(one) == {"check", "verdict", "text", "help"}
        assert one["verdict"] in {"ok", "warning", "problem"}
        assert one["help"] or one["verdict"] == "ok", one
        found.setdefault(one["check"], []).append(one)
    return found


def only(findings: list[dict[str, str]], verdict: str) -> dict[str, str]:
    """The one finding with this verdict."""
    (one,) = [finding for finding in findings if finding["verdict"] == verdict]
    return one
