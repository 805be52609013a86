"""A JSON Schema of project.yaml (draft-07, which editors know), made from what the rules are made from.

It says what a schema can: names, types, shapes of words and paths, and what hangs on the version. What takes looking
at two places at once, such as needs that are not actions, only `rules` can say. Whatever the rules accept, it accepts.
"""

from __future__ import annotations

import re
from typing import Any

from jobrunner_cli.engine.study.action_rules import COHORTEXTRACTOR_UNTIL, LATEST_UNTIL
from jobrunner_cli.engine.study.pipeline import DATASET_IMAGES, RUN_ALL, TAG_PATTERN
from jobrunner_cli.engine.study.rules import (
    CURRENT_VERSION,
    DEFAULT_POPULATION,
    EXPECTATIONS_IN,
    LONGEST_NAME,
    RUN_ALL_RESERVED_FROM,
)
from jobrunner_cli.engine.work import PRIVACY_LEVELS, REVIEWABLE_SUFFIXES

Schema = dict[str, Any]

_BLANK = r"[ \t\r\n]"
_BLANK_FREE = r"[^ \t\r\n]"
#: What may stand between brackets for a quote or a back slash; with a back slash before them, quotes would be an error
#: to validators that read patterns as Unicode.
_QUOTES = "'\"" + r"\\"
#: A first word that a shell would read otherwise than it is written: what it comes to, a pattern cannot say.
_QUOTED_WORD = rf"[^ \t\r\n]*[{_QUOTES}]"
#: A letter, a digit, `_`, `-` or `.`. Patterns of JSON Schema know the letters of ASCII only, so others all pass.
_NAME_PART = r"[^\u0000-,/:-@\[-^`{-\u007f]"
#: Refused anywhere in a path; only `*` is a wildcard, and it stands alone.
_NEVER_IN_PATHS = (r"[\\?\[\n\r\u0000]", r"\*\*", r"(^|/)(\.{0,2})(/|$)")
#: Numbers as text that Python reads and a pattern cannot judge: of other scripts, with an exponent, nearly whole.
_ODD_NUMBER = r"[^\u0000-\u007f]|[0-9._][eE]|\.[0-9_]{15}"
_LEVEL_NOTES = (
    "Patients' data, which nobody may look at: datasets, and files made from them.",
    f"What people may check before it is released. Types: {', '.join(REVIEWABLE_SUFFIXES)}.",
    "What holds no patients' data.",
)


