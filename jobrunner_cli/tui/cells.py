"""What a line of the list says: columns that fit the width, and the pieces of a line in their styles. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style

from jobrunner_cli import output, theme
from jobrunner_cli.engine.states import TABLE, State, StatusCode, says_more
from jobrunner_cli.engine.store.overview import Brief
from jobrunner_cli.tui.listing import Grouping, Head

#: A glyph and the longest word, with a blank on either side.
_STATE_WIDTH = 4 + max(len(entry.short) for entry in TABLE.values())
_MARK, _AGE, _TIME, _CPU, _MEMORY, _ID = 2, 4, 7, 5, 6, 8
_LEAST_MESSAGE = 16
_MOST_NAME = 46
#: What of a workspace's name is left at least where the action's needs the room.
_LEAST_WORKSPACE = 3
#: Units of an age, each with its seconds: in a list the largest is enough, and the eye compares them at once.
_UNITS = (("y", 365 * 86400), ("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """How wide each column is; 0 is not there."""

    state: int = _STATE_WIDTH
    name: int
    age: int = _AGE
    time: int = _TIME
    cpu: int = 0
    memory: int = 0
    identifier: int = 0
    message: int = 0
    #: jobs are named with their workspace
    full_names: bool


def fit(width: int, longest_name: int, *, grouping: Grouping, has_usage: bool) -> Columns:
    """Columns for so many cells: what matters least is not there on a narrow terminal."""
    full_names = grouping is Grouping.FLAT
    left = width - _MARK - _STATE_WIDTH - 1
    name = max(10, min(longest_name, _MOST_NAME))
    values: dict[str, int] = {"age": 0, "time": 0}
    for column, size in (("time", _TIME), ("age", _AGE), ("cpu", _CPU), ("memory", _MEMORY), ("identifier", _ID)):
        if column in {"cpu", "memory"} and not has_usage:
            continue
        least = 12 if column in {"time", "age"} else min(name, 24 if column == "identifier" else 20)
        if left - size - 1 >= least:
            values[column] = size
            left -= size + 1
    message = left - name - 1
    if message >= _LEAST_MESSAGE:
        values["message"] = message
        left = name
    return Columns(name=max(left, 4), full_names=full_names, **values)


def title(columns: Columns) -> str:
    """The line above the list."""
    parts = [" " * _MARK, _left("STATE", columns.state), " ", _left("ACTION", columns.name)]
    for text, size in (("TIME", columns.time), ("AGE", columns.age), ("CPU", columns.cpu), ("MEM", columns.memory)):
        if size:
            parts += [" ", _right(text, size)]
    if columns.identifier:
        parts += [" ", _left("ID", columns.identifier)]
    if columns.message:
        parts += [" ", _left("MESSAGE", columns.message)]
    return "".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """The styles of the theme for what is not in the legend's colours."""

    text: Style
    dim: Style
    head: Style
    cursor: Style
    mark: Style


def chip(code: StatusCode) -> Style:
    """The legend's colours for a code: its own in every theme, so that it stays what people know."""
    found = theme.colours(code)
    return Style(color=found.text, bgcolor=found.background, bold=TABLE[code].state is State.RUNNING)


def job_line(
    job: Brief, columns: Columns, looks: Looks, usage: Mapping[str, Any], *, marked: bool, paused: bool, now: float
) -> list[Segment]:
    """The pieces of a job's line."""
    state = f" {theme.glyph(job.code)} {theme.short_word(job.code)}"
    running = TABLE[job.code].state is State.RUNNING
    pieces = [
        Segment("▌ " if marked else "  ", looks.mark),
        Segment(_left(state, columns.state), chip(job.code)),
        Segment(" ", looks.text),
        Segment(_name(job, columns, paused=paused), looks.text),
    ]
    values = (
        (columns.time, run_time(job, now)),
        (columns.age, age(job, now)),
        (columns.cpu, _number(usage.get("cpu_sample"), "%") if running else ""),
        (columns.memory, _number(usage.get("mem_mb_sample"), "M") if running else ""),
    )
    for size, text in values:
        if size:
            pieces.append(Segment(f" {_right(text, size)}", looks.dim if not running else looks.text))
    if columns.identifier:
        pieces.append(Segment(f" {_left(job.id, columns.identifier, mark='')}", looks.dim))
    if columns.message:
        first = output.one_line(says_more(job.code, job.message))
        pieces.append(Segment(f" {_left(first, columns.message)}", looks.dim))
    return pieces


