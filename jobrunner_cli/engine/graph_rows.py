"""Which row of a drawing each action stands in: one below everything it needs, in rows that are not too wide. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

#: Filling rows takes a time that grows with the square of this.
_MOST_ACTIONS = 600


def longest_paths(needs: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
    """Action -> how many actions the longest chain of needs above it has, in the order of the file.

    Raises ValueError if the needs go round in a circle or name what is not there.
    """
    depths: dict[str, int] = {}
    for start in needs:
        stack = [start]
        under_way: set[str] = set()
        while stack:
            action = stack[-1]
            if action not in needs:
                msg = f"{action!r} is needed and not there"
                raise ValueError(msg)
            missing = [need for need in needs[action] if need not in depths]
            if action in depths or not missing:
                depths.setdefault(action, 1 + max((depths[need] for need in needs[action]), default=-1))
                under_way.discard(stack.pop())
            elif action in under_way:
                msg = f"{action!r} needs itself"
                raise ValueError(msg)
            else:
                under_way.add(action)
                stack.extend(reversed(missing))
    return {action: depths[action] for action in needs}


def row_of_each(
    needs: Mapping[str, tuple[str, ...]],
    width_of: Callable[[str], int],
    trunk_width: int,
    max_width: int | None,
) -> dict[str, int] | None:
    """Action -> its row; None if no way was found to stay within `max_width`.

    Without a limit, or where the rows of longest paths keep it, these are the rows. `width_of` a box and `trunk_width`
    count what separates an item from the next. Raises ValueError as `longest_paths` does.
    """
    rows = longest_paths(needs)
    if max_width is None or _widest(needs, rows, width_of, trunk_width) <= max_width:
        return rows
    if len(needs) > _MOST_ACTIONS:
        return None
    return _Filling(needs=needs, width_of=width_of, trunk_width=trunk_width, max_width=max_width).rows(rows)


def _widest(
    needs: Mapping[str, tuple[str, ...]], rows: Mapping[str, int], width_of: Callable[[str], int], trunk_width: int
) -> int:
    widths = [0] * (max(rows.values(), default=-1) + 1)
    last = dict(rows)
    for action, wanted in needs.items():
        widths[rows[action]] += width_of(action)
        for need in wanted:
            last[need] = max(last[need], rows[action])
    for action, row in rows.items():
        for below in range(row + 1, last[action]):
            widths[below] += trunk_width
    return max(widths, default=0)


@dataclass(slots=True, kw_only=True)
class _Filling:
    """Fills rows one after the other, with what lets the fewest lines run on."""

    needs: Mapping[str, tuple[str, ...]]
    width_of: Callable[[str], int]
    trunk_width: int
    max_width: int
    #: action -> how many of those that need it have no row yet
    waiting: dict[str, int] = field(default_factory=dict)
    #: actions of rows above with lines that run on
    open: set[str] = field(default_factory=set)
    found: dict[str, int] = field(default_factory=dict)

    def rows(self, depths: Mapping[str, int]) -> dict[str, int] | None:
        """Action -> its row, or None if something does not fit however it is tried."""
        self.waiting = dict.fromkeys(self.needs, 0)
        for wanted in self.needs.values():
            for need in wanted:
                self.waiting[need] += 1
        order = {action: n for n, action in enumerate(self.needs)}
        row = 0
        while len(self.found) < len(self.needs):
            ready = [
                action
                for action, wanted in self.needs.items()
                if action not in self.found and all(self.found.get(need, row) < row for need in wanted)
            ]
            placed = self._fill(row, ready, order, depths)
            if not placed:
                return None
            self.open |= {action for action in placed if self.waiting[action]}
            row += 1
        return {action: self.found[action] for action in self.needs}

    def _fill(self, row: int, ready: list[str], order: Mapping[str, int], depths: Mapping[str, int]) -> list[str]:
        """Put as many of these actions into a row as go in; returns them."""
        placed: list[str] = []
        used = 0
        while ready:
            ready.sort(key=lambda action: self._rank(action, order, depths))
            chosen = next((action for action in ready if self._fits(used, action)), None)
            if chosen is None:
                break
            ready.remove(chosen)
            placed.append(chosen)
            used += self.width_of(chosen)
            self.found[chosen] = row
            for need in self.needs[chosen]:
                self.waiting[need] -= 1
                if not self.waiting[need]:
                    self.open.discard(need)
        return placed

    def _rank(self, action: str, order: Mapping[str, int], depths: Mapping[str, int]) -> tuple[int, int, int, int]:
        """What goes first: what ends lines, then what goes on where the row above stopped, then the order of the file."""
        wanted = self.needs[action]
        ending = sum(1 for need in wanted if self.waiting[need] == 1)
        opening = 1 if self.waiting[action] else 0
        newest = max((self.found[need] for need in wanted), default=-1)
        return (opening - ending, -newest, -depths[action], order[action])

    def _fits(self, used: int, action: str) -> bool:
        ended = sum(1 for need in self.needs[action] if self.waiting[need] == 1)
        trunks = (len(self.open) - ended) * self.trunk_width
        return used + self.width_of(action) + trunks <= self.max_width
