"""Where the actions of a study stand in a drawing of what needs what: rows, an order in each, and columns. Pure.

The drawing is layered: an action stands in a row below everything it needs (longest path), and the order in each row keeps
lines from crossing (barycentres of what an action is joined to). A line that passes a row on its way down has a place
there, too, a trunk; all lines from one action share one trunk. Columns are whole numbers, of a terminal's characters
or of pixels. Terminal, SVG and TUI draw what this module arranges.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from jobrunner_cli.engine.graph_rows import row_of_each

#: Times that the rows are gone through, down and up, to put them in order and to place them.
_ORDER_SWEEPS = 12
_PLACE_SWEEPS = 8
#: How much more a trunk insists on standing right below what it comes from than an action does.
_TRUNK_WEIGHT = 4.0


@dataclass(frozen=True, slots=True)
class Item:
    """What has a place in a row: an action's box, or a trunk of the lines that come from the action."""

    action: str
    trunk: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The columns of an item: it fills those from `left` on, so many as `width`; lines leave it at `centre`."""

    item: Item
    left: int
    width: int
    #: always even, so that a line that has to stand beside the lines from above finds an odd column
    centre: int

    @property
    def right(self) -> int:
        """The last column that it fills."""
        return self.left + self.width - 1


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A drawing, arranged."""

    #: action -> what it needs, each once
    needs: Mapping[str, tuple[str, ...]]
    #: from top to bottom, each from left to right
    rows: tuple[tuple[Place, ...], ...]

    @cached_property
    def width(self) -> int:
        """How many columns the drawing takes."""
        return max((place.right + 1 for row in self.rows for place in row), default=0)

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Action -> its row."""
        return {place.item.action: n for n, row in enumerate(self.rows) for place in row if not place.item.trunk}

    @cached_property
    def last_row_of_lines(self) -> dict[str, int]:
        """Action -> the lowest row that a line from it leads to; its own if there is none."""
        return _last_rows(self.needs, self.row_of)


def arrange(
    needs: Mapping[str, Sequence[str]],
    widths: Mapping[str, int],
    *,
    gap: int,
    line_gap: int,
    max_width: int | None = None,
    max_trunks: int | None = None,
) -> Layout | None:
    """Arrange actions (action -> what it needs) whose boxes have these widths; None if it takes more than `max_width`.

    There are at least `gap` columns between two boxes, and `line_gap` on both sides of a trunk. With a `max_width`, rows
    that would be wider are broken, so that related actions stay together. With `max_trunks`, None is also the answer
    where more lines than that pass a row, which nobody could follow. Raises ValueError if the needs go round in a
    circle or name what is not there.
    """
    known = {action: tuple(dict.fromkeys(wanted)) for action, wanted in needs.items()}
    sizes = _Sizes(widths=widths, gap=gap, line_gap=line_gap)
    # Nothing separates the last item of a row from a next one; a column may be lost to make its centre even.
    room = None if max_width is None else max_width + sizes.separation - 1
    row_of = row_of_each(known, sizes.of_box, sizes.of_trunk, room)
    if row_of is None:
        return None
    items = _items(known, row_of)
    if max_trunks is not None and any(sum(item.trunk for item in row) > max_trunks for row in items):
        return None
    rows = _ordered(known, items)
    if max_width is not None and any(sizes.of_row(row) > max_width for row in rows):
        return None
    return Layout(needs=known, rows=tuple(_placed(known, rows, sizes, max_width)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sizes:
    """How much room items take, and what has to stay free between them."""

    widths: Mapping[str, int]
    gap: int
    line_gap: int

    @property
    def of_trunk(self) -> int:
        """The columns of a trunk and of what separates it from the next item."""
        return _even(self.line_gap + 1)

    @property
    def separation(self) -> int:
        """The most columns that separate a box from the next one."""
        return _even(self.gap + 1)

    def of_box(self, action: str) -> int:
        """The columns of a box and of what separates it from the next one."""
        return self.widths[action] + self.separation

    def left_half(self, item: Item) -> int:
        """The columns of an item to the left of its centre."""
        return 0 if item.trunk else self.widths[item.action] // 2

    def right_half(self, item: Item) -> int:
        """The columns of an item to the right of its centre."""
        return 0 if item.trunk else self.widths[item.action] - self.widths[item.action] // 2 - 1

    def distance(self, left: Item, right: Item) -> int:
        """The least distance of the centres of two neighbours."""
        gap = self.line_gap if left.trunk or right.trunk else self.gap
        return _even(self.right_half(left) + gap + self.left_half(right) + 1)

    def of_row(self, row: Sequence[Item]) -> int:
        """The least width of a row, from the left edge of its first item to the right edge of its last."""
        inner = sum(self.distance(left, right) for left, right in pairwise(row))
        return _even(self.left_half(row[0])) + inner + self.right_half(row[-1]) + 1


def _even(number: int) -> int:
    """The number, or the next one if it is odd."""
    return number + number % 2


# Rows.


def _last_rows(needs: Mapping[str, tuple[str, ...]], row_of: Mapping[str, int]) -> dict[str, int]:
    last = dict(row_of)
    for action, wanted in needs.items():
        for need in wanted:
            last[need] = max(last[need], row_of[action])
    return last


def _items(needs: Mapping[str, tuple[str, ...]], row_of: Mapping[str, int]) -> list[list[Item]]:
    """The items of each row, in the order of the file."""
    rows: list[list[Item]] = [[] for _ in range(max(row_of.values(), default=-1) + 1)]
    last = _last_rows(needs, row_of)
    for action, row in row_of.items():
        rows[row].append(Item(action, trunk=False))
        for below in range(row + 1, last[action]):
            rows[below].append(Item(action, trunk=True))
    return rows


def _joints(needs: Mapping[str, tuple[str, ...]], upper: Sequence[Item], lower: Sequence[Item]) -> list[list[int]]:
    """For each item of a row, which items of the row above a line comes to it from."""
    above = {item.action: position for position, item in enumerate(upper)}
    return [
        [above[item.action]] if item.trunk else sorted(above[need] for need in needs[item.action]) for item in lower
    ]


def _turned(joints: Sequence[Sequence[int]], count: int) -> list[list[int]]:
    """The same joints, for each item of the row above."""
    turned: list[list[int]] = [[] for _ in range(count)]
    for lower, uppers in enumerate(joints):
        for upper in uppers:
            turned[upper].append(lower)
    return turned


# The order in each row.


def _ordered(needs: Mapping[str, tuple[str, ...]], rows: list[list[Item]]) -> list[list[Item]]:
    """The rows with their items in an order in which few lines cross."""
    best, fewest = rows, _crossings_of(needs, rows)
    current = rows
    for sweep in range(_ORDER_SWEEPS):
        if fewest == 0:
            break
        current = _swept(needs, current, downward=sweep % 2 == 0)
        crossings = _crossings_of(needs, current)
        if crossings < fewest:
            best, fewest = current, crossings
    return best


def _swept(needs: Mapping[str, tuple[str, ...]], rows: Sequence[Sequence[Item]], *, downward: bool) -> list[list[Item]]:
    """The rows, each put in the order of the barycentres of what its items are joined to in the row before."""
    swept = [list(row) for row in rows]
    numbers = range(1, len(rows)) if downward else range(len(rows) - 2, -1, -1)
    for n in numbers:
        if downward:
            joints = _joints(needs, swept[n - 1], swept[n])
        else:
            joints = _turned(_joints(needs, swept[n], swept[n + 1]), len(swept[n]))
        swept[n] = _by_barycentre(swept[n], joints)
    return swept


def _by_barycentre(row: Sequence[Item], joints: Sequence[Sequence[int]]) -> list[Item]:
    """The items of a row in the order of their barycentres; one that is joined to nothing stays where it is."""
    centres = {n: sum(found) / len(found) for n, found in enumerate(joints) if found}
    moving = iter(sorted(centres, key=lambda n: centres[n]))
    return [row[next(moving)] if n in centres else item for n, item in enumerate(row)]


def _crossings_of(needs: Mapping[str, tuple[str, ...]], rows: Sequence[Sequence[Item]]) -> int:
    return sum(_crossings(_joints(needs, upper, lower), len(upper)) for upper, lower in pairwise(rows))


def _crossings(joints: Iterable[Sequence[int]], count: int) -> int:
    """How many pairs of lines between two rows cross: counted with a Fenwick tree, as inversions are."""
    tree = [0] * (count + 1)
    seen = crossings = 0
    for uppers in joints:
        for upper in uppers:
            crossings += seen - _counted(tree, upper + 1)
        for upper in uppers:
            seen += 1
            position = upper + 1
            while position <= count:
                tree[position] += 1
                position += position & -position
    return crossings


def _counted(tree: Sequence[int], position: int) -> int:
    total = 0
    while position:
        total += tree[position]
        position -= position & -position
    return total


# Columns.


def _placed(
    needs: Mapping[str, tuple[str, ...]], rows: Sequence[Sequence[Item]], sizes: _Sizes, max_width: int | None
) -> list[tuple[Place, ...]]:
    """The rows with their columns: every item as near as possible to what it is joined to."""
    if not rows:
        return []
    width = max(map(sizes.of_row, rows)) if max_width is None else max_width
    above: list[list[list[int]]] = [[[] for _ in rows[0]]]
    above += [_joints(needs, upper, lower) for upper, lower in pairwise(rows)]
    below = [_turned(joints, len(row)) for row, joints in zip(rows, above[1:], strict=False)]
    below.append([[] for _ in rows[-1]])
    centres = [_settled(row, [width / 2] * len(row), sizes, width) for row in rows]
    for sweep in range(_PLACE_SWEEPS):
        last = sweep == _PLACE_SWEEPS - 1
        for n in range(len(rows)) if sweep % 2 else reversed(range(len(rows))):
            wanted: list[float] = list(centres[n])
            for position, (uppers, lowers) in enumerate(zip(above[n], below[n], strict=True)):
                joined = [centres[n - 1][upper] for upper in uppers]
                if not (last and uppers):
                    # In the end, what stands straight below its need counts for more than what is centred.
                    joined += [centres[n + 1][lower] for lower in lowers]
                if joined:
                    wanted[position] = sum(joined) / len(joined)
            centres[n] = _settled(rows[n], wanted, sizes, width)
    shift = min(row[0] - sizes.left_half(items[0]) for row, items in zip(centres, rows, strict=True))
    shift -= shift % 2
    return [
        tuple(_place(item, centre - shift, sizes) for item, centre in zip(items, row, strict=True))
        for items, row in zip(rows, centres, strict=True)
    ]


def _place(item: Item, centre: int, sizes: _Sizes) -> Place:
    left = sizes.left_half(item)
    return Place(item=item, left=centre - left, width=left + 1 + sizes.right_half(item), centre=centre)


def _settled(row: Sequence[Item], wanted: Sequence[float], sizes: _Sizes, width: int) -> list[int]:
    """Even centres for a row, as near to the wanted ones as order, distances and the drawing's width allow.

    This is isotonic regression (pool adjacent violators) of the wanted centres less the least ones.
    """
    least = [0]
    for left, right in pairwise(row):
        least.append(least[-1] + sizes.distance(left, right))
    first = _even(sizes.left_half(row[0]))
    slack = width - 1 - sizes.right_half(row[-1]) - least[-1] - first
    slack -= slack % 2
    pools: list[tuple[float, float, int]] = []  # mean, weight, how many
    for item, centre, offset in zip(row, wanted, least, strict=True):
        mean, weight, count = centre - offset - first, _TRUNK_WEIGHT if item.trunk else 1.0, 1
        while pools and pools[-1][0] >= mean:
            before, its_weight, its_count = pools.pop()
            mean = (mean * weight + before * its_weight) / (weight + its_weight)
            weight, count = weight + its_weight, count + its_count
        pools.append((mean, weight, count))
    moved = [min(max(2 * round(mean / 2), 0), slack) for mean, _, count in pools for _ in range(count)]
    return [first + offset + move for offset, move in zip(least, moved, strict=True)]
