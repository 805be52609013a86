"""What actions need, drawn with the characters of a terminal: boxes in rows, and lines from each to what needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jobrunner_cli.engine.graph import Layout, Place, arrange
from jobrunner_cli.engine.graph_rows import longest_paths
from jobrunner_cli.graphs.alphabets import DOWN, LEFT, RIGHT, UNICODE, UP, Alphabet, Mark
from jobrunner_cli.graphs.wiring import Channel, Wire, channels, least_width
from jobrunner_cli.output import Line, display_width, one_line

#: Columns between two boxes, and beside a line that passes them.
_GAP, _LINE_GAP = 2, 1
#: More lines than these beside each other cannot be told apart any more.
_MOST_TRUNKS = 14
#: A drawing whose rows had to be broken says less than a list where fewer actions than these stand in a row.
_LEAST_IN_A_ROW = 1.5
_WIRE = "dim"


def drawing(
    needs: Mapping[str, Sequence[str]],
    marks: Mapping[str, Mark] | None = None,
    *,
    width: int | None,
    alphabet: Alphabet = UNICODE,
) -> list[Line] | None:
    """The drawing of actions (action -> what it needs) with their states, no wider than `width`.

    None if there is none so narrow, or none in which one could follow the lines. Raises ValueError if the needs go round in a circle or name what is not there.
    """
    texts = {action: _texts(action, marks) for action in needs}
    widths = {
        action: max(least_width(len(set(wanted))), 4 + max(map(display_width, texts[action])))
        for action, wanted in needs.items()
    }
    layout = arrange(needs, widths, gap=_GAP, line_gap=_LINE_GAP, max_width=width, max_trunks=_MOST_TRUNKS)
    if layout is None or _is_drawn_out(layout):
        return None
    styles = {action: "" if marks is None else marks[action].style for action in needs}
    return _Drawing(layout=layout, texts=texts, styles=styles, alphabet=alphabet).lines()


def _is_drawn_out(layout: Layout) -> bool:
    broken = len(layout.rows) > 1 + max(longest_paths(layout.needs).values(), default=-1)
    return broken and len(layout.needs) < _LEAST_IN_A_ROW * len(layout.rows)


def _texts(action: str, marks: Mapping[str, Mark] | None) -> list[str]:
    """What a box says, line by line."""
    if marks is None:
        return [one_line(action)]
    return [one_line(action), f"{marks[action].glyph} {marks[action].word}"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawing:
    layout: Layout
    #: action -> the lines of text in its box
    texts: Mapping[str, Sequence[str]]
    styles: Mapping[str, str]
    alphabet: Alphabet

    def lines(self) -> list[Line]:
        """The whole drawing."""
        between = channels(self.layout)
        lines: list[Line] = []
        for n, row in enumerate(self.layout.rows):
            ports = between[n - 1].ports if n else {}
            lines += self._row(n, row, ports)
            if n < len(between):
                lines += self._channel(between[n])
        return lines

    def _row(self, number: int, row: Sequence[Place], ports: Mapping[str, Sequence[int]]) -> list[Line]:
        """The lines of a row: its boxes, and the lines that pass them."""
        height = 2 + max((len(self.texts[place.item.action]) for place in row if not place.item.trunk), default=1)
        parts = []
        for place in row:
            action = place.item.action
            if place.item.trunk:
                parts.append([(self.alphabet.lines[UP | DOWN], _WIRE)] * height)
            else:
                has_outlet = self.layout.last_row_of_lines[action] > number
                box = self._box(place, ports.get(action, ()), has_outlet=has_outlet)
                parts.append([(text, self.styles[action]) for text in box])
        return [
            _joined([(place.left, part[n]) for place, part in zip(row, parts, strict=True)], row) for n in range(height)
        ]

    def _box(self, place: Place, ports: Sequence[int], *, has_outlet: bool) -> list[str]:
        """The lines of a box, each as wide as its place."""
        upper_left, upper_right, lower_left, lower_right, across, down = self.alphabet.box
        inner = range(place.left + 1, place.right)
        top = "".join(self.alphabet.arrow if column in ports else across for column in inner)
        bottom = "".join(self.alphabet.outlet if has_outlet and column == place.centre else across for column in inner)
        middle = []
        for text in self.texts[place.item.action]:
            free = len(inner) - display_width(text)
            middle.append(f"{down}{' ' * (free // 2)}{text}{' ' * (free - free // 2)}{down}")
        return [f"{upper_left}{top}{upper_right}", *middle, f"{lower_left}{bottom}{lower_right}"]

    def _channel(self, channel: Channel) -> list[Line]:
        """The lines between two rows; at least one, so that a line can be seen."""
        height = max(channel.tracks, 1)
        cells: list[dict[int, list[int]]] = [{} for _ in range(height)]
        for wire in channel.wires:
            for line, column, directions in _strokes(wire, height):
                cells[line].setdefault(column, []).append(directions)
        drawn = [self._wires(line) for line in cells]
        if channel.jogs:
            drawn.append(self._wires(_jogs(channel)))
        return drawn

    def _wires(self, cells: Mapping[int, Sequence[int]]) -> Line:
        """A line of wires. Where two of them cross, the one that goes down is drawn, and so cuts the other one."""
        text = ""
        for column in sorted(cells):
            found = cells[column]
            directions = found[0] if len(found) == 1 else UP | DOWN
            text += " " * (column - len(text)) + self.alphabet.lines[directions]
        return [(text, _WIRE)]


def _strokes(wire: Wire, height: int) -> list[tuple[int, int, int]]:
    """The cells of a wire between two rows: line, column, and the directions that it has there."""
    if wire.track is None:
        return [(line, wire.start, UP | DOWN) for line in range(height)]
    strokes = [(line, wire.start, UP | DOWN) for line in range(wire.track)]
    strokes += [(line, end, UP | DOWN) for line in range(wire.track + 1, height) for end in wire.ends]
    for column in range(wire.low, wire.high + 1):
        directions = UP * (column == wire.start) | DOWN * (column in wire.ends)
        directions |= LEFT * (column > wire.low) | RIGHT * (column < wire.high)
        strokes.append((wire.track, column, directions))
    return strokes


def _jogs(channel: Channel) -> dict[int, list[int]]:
    """The line on which wires that arrived beside their trunks step over to them, and the others go on."""
    cells: dict[int, list[int]] = {}
    for wire in channel.wires:
        for end in wire.ends:
            if end - 1 in channel.jogs:
                cells[end], cells[end - 1] = [UP | LEFT], [DOWN | RIGHT]
            else:
                cells[end] = [UP | DOWN]
    return cells


def _joined(parts: Sequence[tuple[int, tuple[str, str]]], row: Sequence[Place]) -> Line:
    """The parts of a line, each at its column, with blanks between them."""
    line: Line = []
    column = 0
    for (left, piece), place in zip(parts, row, strict=True):
        if left > column:
            line.append((" " * (left - column), ""))
        line.append(piece)
        column = place.right + 1
    return line
