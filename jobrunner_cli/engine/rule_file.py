"""Files that give some actions a value of their own: sections are workspaces, keys are patterns of action names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from jobrunner_cli.engine.errors import ConfigurationError

V = TypeVar("V")
#: workspace -> patterns of action names, each with its value, in the order of the file
Rules = Mapping[str, tuple[tuple[re.Pattern[str], V], ...]]


def first_match(rules: Rules[V], workspace: str, action: str) -> V | None:
    """The value of the first pattern that matches the whole name of an action; None if none does."""
    return next((value for pattern, value in rules.get(workspace, ()) if pattern.fullmatch(action)), None)


def load_rules(path: Path, read_value: Callable[[str], V], *, value_name: str) -> Rules[V]:
    """The rules in a file; without a file there are none.

    Sections are workspaces, keys are regular expressions for whole action names (case counts), and `read_value` reads
    the values, raising ValueError. Raises ConfigurationError, naming line, section and key of all that does not fit.
    """
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not UTF-8") from error
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    rules: dict[str, list[tuple[re.Pattern[str], V]]] = {}
    problems: list[str] = []
    workspace = ""
    form = f"action pattern = {value_name}"
    for number, line in enumerate(text.splitlines(), start=1):
        entry = line.strip()
        if not entry or entry[0] in "#;":
            continue
        section = re.fullmatch(r"\[(.*)\]", entry)
        try:
            if section is not None:
                workspace = _new_section(section[1].strip(), rules)
            else:
                _add_rule(entry, rules.get(workspace), read_value, form)
        except ValueError as error:
            where = f", section [{workspace}]" if workspace else ""
            problems.append(f"{path}, line {number}{where}: {error}")
    if problems:
        raise ConfigurationError("\n".join(problems), hint=f"a section is a workspace, with lines: {form}")
    return {name: tuple(found) for name, found in rules.items()}


def _new_section(name: str, rules: dict[str, list[tuple[re.Pattern[str], V]]]) -> str:
    if not name:
        raise ValueError("the section has no name")
    if name in rules:
        raise ValueError(f"the section [{name}] is there twice")
    rules[name] = []
    return name


def _add_rule(
    entry: str, rules: list[tuple[re.Pattern[str], V]] | None, read_value: Callable[[str], V], form: str
) -> None:
    # At the last separator: a regular expression may have some of its own, a value has none.
    match = re.fullmatch(r"(.+)\s*=\s*([^=]*)", entry) or re.fullmatch(r"(.+)\s*:\s*([^:]*)", entry)
    if match is None:
        raise ValueError(f"{entry} is not of the form: {form}")
    key = match[1].strip()
    if rules is None:
        raise ValueError(f"key {key} stands before any section")
    if any(pattern.pattern == key for pattern, _ in rules):
        raise ValueError(f"key {key} is there twice")
    try:
        rules.append((_pattern(key), read_value(match[2].strip())))
    except ValueError as error:
        raise ValueError(f"key {key}: {error}") from error


def _pattern(key: str) -> re.Pattern[str]:
    try:
        return re.compile(key)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"not a regular expression ({error})") from error
