"""The legend as colours, glyphs and words, for every face alike. Colour never stands alone: a glyph and a word do."""

from __future__ import annotations

from dataclasses import dataclass

from jobrunner_cli.engine.states import TABLE, Legend, State, StatusCode


@dataclass(frozen=True, slots=True, kw_only=True)
class LegendColours:
    """The three colours of a mood, as hex values."""

    background: str
    text: str
    border: str


COLOURS = {
    Legend.HAPPY: LegendColours(background="#00397a", text="#f1f7ff", border="#002147"),
    Legend.BLOCKED: LegendColours(background="#ffdf75", text="#7d661c", border="#997d23"),
    Legend.ERROR: LegendColours(background="#b6093d", text="#fef3f6", border="#770628"),
}

_GLYPHS = {State.PENDING: "○", State.RUNNING: "●", State.SUCCEEDED: "✔", State.FAILED: "✘"}
_BLOCKED_GLYPH = "◌"
#: What stands for them where there is only ASCII.
_PLAIN_GLYPHS = {"○": "o", "●": "*", "✔": "+", "✘": "x", "◌": "~"}

# On a terminal the legend's own backgrounds would shout in a table; these foregrounds keep its moods readable on dark
# and light grounds alike.
_TERMINAL = {
    (Legend.HAPPY, State.PENDING): "dim",
    (Legend.HAPPY, State.RUNNING): "bold cyan",
    (Legend.HAPPY, State.SUCCEEDED): "green",
    (Legend.BLOCKED, State.PENDING): "yellow",
    (Legend.ERROR, State.FAILED): "bold red",
}


def glyph(code: StatusCode, *, plain: bool = False) -> str:
    """One character for a code; a `plain` one is ASCII."""
    entry = TABLE[code]
    found = _BLOCKED_GLYPH if entry.legend is Legend.BLOCKED else _GLYPHS[entry.state]
    return _PLAIN_GLYPHS[found] if plain else found


def colours(code: StatusCode) -> LegendColours:
    """The legend's colours for a code."""
    return COLOURS[TABLE[code].legend]


def word(code: StatusCode) -> str:
    """A few words for a code, for people."""
    return TABLE[code].word


def short_word(code: StatusCode) -> str:
    """A word or two for a code, for lists where every column counts."""
    return TABLE[code].short


def style(code: StatusCode) -> str:
    """The style of a code in a table on a terminal."""
    entry = TABLE[code]
    return _TERMINAL[entry.legend, entry.state]
