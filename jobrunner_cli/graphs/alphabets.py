"""What drawings of a study's actions are made of: the characters of lines and boxes, and what is said of a state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jobrunner_cli.theme import LegendColours

#: Directions that a line has in a cell; a line in several has their sum.
UP, DOWN, LEFT, RIGHT = 1, 2, 4, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What a drawing says of the state of an action."""

    glyph: str
    word: str
    #: on a terminal
    style: str = ""
    #: where there are colours of every kind; None for an action without a state
    colours: LegendColours | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alphabet:
    """The characters that a drawing is made of."""

    #: sum of directions -> the line that has them
    lines: Mapping[int, str]
    #: of a box: upper left, upper right, lower left, lower right, across, down
    box: tuple[str, str, str, str, str, str]
    #: where a line arrives at a box, and where one leaves it
    arrow: str
    outlet: str
    #: of the list: a branch, the last branch, what goes past
    branches: tuple[str, str, str]
    #: before the names of what else an action needs
    also: str
    ellipsis: str


UNICODE = Alphabet(
    lines={
        UP | DOWN: "│",
        LEFT | RIGHT: "─",
        UP | RIGHT: "└",
        UP | LEFT: "┘",
        DOWN | RIGHT: "┌",
        DOWN | LEFT: "┐",
        UP | LEFT | RIGHT: "┴",
        DOWN | LEFT | RIGHT: "┬",
        UP | DOWN | RIGHT: "├",
        UP | DOWN | LEFT: "┤",
        UP | DOWN | LEFT | RIGHT: "┼",
    },
    box=("╭", "╮", "╰", "╯", "─", "│"),
    arrow="▼",
    outlet="┬",
    branches=("├─ ", "└─ ", "│  "),
    also="←",
    ellipsis="…",
)

ASCII = Alphabet(
    lines={directions: {UP | DOWN: "|", LEFT | RIGHT: "-"}.get(directions, "+") for directions in UNICODE.lines},
    box=("+", "+", "+", "+", "-", "|"),
    arrow="v",
    outlet="+",
    branches=("|- ", "`- ", "|  "),
    also="<-",
    ellipsis="~",
)
