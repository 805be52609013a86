"""The theme's styles for what is drawn line by line, and how a line looks under the cursor."""

from __future__ import annotations

from typing import Any

from rich.segment import Segment
from rich.style import Style
from textual.widget import Widget

from jobrunner_cli.tui.cells import Looks


def looks_of(widget: Widget) -> Looks:
    """The theme's styles on a widget's ground."""
    base = widget.rich_style
    colours: dict[str, Any] = widget.app.theme_variables
    background = base.bgcolor
    return Looks(
        text=base,
        dim=Style(color=base.color, bgcolor=background, dim=True),
        head=Style(color=_hex(colours.get("primary"), base), bgcolor=background, bold=True),
        cursor=Style(
            color=_hex(colours.get("block-cursor-foreground"), base),
            bgcolor=_hex(colours.get("block-cursor-background"), base),
            bold=True,
        ),
        mark=Style(color=_hex(colours.get("warning"), base), bgcolor=background, bold=True),
    )


def _hex(text: str | None, base: Style) -> str:
    """A colour of the theme that rich understands; the text's own where the theme names one of the terminal's."""
    if text and text.startswith("#"):
        return text[:7]
    return base.color.name if base.color is not None else "default"


def under_cursor(segment: Segment, looks: Looks, *, focused: bool) -> Segment:
    """A piece of the line under the cursor; what has the legend's colours keeps them."""
    style = segment.style or Style()
    if style.bgcolor is not None and style.bgcolor != looks.text.bgcolor:
        return segment
    return Segment(segment.text, looks.cursor if focused else Style.chain(style, Style(reverse=False, underline=True)))
