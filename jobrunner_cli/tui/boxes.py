"""Boxes to tick: an empty one is empty in the text of the screen, too, whatever the terminal does with colours.

Textual (8.2.8) draws the same `▐X▌` for both, and tells them apart by colour alone; neither of its widgets lets one say
what is drawn. So `Box` has a `_button` in place of theirs, which is not public, and `Choice` takes apart what
`SelectionList.render_line` puts together. tests/tui/test_adding.py ticks both kinds by key and by mouse: where another
version does that in another way, the texts of the boxes are not there, or a click does nothing.
"""

from __future__ import annotations

from rich.segment import Segment
from textual.content import Content
from textual.strip import Strip
from textual.widgets import Checkbox, SelectionList


class Box(Checkbox):
    """One box with its label."""

    @property
    def _button(self) -> Content:
        """What `ToggleButton.render` puts before the label."""
        return Content("[x]" if self.value else "[ ]")


class Choice(SelectionList[str]):
    """A list of which any lines can be ticked."""

    def render_line(self, y: int) -> Strip:
        """A line with its box: the left side, the inside, the right side and a blank are the first four pieces of it."""
        pieces = list(super().render_line(y))
        style = pieces[0].style if pieces else None
        number = style.meta.get("option") if style is not None else None
        if number is None or len(pieces) < 4:
            return Strip(pieces)
        inside = "x" if self.get_option_at_index(number).value in self.selected else " "
        # The click on it is in the style of the box, its looks are in that of the blank.
        looks = (pieces[1].style or self.rich_style) + (pieces[3].style or self.rich_style)
        return Strip([Segment(f"[{inside}]", looks), *pieces[3:]])
