"""What jobs cost: the file that gives some actions another weight than 1 (section 2)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from jobrunner_cli.engine.rule_file import Rules, first_match, load_rules

_ONE = Fraction(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The weights of jobs, in worker units; exact, so that sums are."""

    rules: Rules[Fraction] = field(default_factory=dict)

    def weight(self, workspace: str, action: str) -> Fraction:
        """What a job of this action costs: by the first pattern that matches the whole name, else 1."""
        return first_match(self.rules, workspace, action) or _ONE


def load_weights(path: Path) -> Weights:
    """The weights in a file, numbers above 0; without a file every job weighs 1.

    Raises ConfigurationError, naming line, section and key of all that does not fit.
    """
    return Weights(rules=load_rules(path, _number, value_name="weight"))


def _number(value: str) -> Fraction:
    # Decimal notation only: a fraction such as 1/3, which Fraction also reads, is no number to other programs.
    decimal = r"\+?([0-9]{1,30}(\.[0-9]{0,30})?|\.[0-9]{1,30})([eE][+-]?[0-9]{1,2})?"
    if re.fullmatch(decimal, value) is None or Fraction(value) <= 0:
        raise ValueError(f"{value or 'nothing'} is not a finite number above 0")
    return Fraction(value)