def head_line(head: Head, grouping: Grouping, width: int, looks: Looks, *, paused: bool) -> list[Segment]:
    """The pieces of the line above a group; its counts have glyphs instead of words where there is no room for these."""
    arrow = "▸" if head.folded else "▾"
    name = f"{arrow} {grouping.value} {output.one_line(head.name)}{' ‖ paused' if paused else ''}  "
    if head.workspace:
        name += f"{output.one_line(head.workspace)}  "
    left = max(0, width - cell_len(name))
    counts = _counts(head)
    if cell_len(counts) > left:
        counts = _short_counts(head)
    return [Segment(_left(name, min(cell_len(name), width)), looks.head), Segment(_left(counts, left), looks.dim)]


def _counts(head: Head) -> str:
    total = sum(head.counts.values())
    parts = [f"{total:,} job{'' if total == 1 else 's'}"]
    parts += [f"{head.counts[state]:,} {state.value}" for state in State if head.counts.get(state)]
    if head.blocked:
        parts.append(f"{head.blocked:,} blocked")
    return ", ".join(parts)


def _short_counts(head: Head) -> str:
    """The same with the glyphs of the legend at the foot, in its order."""
    waiting = head.counts.get(State.PENDING, 0) - head.blocked
    numbers = (
        (StatusCode.EXECUTING, head.counts.get(State.RUNNING, 0)),
        (StatusCode.CREATED, waiting),
        (StatusCode.WAITING_PAUSED, head.blocked),
        (StatusCode.SUCCEEDED, head.counts.get(State.SUCCEEDED, 0)),
        (StatusCode.NONZERO_EXIT, head.counts.get(State.FAILED, 0)),
    )
    return "  ".join(f"{theme.glyph(code)} {number:,}" for code, number in numbers if number)


def _name(job: Brief, columns: Columns, *, paused: bool) -> str:
    """What a job is called in its column."""
    action = f"{job.action} ‖" if paused else job.action
    if columns.full_names:
        return _left(short_name(job.workspace, action, columns.name), columns.name)
    return _left(output.one_line(action), columns.name)


def short_name(workspace: str, action: str, width: int) -> str:
    """`workspace/action` in so many cells: where that is too long, the workspace is cut first, and goes first."""
    workspace, action = output.one_line(workspace), output.one_line(action)
    room = width - cell_len(action) - 1
    if cell_len(workspace) <= room:
        return f"{workspace}/{action}"
    if room >= _LEAST_WORKSPACE:
        return f"{_left(workspace, room)}/{action}"
    return action if cell_len(action) <= width else _left(action, max(0, width))


def age(job: Brief, now: float) -> str:
    """How long ago a job was made, in its largest unit."""
    seconds = max(0, int(now - job.created_at))
    unit, size = next(((unit, size) for unit, size in _UNITS if seconds >= size), ("s", 1))
    return f"{seconds // size}{unit}"


def run_time(job: Brief, now: float) -> str:
    """How long a job has run, or ran, as far as there is room for it in the column."""
    if job.started_at is None:
        return ""
    text = output.duration((job.completed_at or now) - job.started_at)
    return text if len(text) <= _TIME else text.partition(" ")[0]


def _number(value: object, unit: str) -> str:
    if not isinstance(value, int | float):
        return ""
    if unit == "M" and value >= 10_000:
        return f"{value / 1024:.1f}G"
    return f"{value:.0f}{unit}"


def _left(text: str, size: int, mark: str = "…") -> str:
    if cell_len(text) <= size:
        return text + " " * (size - cell_len(text))
    return set_cell_size(text, max(0, size - len(mark))) + mark if size else ""


def _right(text: str, size: int) -> str:
    return " " * max(0, size - cell_len(text)) + text if cell_len(text) <= size else _left(text, size)
