"""Drawings and lists of actions on a terminal: lines can be followed, texts stay whole, widths are kept."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from jobrunner_cli import theme
from jobrunner_cli.engine.states import StatusCode
from jobrunner_cli.graphs.alphabets import ASCII, UNICODE, Mark
from jobrunner_cli.graphs.listing import listing
from jobrunner_cli.graphs.terminal import drawing
from jobrunner_cli.output import Line, display_width
from support.graphs import Needs, edges_of, edges_seen, family, studies

DIAMOND = {"extract": [], "count": ["extract"], "listing": ["extract"], "report": ["count", "listing", "extract"]}


def text_of(lines: list[Line] | None) -> list[str]:
    assert lines is not None
    return ["".join(text for text, _ in line) for line in lines]


def mark(code: StatusCode) -> Mark:
    return Mark(glyph=theme.glyph(code), word=theme.word(code), style=theme.style(code), colours=theme.colours(code))


# The drawing.


@given(studies(), st.sampled_from([None, 40, 60, 90]))
def test_whoever_follows_the_lines_finds_every_need_and_no_other(needs: Needs, width: int | None) -> None:
    lines = drawing(needs, width=width)
    assume(lines is not None)
    picture = text_of(lines)
    assert edges_seen(picture, list(needs)) == edges_of(needs)
    assert all(len(line) <= (width or 10_000) for line in picture)
    assert all(line == line.rstrip() for line in picture)


def test_large_study_can_be_followed_too() -> None:
    needs = family()
    picture = text_of(drawing(needs, width=120))
    assert edges_seen(picture, list(needs)) == edges_of(needs)
    assert max(map(len, picture)) <= 120


def test_drawing_looks_like_this() -> None:
    assert text_of(drawing(DIAMOND, width=80)) == [
        " ╭─────────╮",
        " │ extract │",
        " ╰────┬────╯",
        "┌─────┼──────────┐",
        "│ ╭───▼───╮  ╭───▼─────╮",
        "│ │ count │  │ listing │",
        "│ ╰───┬───╯  ╰────┬────╯",
        "└────┐│┌──────────┘",
        "   ╭─▼▼▼────╮",
        "   │ report │",
        "   ╰────────╯",
    ]


def test_state_is_said_by_glyph_and_word_in_its_colour() -> None:
    codes = [StatusCode.SUCCEEDED, StatusCode.EXECUTING, StatusCode.WAITING_PAUSED, StatusCode.NONZERO_EXIT]
    marks = {action: mark(code) for action, code in zip(DIAMOND, codes, strict=True)}
    lines = drawing(DIAMOND, marks, width=80)
    assert lines is not None
    for action, code in zip(DIAMOND, codes, strict=True):
        styled = [text for line in lines for text, style in line if style == theme.style(code)]
        assert any(f" {action} " in text for text in styled)
        assert any(f" {theme.glyph(code)} {theme.word(code)} " in text for text in styled)


def test_ascii_drawing_is_the_same_in_other_characters() -> None:
    plain, lined = (text_of(drawing(family(2), width=120, alphabet=alphabet)) for alphabet in (ASCII, UNICODE))
    assert "".join(plain).isascii()
    assert [re.sub(r"\S", "#", line) for line in plain] == [re.sub(r"\S", "#", line) for line in lined]


@pytest.mark.parametrize(
    "name", ["データ抽出", "é" * 5, "x\u0301y", "a\x1b[31mb", "line\nbreak", "tab\tbed", "\u202eabc"]
)
def test_any_name_stays_in_its_box_and_reaches_the_terminal_as_text(name: str) -> None:
    picture = text_of(drawing({"first": [], name: ["first"], "last": [name]}, width=80))
    assert len({display_width(line) for line in picture[4:7]}) == 1
    assert all(char.isprintable() for line in picture for char in line)


def test_drawing_that_is_too_wide_or_too_tangled_is_none() -> None:
    assert drawing(DIAMOND, width=12) is None
    tangled = {**{f"in{n}": [] for n in range(40)}, **{f"out{n}": [f"in{n}", f"in{39 - n}"] for n in range(40)}}
    assert drawing(tangled, width=60) is None
    needed_by_all = {**{f"in{n}": [] for n in range(60)}, "all": [f"in{n}" for n in range(60)]}
    assert drawing(needed_by_all, width=100) is None


def test_study_without_actions_is_drawn_as_nothing() -> None:
    assert drawing({}, width=80) == []
    assert listing({}, width=80) == []


# The list.


def test_list_looks_like_this() -> None:
    assert text_of(listing(DIAMOND, width=None)) == [
        "extract",
        "├─ count",
        "│  └─ report  ← listing, extract",
        "└─ listing",
    ]
    assert text_of(listing(DIAMOND, width=None, alphabet=ASCII)) == [
        "extract",
        "|- count",
        "|  `- report  <- listing, extract",
        "`- listing",
    ]


@given(studies())
def test_list_has_every_action_once_and_all_that_it_needs(needs: Needs) -> None:
    seen = set()
    above: list[tuple[int, str]] = []
    for line in text_of(listing(needs, width=None)):
        own, _, also = line.partition("  ← ")
        action = own.lstrip("├└│─ ")
        indent = len(own) - len(action)
        above = [(column, other) for column, other in above if column < indent]
        seen |= {(above[-1][1], action)} if above else set()
        seen |= {(need, action) for need in also.split(", ") if need}
        above.append((indent, action))
    assert seen == edges_of(needs)
    assert len(listing(needs, width=None)) == len(needs)


@given(studies(), st.integers(12, 60), st.booleans())
def test_list_fits_any_terminal(needs: Needs, width: int, marked: bool) -> None:
    marks = {action: mark(StatusCode.WAITING_ON_WORKERS) for action in needs} if marked else None
    lines = text_of(listing(needs, marks, width=width))
    assert len(lines) == len(needs)
    assert all(line and display_width(line) <= width for line in lines)


def test_list_of_a_long_chain_shows_every_name_on_a_narrow_terminal() -> None:
    names = [f"step_{n:03}" for n in range(100)]
    needs = {name: [names[n - 1]] if n else [] for n, name in enumerate(names)}
    lines = text_of(listing(needs, width=40))
    assert all(line.endswith(name) for name, line in zip(names, lines, strict=True))


def test_list_says_the_state_in_words() -> None:
    lines = listing(DIAMOND, {action: mark(StatusCode.NONZERO_EXIT) for action in DIAMOND}, width=80)
    assert ("✘ count  nonzero exit", "bold red") in lines[1]
