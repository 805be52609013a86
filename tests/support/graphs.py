"""Graphs for tests: any that a study may have, and reading a drawing back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import strategies as st

Needs = Mapping[str, Sequence[str]]


@st.composite
def studies(draw: st.DrawFn, most: int = 14) -> dict[str, list[str]]:
    """Actions and what each needs, never in a circle, in any order of the file, some needs named twice."""
    count = draw(st.integers(0, most))
    names = [f"{'a' * draw(st.integers(1, 18))}{n}" for n in range(count)]
    needs = {name: draw(st.lists(st.sampled_from(names[:n]), max_size=4)) if n else [] for n, name in enumerate(names)}
    return {name: needs[name] for name in draw(st.permutations(names))}


def edges_of(needs: Needs) -> set[tuple[str, str]]:
    """What is needed, and by what."""
    return {(need, action) for action, wanted in needs.items() for need in wanted}


def family(cohorts: int = 8) -> dict[str, list[str]]:
    """A study as they grow: one extraction, a family of actions for each cohort, one release. 114 actions for eight."""
    needs: dict[str, list[str]] = {"extract": []}
    for cohort in range(cohorts):
        needs[f"process_{cohort}"] = ["extract"]
        for model in range(4):
            needs[f"model_{cohort}_{model}"] = [f"process_{cohort}"]
            needs[f"table_{cohort}_{model}"] = [f"model_{cohort}_{model}"]
            needs[f"figure_{cohort}_{model}"] = [f"model_{cohort}_{model}"]
        needs[f"report_{cohort}"] = [f"table_{cohort}_{model}" for model in range(4)]
    needs["release"] = [f"report_{cohort}" for cohort in range(cohorts)]
    return needs


_UP, _DOWN, _LEFT, _RIGHT = (-1, 0), (1, 0), (0, -1), (0, 1)
_JOINS = {
    "│": {_UP, _DOWN},
    "─": {_LEFT, _RIGHT},
    "└": {_UP, _RIGHT},
    "┘": {_UP, _LEFT},
    "┌": {_DOWN, _RIGHT},
    "┐": {_DOWN, _LEFT},
    "┴": {_UP, _LEFT, _RIGHT},
    "┬": {_DOWN, _LEFT, _RIGHT},
    "├": {_UP, _DOWN, _RIGHT},
    "┤": {_UP, _DOWN, _LEFT},
    "┼": {_UP, _DOWN, _LEFT, _RIGHT},
}


def edges_seen(picture: Sequence[str], actions: Sequence[str]) -> set[tuple[str, str]]:
    """The edges that somebody sees who follows the lines of a drawing, from where each leaves a box to its arrows.

    Where a line that goes across meets one that goes down, it passes behind it. Names are to be without line characters.
    """
    boxes = {action: _box(picture, action) for action in actions}
    seen = set()
    for action, (_, bottom, left, right) in boxes.items():
        outlets = [column for column in range(left, right + 1) if picture[bottom][column] == "┬"]
        assert len(outlets) <= 1, action
        for column in outlets:
            for arrow in _arrows(picture, bottom, column):
                (found,) = [
                    other
                    for other, (top, _, first, last) in boxes.items()
                    if arrow[0] == top and first < arrow[1] < last
                ]
                seen.add((action, found))
    return seen


def _box(picture: Sequence[str], action: str) -> tuple[int, int, int, int]:
    """The lines and columns of a box: top, bottom, left, right."""
    ((line, column),) = [(n, text.index(f" {action} ")) for n, text in enumerate(picture) if f" {action} " in text]
    left = picture[line].rindex("│", 0, column + 1)
    right = picture[line].index("│", column + len(action) + 1)
    top, bottom = line, line
    while picture[top][left] == "│":
        top -= 1
    while picture[bottom][left] == "│":
        bottom += 1
    assert (picture[top][left], picture[top][right]) == ("╭", "╮")
    assert (picture[bottom][left], picture[bottom][right]) == ("╰", "╯")
    return top, bottom, left, right


def _arrows(picture: Sequence[str], bottom: int, column: int) -> set[tuple[int, int]]:
    """Where one comes to from an outlet."""
    found: set[tuple[int, int]] = set()
    seen: set[tuple[int, int, tuple[int, int]]] = set()
    ways = [(bottom, column, _DOWN)]
    while ways:
        line, column, way = ways.pop()
        line, column = line + way[0], column + way[1]
        if (line, column, way) in seen:
            continue
        seen.add((line, column, way))
        text = picture[line]
        cell = text[column] if column < len(text) else " "
        if cell == "▼":
            assert way == _DOWN
            found.add((line, column))
            continue
        back = (-way[0], -way[1])
        joins = _JOINS.get(cell, set())
        if back in joins:
            ways += [(line, column, onward) for onward in joins - {back}]
        else:
            assert cell == "│", f"a line ends at {line}, {column} before {cell!r}"
            ways.append((line, column, way))
    return found