def project_schema() -> Schema:
    """The schema, as JSON has it."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "project.yaml",
        "description": "The actions of a study.",
        "type": "object",
        "required": ["version", "actions"],
        "additionalProperties": False,
        "properties": {
            "version": {
                "description": f"The version of the format; {CURRENT_VERSION} is current.",
                "default": f"{CURRENT_VERSION}.0",
                "anyOf": [
                    *_version(range(1, CURRENT_VERSION + 1))["anyOf"],
                    {"type": "string", "pattern": _ODD_NUMBER},
                ],
            },
            "expectations": {
                "description": f"Version {EXPECTATIONS_IN} only: how many patients a made-up cohort has. "
                f"Before, it is {DEFAULT_POPULATION} whatever stands here.",
            },
            "actions": {
                "description": "The actions, by their names.",
                "type": "object",
                "propertyNames": _name(),
                "additionalProperties": {"$ref": "#/definitions/action"},
            },
        },
        "allOf": _rules_of_versions(),
        "definitions": {"action": _action(), **{level: _level(level) for level in PRIVACY_LEVELS}},
    }


def _version(versions: range) -> Schema:
    digits = "".join(map(str, versions))
    text = rf"^\s*\+?[0_]*[{digits}](\.[0_]*)?([eE][-+]?[0_]+)?\s*$"
    return {"anyOf": [{"type": "number", "enum": [*versions]}, {"type": "string", "pattern": text}]}


def _name(more: str = f"( +{_NAME_PART}+)*") -> Schema:
    return {
        "pattern": f"^(?!__|\\.{{1,2}}$){_NAME_PART}+{more}$",
        "maxLength": LONGEST_NAME,
    }


def _rules_of_versions() -> list[Schema]:
    """What is demanded of a file because of its version."""
    every = range(1, CURRENT_VERSION + 1)
    population = {"type": ["number", "boolean", "string"], "pattern": r"^\s*[-+]?[0-9](_?[0-9])*\s*$|[^\u0000-\u007f]"}
    expectations = {
        "type": "object",
        "required": ["population_size"],
        "additionalProperties": False,
        "properties": {"population_size": population},
    }
    no_cohortextractor = {"not": {"pattern": rf"^{_BLANK}*cohortextractor"}}
    no_latest = {"not": {"pattern": rf"^{_BLANK}*[^ \t\r\n:{_QUOTES}]+:latest({_BLANK}|$)"}}
    return [
        _from_version(
            range(EXPECTATIONS_IN, EXPECTATIONS_IN + 1),
            {"required": ["expectations"], "properties": {"expectations": expectations}},
        ),
        _from_version(every[EXPECTATIONS_IN:], {"properties": {"expectations": {"type": "null"}}}),
        _from_version(every[COHORTEXTRACTOR_UNTIL:], _every_run(no_cohortextractor)),
        _from_version(every[LATEST_UNTIL:], _every_run(no_latest)),
        _from_version(
            every[RUN_ALL_RESERVED_FROM - 1 :],
            {"properties": {"actions": {"propertyNames": {"not": {"const": RUN_ALL}}}}},
        ),
    ]


def _from_version(versions: range, then: Schema) -> Schema:
    return {"if": {"required": ["version"], "properties": {"version": _version(versions)}}, "then": then}


def _every_run(rule: Schema) -> Schema:
    return {"properties": {"actions": {"additionalProperties": {"properties": {"run": rule}}}}}


def _action() -> Schema:
    return {
        "type": "object",
        "required": ["run", "outputs"],
        "additionalProperties": False,
        **_privacy(),
        "properties": {
            "run": {
                "description": "The command. Its first word is an image and its version, such as python:v2.",
                "type": "string",
                "pattern": rf"^{_BLANK}*({_QUOTED_WORD}|[^ \t\r\n:{_QUOTES}]+:({TAG_PATTERN})({_BLANK}|$))",
            },
            "needs": {
                "description": "The actions whose outputs it reads.",
                "type": ["array", "null"],
                "items": {"type": ["string", "number"], **_name(more="")},
            },
            "config": {
                "description": "Given to the command as --config, in JSON.",
                "type": ["object", "null"],
            },
            "dummy_data_file": {
                "description": "A file of the study that stands in for a cohort on dummy data.",
                "type": ["string", "null"],
                "minLength": 1,
            },
            "outputs": {
                "description": "What it makes, by privacy level.",
                "type": "object",
                "additionalProperties": False,
                "properties": {level: {"$ref": f"#/definitions/{level}"} for level in PRIVACY_LEVELS},
                "anyOf": [{"required": [level], "properties": {level: {"type": "object"}}} for level in PRIVACY_LEVELS],
            },
        },
    }


def _privacy() -> Schema:
    """What is demanded of an action that extracts a dataset, where no quote hides how the words come out."""
    images = "|".join(DATASET_IMAGES)
    command = rf"^{_BLANK}*({images}):[^ \t\r\n{_QUOTES}]+{_BLANK}+generate[-_]dataset({_BLANK}[^{_QUOTES}]*)?$"
    others = {level: {"anyOf": [{"type": "null"}, {"maxProperties": 0}]} for level in PRIVACY_LEVELS[1:]}
    return {
        "if": {"required": ["run"], "properties": {"run": {"pattern": command}}},
        "then": {
            "properties": {
                "run": {"pattern": rf"{_BLANK}--output(={_BLANK_FREE}|{_BLANK}+{_BLANK_FREE})"},
                "outputs": {"properties": others},
            }
        },
    }


def _level(level: str) -> Schema:
    """From an id to a path; `*` stands for any part of a name."""
    reviewable = level == PRIVACY_LEVELS[1]
    suffixes = "|".join(map(re.escape, REVIEWABLE_SUFFIXES)) if reviewable else r"\.[^/.]*[^/.*]"
    return {
        "description": _LEVEL_NOTES[PRIVACY_LEVELS.index(level)],
        "type": ["object", "null"],
        "additionalProperties": {
            "description": "A path from the top of the study; `*` stands for any part of a name.",
            "type": "string",
            "allOf": [
                {"pattern": f"[^/]({suffixes})$"},
                *({"not": {"pattern": pattern}} for pattern in _NEVER_IN_PATHS),
                {"not": {"pattern": r"^(.:/|[A-Za-z]:|metadata(/|$))"}},
            ],
        },
    }
