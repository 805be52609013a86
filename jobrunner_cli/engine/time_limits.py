"""How long jobs may run: the limit for all, and the file that gives some actions another one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from jobrunner_cli.engine.forms import MalformedError, parse_duration
from jobrunner_cli.engine.rule_file import Rules, first_match, load_rules


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeLimits:
    """The time limits of jobs, in seconds; infinity is none."""

    default: float = math.inf
    rules: Rules[float] = field(default_factory=dict)

    def limit(self, workspace: str, action: str) -> float | None:
        """How long a job of this action may run: by the first pattern that matches the whole name, else as any other."""
        found = first_match(self.rules, workspace, action)
        seconds = self.default if found is None else found
        return seconds if seconds < math.inf else None


def load_time_limits(path: Path, default: float | None) -> TimeLimits:
    """The limits in a file, durations such as `90m`, or `none`; `default` (seconds) is for all other actions.

    Raises ConfigurationError, naming line, section and key of all that does not fit.
    """
    rules = load_rules(path, _seconds, value_name="time limit")
    return TimeLimits(default=math.inf if default is None else default, rules=rules)


def _seconds(text: str) -> float:
    if text.lower() == "none":
        return math.inf
    try:
        return parse_duration(text)
    except MalformedError as form:
        raise ValueError(f"{text or 'nothing'} is not {form}, or none") from None
