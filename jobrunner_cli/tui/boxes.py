"""Boxes to tick: an empty one is empty in the text of the screen, too, whatever the terminal does with colours."""

from __future__ import annotations

from rich.segment import Segment
from textual.content import Content
from textual.strip import Strip
from textual.widgets import Checkbox, SelectionList


class Box(Checkbox):
    """One box with its label."""

    @property
    def _button(self) -> Content:
        """What Textual's own `render` puts before the label."""
        return Content("[x]" if self.value else "[ ]")


class Choice(SelectionList[str]):
    """A list of which any lines can be ticked."""

    def render_line(self, y: int) -> Strip:
        """A line with its box, which is the first three pieces of it."""
        pieces = list(super().render_line(y))
        style = pieces[0].style if pieces else None
        number = style.meta.get("option") if style is not None else None
        if number is None or len(pieces) < 4:
            return Strip(pieces)
        inside = "x" if self.get_option_at_index(number).value in self.selected else " "
        # The click on it is in the style of the box, its looks are in that of the blank.
        looks = (pieces[1].style or self.rich_style) + (pieces[3].style or self.rich_style)
        return Strip([Segment(f"[{inside}]", looks), *pieces[3:]])
