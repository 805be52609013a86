"""Studies for tests: a project.yaml from a few actions, committed to a real repository."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from support.repositories import StudyRepository

Action = Mapping[str, Any]


def action(
    run: str,
    *outputs: str,
    needs: Sequence[str] = (),
    high: Sequence[str] = (),
    minimal: Sequence[str] = (),
    dummy_data: str | None = None,
) -> Action:
    """An action as project.yaml has it; `outputs` are moderately sensitive, `high` and `minimal` the other levels."""
    levels = {"highly_sensitive": high, "moderately_sensitive": outputs, "minimally_sensitive": minimal}
    spec: dict[str, Any] = {
        "run": run,
        "needs": list(needs),
        "outputs": {
            level: {f"out{number}": pattern for number, pattern in enumerate(patterns)}
            for level, patterns in levels.items()
            if patterns
        },
    }
    if dummy_data is not None:
        spec["dummy_data_file"] = dummy_data
    return spec


def shell(script: str) -> str:
    """What an action's `run` is to have a shell do something."""
    return f"python:v2 sh -c {shlex.quote(script)}"


def make_study(
    path: Path, actions: Mapping[str, Action], files: Mapping[str, str | bytes] | None = None
) -> StudyRepository:
    """A study with these actions, committed."""
    study = StudyRepository(path)
    change_study(study, actions, files)
    return study


def change_study(
    study: StudyRepository, actions: Mapping[str, Action], files: Mapping[str, str | bytes] | None = None
) -> str:
    """Give a study these actions and files, and return the commit."""
    study.write(files or {})
    study.project(json.dumps({"version": "4.0", "actions": actions}, indent=1))
    return study.commit()
