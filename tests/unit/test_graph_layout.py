"""Where actions stand in a drawing: below what they need, none lost, none on top of another, no wider than allowed."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner_cli.engine.graph import Layout, arrange
from jobrunner_cli.engine.graph_rows import longest_paths
from support.graphs import Needs, edges_of, family, studies

GAP, LINE_GAP = 2, 1


def arranged(needs: Needs, max_width: int | None = None, max_trunks: int | None = None) -> Layout | None:
    widths = {action: max(len(action) + 4, 2 * len(set(wanted)) + 3) for action, wanted in needs.items()}
    return arrange(needs, widths, gap=GAP, line_gap=LINE_GAP, max_width=max_width, max_trunks=max_trunks)


def check(layout: Layout, needs: Needs) -> None:
    """Everything that holds for every drawing."""
    boxes = [place.item.action for row in layout.rows for place in row if not place.item.trunk]
    assert sorted(boxes) == sorted(needs)
    assert all(row for row in layout.rows)
    for need, action in edges_of(needs):
        assert layout.row_of[need] < layout.row_of[action]
        for between in layout.rows[layout.row_of[need] + 1 : layout.row_of[action]]:
            assert [place.item.trunk for place in between if place.item.action == need] == [True]
    for row in layout.rows:
        for left, right in pairwise(row):
            gap = LINE_GAP if left.item.trunk or right.item.trunk else GAP
            assert right.left - left.right > gap
        for place in row:
            assert 0 <= place.left <= place.centre <= place.right < layout.width
            assert place.centre % 2 == 0


@given(studies())
def test_every_edge_goes_down_and_nothing_is_lost_or_overlaps(needs: Needs) -> None:
    layout = arranged(needs)
    assert layout is not None
    check(layout, needs)


@given(studies())
def test_rows_are_those_of_the_longest_paths(needs: Needs) -> None:
    layout = arranged(needs)
    assert layout is not None
    assert layout.row_of == longest_paths({action: tuple(wanted) for action, wanted in needs.items()})
    for action, row in layout.row_of.items():
        assert row == max((layout.row_of[need] + 1 for need in needs[action]), default=0)


@given(studies(), st.integers(20, 120))
def test_drawing_keeps_to_its_width_or_is_none(needs: Needs, width: int) -> None:
    layout = arranged(needs, width)
    if layout is not None:
        assert layout.width <= width
        check(layout, needs)


@given(studies(), st.integers(0, 3))
def test_no_row_is_passed_by_more_lines_than_allowed(needs: Needs, most: int) -> None:
    layout = arranged(needs, max_trunks=most)
    if layout is not None:
        assert all(sum(place.item.trunk for place in row) <= most for row in layout.rows)


@given(studies())
def test_same_study_is_always_drawn_the_same(needs: Needs) -> None:
    assert arranged(needs, 80) == arranged(dict(needs), 80)


def test_wide_rows_are_broken_and_families_stay_together() -> None:
    needs = {f"{kind}_{n}": [f"{need}_{n}"] if need else [] for n in range(12) for kind, need in CHAIN.items()}
    layout = arranged(needs, 60)
    assert layout is not None
    check(layout, needs)
    # No line passes a row: what goes on from an action stands right below it.
    assert not any(place.item.trunk for row in layout.rows for place in row)


CHAIN = {"extract": "", "model": "extract", "plot": "model"}


def test_chain_stands_straight() -> None:
    layout = arranged({"extract": [], "clean": ["extract"], "a_long_name_of_an_action": ["clean"], "plot": ["a_long_name_of_an_action"]})  # fmt: skip
    assert layout is not None
    assert len({place.centre for row in layout.rows for place in row}) == 1


def test_lines_do_not_cross_where_they_need_not() -> None:
    needs: dict[str, list[str]] = {"a": [], "b": [], "c": [], "x": ["c"], "y": ["b"], "z": ["a"]}
    layout = arranged(needs)
    assert layout is not None
    upper, lower = ([place.item.action for place in row] for row in layout.rows)
    assert [needs[action] for action in lower] == [[action] for action in upper]


def test_large_study_fits_a_usual_terminal() -> None:
    needs = family()
    assert len(needs) == 114
    layout = arranged(needs, 120)
    assert layout is not None
    check(layout, needs)
    assert layout.width <= 120


@pytest.mark.parametrize(
    "needs", [{"a": ["a"]}, {"a": ["b"], "b": ["c"], "c": ["a"]}, {"a": [], "b": ["c", "a"], "c": ["b"]}]
)
def test_needs_in_a_circle_are_refused(needs: Needs) -> None:
    with pytest.raises(ValueError, match="needs itself"):
        arranged(needs)


def test_need_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="'b' is needed and not there"):
        arranged({"a": ["b"]})


def test_chain_that_is_longer_than_the_stack_is_arranged() -> None:
    names = [f"a{n}" for n in range(3000)]
    needs: dict[str, list[str]] = {name: [names[n - 1]] if n else [] for n, name in enumerate(names)}
    layout = arranged(dict(reversed(needs.items())), 40)
    assert layout is not None
    assert len(layout.rows) == 3000


def test_nothing_is_arranged_as_nothing() -> None:
    layout = arranged({}, 80)
    assert layout is not None
    assert (layout.rows, layout.width) == ((), 0)
