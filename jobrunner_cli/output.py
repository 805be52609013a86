"""stdout: the results of commands, as tables that fit the terminal, as plain text in a pipe, or as JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

#: Columns for a pipe, where nothing is cut.
_UNLIMITED = 100_000
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table."""

    title: str
    value: Callable[[Any], str]
    #: the style of a row's cell
    style: Callable[[Any], str] | None = None
    #: may be cut with an ellipsis where the terminal is narrow
    may_shrink: bool = False
    #: is left out where no row has anything in it
    optional: bool = False
    right: bool = False


def console(*, stderr: bool = False) -> Console:
    """A console for a stream, without limits of width where that is not a terminal."""
    # Rich costs as much as the whole rest of the start; help and completion do without it.
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    made = Console(file=stream, highlight=False, soft_wrap=False, emoji=False, markup=False)
    if not made.is_terminal:
        made.width = _UNLIMITED
    return made


def table(rows: Sequence[Any], columns: Sequence[Column]) -> None:
    """Rows as a table, one line each: fitted to a terminal, plain and uncut in a pipe."""
    if sys.stdout.isatty():
        console().print(make_table(rows, columns))
        return
    cells, shown = _cells(rows, columns)
    lines = [[columns[n].title for n in shown], *([line[n] for n in shown] for line in cells)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(shown))]
    for line in lines:
        padded = (
            f"{text:>{width}}" if columns[n].right else f"{text:<{width}}"
            for n, text, width in zip(shown, line, widths, strict=True)
        )
        print("  ".join(padded).rstrip())


def _cells(rows: Sequence[Any], columns: Sequence[Column]) -> tuple[list[list[str]], list[int]]:
    """The texts of every cell, and which columns are shown."""
    cells = [[column.value(row) for column in columns] for row in rows]
    shown = [n for n, column in enumerate(columns) if not column.optional or any(line[n] for line in cells)]
    return cells, shown


def make_table(rows: Sequence[Any], columns: Sequence[Column]) -> Any:
    """The Rich table of some rows; columns that no row fills are left out if they may be."""
    from rich.table import Table
    from rich.text import Text

    cells, shown = _cells(rows, columns)
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for n in shown:
        column = columns[n]
        made.add_column(
            column.title,
            no_wrap=True,
            overflow="ellipsis",
            justify="right" if column.right else "left",
            ratio=None,
            min_width=None if column.may_shrink else max((len(line[n]) for line in cells), default=0),
        )
    for row, line in zip(rows, cells, strict=True):
        styles = [columns[n].style for n in shown]
        made.add_row(*(Text(line[n], style=pick(row) if pick else "") for n, pick in zip(shown, styles, strict=True)))
    return made


def as_json(value: Any) -> None:
    """A value as JSON with stable keys."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def line(text: str = "") -> None:
    """A line of text."""
    print(text)


def pairs(values: Mapping[str, str]) -> None:
    """Names and values, one line each, aligned; empty ones are left out."""
    shown = {name: value for name, value in values.items() if value}
    width = max((len(name) for name in shown), default=0)
    for name, value in shown.items():
        first, *rest = value.splitlines() or [""]
        print(f"{name:<{width}}  {first}")
        for more in rest:
            print(f"{'':<{width}}  {more}")


def ago(timestamp: float | None, now: float | None = None) -> str:
    """How long ago a time was, as people say it: `12s`, `5m`, `3h 10m`, `2d 4h`."""
    if timestamp is None:
        return ""
    return duration((time.time() if now is None else now) - timestamp)


def duration(seconds: float) -> str:
    """A length of time as people say it."""
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m {whole % _MINUTE:02}s"
    if whole < _DAY:
        return f"{whole // _HOUR}h {whole % _HOUR // _MINUTE:02}m"
    return f"{whole // _DAY}d {whole % _DAY // _HOUR}h"


def size(count: float) -> str:
    """A number of bytes as people say it."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError


def utc(timestamp: float | None) -> str | None:
    """A UNIX time as ISO 8601 in UTC."""
    return None if timestamp is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(timestamp))
