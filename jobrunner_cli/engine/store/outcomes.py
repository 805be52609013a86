"""Verdicts as JSON: how a work.Outcome is stored and read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from jobrunner_cli.engine.states import StatusCode
from jobrunner_cli.engine.work import Outcome, StoredOutput


def outcome_to_json(outcome: Outcome) -> dict[str, Any]:
    """The outcome in types that JSON has; paths that are not UTF-8 keep their bytes as lone surrogates."""
    values = {item.name: getattr(outcome, item.name) for item in fields(Outcome)}
    values["code"] = outcome.code.value
    values["outputs"] = [
        {item.name: getattr(output, item.name) for item in fields(StoredOutput)} for output in outcome.outputs
    ]
    values["refused"] = dict(outcome.refused)
    values["container_metadata"] = dict(outcome.container_metadata)
    return values


def outcome_from_json(values: Mapping[str, Any]) -> Outcome:
    """The outcome that `outcome_to_json` wrote, here or in a version that had one hint instead of its two parts."""
    parts = {"advice": values.get("hint"), "pointer": None}
    known = {item.name: values[item.name] for item in fields(Outcome) if item.name not in parts}
    known |= {name: values.get(name, former) for name, former in parts.items()}
    known["code"] = StatusCode(values["code"])
    known["outputs"] = tuple(StoredOutput(**output) for output in values["outputs"])
    known["unmatched_patterns"] = tuple(values["unmatched_patterns"])
    known["unmatched_outputs"] = tuple(values["unmatched_outputs"])
    return Outcome(**known)
