"""What is wrong with a file of a study: problems, how they read, and how they are collected."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

_LONGEST_SHOWN = 60
_LONGEST_KEY = 500
_MOST_LISTED = 200
# Comparing words takes time in proportion to the square of their length, and files may be hostile.
_MOST_COMPARISONS = 10_000
_MOST_CANDIDATES = 1_000
_LONGEST_COMPARED = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with a file, for people (`str`) and for programs (the fields)."""

    #: what is wrong, with the offending value in it
    message: str
    #: the action in which it is
    action: str | None = None
    #: the key, dotted from the action or the top
    key: str | None = None
    #: the offending value as a message shows it
    value: str | None = None
    #: where, counted from 1; None if there is no such place
    line: int | None = None
    column: int | None = None
    #: what was probably meant
    suggestion: str | None = None
    #: the keys that lead to it from the top, as long as nobody has made an action and a key of them
    path: tuple[str, ...] = ()

    def __str__(self) -> str:
        """One line: where, what, and what was probably meant."""
        if self.line is None:
            return self.text
        separator = ", " if self._where else ": "
        return f"line {self.line}{separator}{self.text}"

    @property
    def text(self) -> str:
        """The same without the line's number."""
        meant = f" (did you mean {shown(self.suggestion)}?)" if self.suggestion is not None else ""
        return f"{self._where}: {self.message}{meant}" if self._where else f"{self.message}{meant}"

    @property
    def _where(self) -> str:
        action = f"action {printable(self.action)}" if self.action is not None else ""
        return ", ".join(place for place in (action, printable(self.key or "")) if place)


@dataclass(frozen=True, slots=True)
class Timestamp:
    """A word without quotes that YAML reads as a date or a time; nothing in a study's files may be one."""

    text: str


class Place(Protocol):
    """Anything that knows where in the file it is."""

    @property
    def line(self) -> int:
        """Counted from 1."""
        ...

    @property
    def column(self) -> int:
        """Counted from 1."""
        ...


class Findings:
    """The problems of one file, collected in any order."""

    def __init__(self, problems: Iterable[Problem] = ()) -> None:
        self._problems = list(problems)
        self._comparisons = 0

    def add(
        self,
        place: Place | None,
        message: str,
        *,
        action: str | None = None,
        key: str | None = None,
        value: object = None,
        suggestion: str | None = None,
    ) -> None:
        """Take down one problem; `value` is the offending one, if there is one."""
        self._problems.append(
            Problem(
                message=message,
                action=action,
                key=key,
                value=None if value is None else shown(value),
                line=None if place is None else place.line,
                column=None if place is None else place.column,
                suggestion=suggestion,
            )
        )

    def closest(self, word: str, known: Iterable[str]) -> str | None:
        """The known word that was probably meant; none any more once thousands were compared."""
        import difflib

        if len(word) > _LONGEST_COMPARED or self._comparisons >= _MOST_COMPARISONS:
            return None
        candidates = [name for name in islice(known, _MOST_CANDIDATES) if len(name) <= _LONGEST_COMPARED]
        self._comparisons += len(candidates)
        return next(iter(difflib.get_close_matches(word, candidates, n=1)), None)

    def in_order(self) -> tuple[Problem, ...]:
        """All of them in the order of the file."""
        return tuple(sorted(self._problems, key=lambda problem: (problem.line or 0, problem.column or 0)))


def describe_problems(problems: Sequence[Problem], *, name: str) -> str:
    """A heading and one line for each problem."""
    heading = f"{name} has {len(problems):,} problem{'' if len(problems) == 1 else 's'}:"
    lines = [f"  {problem}" for problem in problems[:_MOST_LISTED]]
    if len(problems) > _MOST_LISTED:
        lines.append(f"  and {len(problems) - _MOST_LISTED:,} more")
    return "\n".join((heading, *lines))


def shown(value: object) -> str:
    """A value for a message: text in quotes, without control characters, shortened."""
    if isinstance(value, str):
        return f'"{printable(value)}"'
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return printable(value.text if isinstance(value, Timestamp) else str(value))


def dotted(keys: Iterable[str]) -> str:
    """The keys that lead to a value, on one line and without control characters, shortened."""
    return ".".join(map(printable, keys))[:_LONGEST_KEY]


def printable(text: str) -> str:
    """Text on one line and without control characters, shortened."""
    kept = text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in kept)
