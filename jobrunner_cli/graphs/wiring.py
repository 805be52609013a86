"""How lines run between two rows of a drawing on a grid of characters: where they leave, turn and arrive. Pure.

All lines from one action are one wire. Wires never share a stretch: they only cross, one going across and one down. They
leave the row above at even columns, and arrive at odd ones unless they come straight down, so that no line on its way
down meets another one in its column.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from jobrunner_cli.engine.graph import Layout, Place


def least_width(lines: int) -> int:
    """The least width of a box at which so many lines can arrive: an odd column for each, between its corners."""
    return 2 * lines + 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """The lines from one action between two rows."""

    action: str
    #: the column at which it leaves the row above
    start: int
    #: the columns at which it arrives at the row below
    ends: tuple[int, ...]
    #: the line between the rows, counted from above, on which it goes across; None if it comes straight down
    track: int | None = None

    @property
    def low(self) -> int:
        """The first column that it touches."""
        return min(self.start, *self.ends)

    @property
    def high(self) -> int:
        """The last column that it touches."""
        return max(self.start, *self.ends)


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """What is between two rows."""

    wires: tuple[Wire, ...]
    #: how many lines wires go across on
    tracks: int
    #: columns at which a trunk of the row below goes on, each from a wire that arrives one column to the right of it
    jogs: frozenset[int]
    #: action of the row below -> the columns at which lines arrive at its box
    ports: dict[str, tuple[int, ...]]


def channels(layout: Layout) -> list[Channel]:
    """What is between each two rows of a layout, from the top."""
    return [_channel(layout, upper, lower) for upper, lower in pairwise(layout.rows)]


def _channel(layout: Layout, upper: Sequence[Place], lower: Sequence[Place]) -> Channel:
    starts = {place.item.action: place.centre for place in upper}
    ends: dict[str, list[int]] = {}
    jogs: set[int] = set()
    ports: dict[str, tuple[int, ...]] = {}
    taken = set(starts.values())
    for place in lower:
        action = place.item.action
        if place.item.trunk:
            jogged = place.centre != starts[action] and place.centre in taken
            jogs |= {place.centre} if jogged else set()
            ends.setdefault(action, []).append(place.centre + 1 if jogged else place.centre)
            continue
        arriving = _ports(place, {need: starts[need] for need in layout.needs[action]})
        for need, column in arriving.items():
            ends.setdefault(need, []).append(column)
        ports[action] = tuple(sorted(arriving.values()))
    wires = [Wire(action=action, start=starts[action], ends=tuple(sorted(found))) for action, found in ends.items()]
    tracked = _tracked(wires)
    tracks = max((wire.track + 1 for wire in tracked if wire.track is not None), default=0)
    return Channel(wires=tuple(tracked), tracks=tracks, jogs=frozenset(jogs), ports=ports)


def _ports(place: Place, starts: dict[str, int]) -> dict[str, int]:
    """Need -> the column at which its line arrives at a box: straight from above, or on the side that it comes from."""
    inner = range(place.left + 1, place.right)
    ports = {need: column for need, column in starts.items() if column in inner}
    bent = sorted((need for need in starts if need not in ports), key=lambda need: starts[need])
    free = [column for column in inner if column % 2]
    if ports:
        first, last = min(ports.values()), max(ports.values())
        lefts = [need for need in bent if starts[need] < first]
        rights = [need for need in bent if starts[need] > last]
        before = [column for column in free if column < first]
        after = [column for column in free if column > last]
        if len(lefts) <= len(before) and len(rights) <= len(after):
            ports |= dict(zip(lefts, before[len(before) - len(lefts) :], strict=True))
            return ports | dict(zip(rights, after[: len(rights)], strict=True))
    spare = (len(free) - len(bent)) // 2
    return ports | dict(zip(bent, free[spare : spare + len(bent)], strict=True))


def _tracked(wires: Iterable[Wire]) -> list[Wire]:
    """The wires with their tracks: as few as it takes, in an order in which few of them cross."""
    bent = [wire for wire in wires if wire.ends != (wire.start,)]
    straight = [wire for wire in wires if wire.ends == (wire.start,)]
    bent.sort(key=lambda wire: (wire.low, wire.high))
    # Preferences may go round in a circle, so there is an end to it.
    for _ in bent:
        swaps = [
            n for n, (above, below) in enumerate(pairwise(bent)) if _crossings(below, above) < _crossings(above, below)
        ]
        if not swaps:
            break
        for n in swaps:
            if _crossings(bent[n + 1], bent[n]) < _crossings(bent[n], bent[n + 1]):
                bent[n], bent[n + 1] = bent[n + 1], bent[n]
    tracked: list[Wire] = []
    for wire in bent:
        below = (other.track or 0 for other in tracked if other.low <= wire.high and wire.low <= other.high)
        track = max(below, default=-1) + 1
        tracked.append(Wire(action=wire.action, start=wire.start, ends=wire.ends, track=track))
    return [*straight, *tracked]


def _crossings(above: Wire, below: Wire) -> int:
    """How often two wires cross if the first one goes across above the second one."""
    return sum(1 for end in above.ends if below.low <= end <= below.high) + (above.low <= below.start <= above.high)
