"""The theme's styles for what is drawn line by line, and how a line looks under the cursor."""

from __future__ import annotations

from typing import Any

from rich.color import Color as RichColor
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter
from textual.widget import Widget

from jobrunner_cli import theme
from jobrunner_cli.engine.states import Legend
from jobrunner_cli.tui.cells import Looks

#: What large or bold text needs at least (WCAG 2.2, success criterion 1.4.3).
LEAST_CONTRAST = 3.0
_YELLOW = RichColor.parse(theme.COLOURS[Legend.BLOCKED].background).triplet
#: Not bold, which many of those terminals show as grey.
_BLACK = Style(color="black", bold=False)


def looks_of(widget: Widget) -> Looks:
    """The theme's styles on a widget's ground."""
    base = widget.rich_style
    colours: dict[str, Any] = widget.app.theme_variables
    background = base.bgcolor
    return Looks(
        text=base,
        dim=Style(color=base.color, bgcolor=background, dim=True),
        head=Style(color=_hex(colours.get("primary"), base), bgcolor=background, bold=True),
        cursor=_cursor(colours),
        mark=Style(color=_hex(colours.get("warning"), base), bgcolor=background, bold=True),
    )


def _cursor(colours: dict[str, Any]) -> Style:
    """The line under the cursor: the theme's two colours, if one can be read on the other."""
    ground, text = (str(colours.get(f"block-cursor-{name}", "")) for name in ("background", "foreground"))
    if not ground.startswith("#"):
        # The terminal's own colours are not known here.
        return Style(reverse=True, bold=True)
    on = Color.parse(ground[:7])
    if not text.startswith("#") or contrast(Color.parse(text[:7]), on) < LEAST_CONTRAST:
        text = on.get_contrast_text(1.0).hex
    return Style(color=text[:7], bgcolor=on.hex, bold=True)


def contrast(one: Color, other: Color) -> float:
    """How well one colour can be told from another, from 1 to 21 (WCAG 2.2, contrast ratio)."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: Color) -> float:
    """The relative luminance (WCAG 2.2)."""
    parts = [part / 255 for part in colour.rgb]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


class FewColours(LineFilter):
    """For terminals with 16 colours, on which the legend's two yellows are one: what they say is black there."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The segments of a line, with those on the legend's yellow in black."""
        return [
            Segment(text, style + _BLACK, control)
            if style is not None and style.bgcolor is not None and style.bgcolor.triplet == _YELLOW
            else Segment(text, style, control)
            for text, style, control in segments
        ]


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
