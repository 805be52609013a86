"""What jobs cost: the file that gives some actions another weight than 1 (section 2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from jobrunner_cli.engine.errors import ConfigurationError

_ONE = Fraction(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The weights of jobs, in worker units; exact, so that sums are."""

    #: workspace -> patterns of action names, each with its weight, in the order of the file
    rules: Mapping[str, tuple[tuple[re.Pattern[str], Fraction], ...]] = field(default_factory=dict)

    def weight(self, workspace: str, action: str) -> Fraction:
        """What a job of this action costs: by the first pattern that matches the whole name, else 1."""
        for pattern, weight in self.rules.get(workspace, ()):
            if pattern.fullmatch(action):
                return weight
        return _ONE


def load_weights(path: Path) -> Weights:
    """The weights in a file; without a file every job weighs 1.

    Sections are workspaces, keys are regular expressions for whole action names (case counts), values are numbers above
    0. Raises ConfigurationError, naming line, section and key of all that does not fit.
    """
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        return Weights()
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not UTF-8") from error
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    rules: dict[str, list[tuple[re.Pattern[str], Fraction]]] = {}
    problems: list[str] = []
    workspace = ""
    for number, line in enumerate(text.splitlines(), start=1):
        entry = line.strip()
        if not entry or entry[0] in "#;":
            continue
        section = re.fullmatch(r"\[(.*)\]", entry)
        try:
            if section is not None:
                workspace = _new_section(section[1].strip(), rules)
            else:
                _add_rule(entry, rules.get(workspace))
        except ValueError as error:
            where = f", section [{workspace}]" if workspace else ""
            problems.append(f"{path}, line {number}{where}: {error}")
    if problems:
        raise ConfigurationError(
            "\n".join(problems), hint="a section is a workspace, with lines: action pattern = weight"
        )
    return Weights(rules={name: tuple(found) for name, found in rules.items()})


def _new_section(name: str, rules: dict[str, list[tuple[re.Pattern[str], Fraction]]]) -> str:
    if not name:
        raise ValueError("the section has no name")
    if name in rules:
        raise ValueError(f"the section [{name}] is there twice")
    rules[name] = []
    return name


def _add_rule(entry: str, rules: list[tuple[re.Pattern[str], Fraction]] | None) -> None:
    # At the last separator: a regular expression may have some of its own, a number has none.
    match = re.fullmatch(r"(.+)\s*=\s*([^=]*)", entry) or re.fullmatch(r"(.+)\s*:\s*([^:]*)", entry)
    if match is None:
        raise ValueError(f"{entry} is not of the form: action pattern = weight")
    key = match[1].strip()
    if rules is None:
        raise ValueError(f"key {key} stands before any section")
    if any(pattern.pattern == key for pattern, _ in rules):
        raise ValueError(f"key {key} is there twice")
    try:
        rules.append((_pattern(key), _number(match[2].strip())))
    except ValueError as error:
        raise ValueError(f"key {key}: {error}") from error


def _pattern(key: str) -> re.Pattern[str]:
    try:
        return re.compile(key)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"not a regular expression ({error})") from error


def _number(value: str) -> Fraction:
    # Decimal notation only: a fraction such as 1/3, which Fraction also reads, is no number to other programs.
    decimal = r"\+?([0-9]{1,30}(\.[0-9]{0,30})?|\.[0-9]{1,30})([eE][+-]?[0-9]{1,2})?"
    if re.fullmatch(decimal, value) is None or Fraction(value) <= 0:
        raise ValueError(f"{value or 'nothing'} is not a finite number above 0")
    return Fraction(value)
