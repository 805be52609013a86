"""What actions need, as an SVG picture (SVG 1.1) that stands alone: no style sheet, script or font from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from xml.sax.saxutils import escape

from jobrunner_cli.engine.graph import Layout, Place, arrange
from jobrunner_cli.graphs.alphabets import Mark
from jobrunner_cli.output import display_width, one_line
from jobrunner_cli.theme import LegendColours

#: Lengths in pixels. A character of the font takes 0.6 of its size, which all fixed-width fonts come near to.
_CHARACTER, _FONT_SIZE, _LINE = 8, 13, 18
_PADDING, _MARGIN, _GAP, _LINE_GAP, _CHANNEL = 14, 16, 24, 14, 52
#: Wider rows are broken, where that can be done.
_MOST = 1600
_FONT = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"
_NEUTRAL = LegendColours(background="#ffffff", text="#1b2733", border="#5b6b7b")
_WIRE, _GROUND = "#7b8794", "#f7f9fb"


def svg(needs: Mapping[str, Sequence[str]], marks: Mapping[str, Mark] | None = None) -> str:
    """The picture of actions (action -> what it needs) with their states, in ASCII.

    Raises ValueError if the needs go round in a circle or name what is not there.
    """
    texts = {action: _texts(action, marks) for action in needs}
    widths = {
        action: max(max(map(display_width, texts[action])) * _CHARACTER + 2 * _PADDING, (len(wanted) + 1) * 8)
        for action, wanted in needs.items()
    }
    layout = arrange(needs, widths, gap=_GAP, line_gap=_LINE_GAP, max_width=_MOST)
    layout = layout or arrange(needs, widths, gap=_GAP, line_gap=_LINE_GAP)
    assert layout is not None
    height_of_box = _LINE * (1 if marks is None else 2) + 2 * _PADDING - 4
    tops = [_MARGIN + n * (height_of_box + _CHANNEL) for n in range(len(layout.rows))]
    width, height = layout.width + 2 * _MARGIN, (tops[-1] if tops else 0) + height_of_box + _MARGIN
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    marker = 'id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="{_FONT}" font-size="{_FONT_SIZE}">',
        "<title>What each action needs</title>",
        f'<defs><marker {marker}><path d="M0,0.5 L8,4 L0,7.5 z" fill="{_WIRE}"/></marker></defs>',
        f'<rect width="{width}" height="{height}" rx="8" fill="{_GROUND}"/>',
        f'<g fill="none" stroke="{_WIRE}" stroke-width="1.5">',
        *_wires(layout, tops, height_of_box),
        "</g>",
    ]
    for row, top in zip(layout.rows, tops, strict=True):
        for place in row:
            if not place.item.trunk:
                mark = None if marks is None else marks[place.item.action]
                lines += _box(place, top, height_of_box, texts[place.item.action], mark)
    return "\n".join([*lines, "</svg>", ""])


def _texts(action: str, marks: Mapping[str, Mark] | None) -> list[str]:
    if marks is None:
        return [one_line(action)]
    return [one_line(action), f"{marks[action].glyph} {marks[action].word}"]


def _box(place: Place, top: int, height: int, texts: Sequence[str], mark: Mark | None) -> Iterator[str]:
    colours = _NEUTRAL if mark is None or mark.colours is None else mark.colours
    yield "<g>"
    yield f"<title>{_escaped(': '.join(texts))}</title>"
    yield (
        f'<rect x="{place.left + _MARGIN}" y="{top}" width="{place.width}" height="{height}" rx="6" '
        f'fill="{colours.background}" stroke="{colours.border}" stroke-width="1.5"/>'
    )
    middle = _MARGIN + place.left + place.width / 2
    baseline = top + height / 2 - _LINE * len(texts) / 2 + _LINE * 0.72
    for n, text in enumerate(texts):
        weight = ' font-weight="600"' if n == 0 else ""
        yield (
            f'<text x="{middle:g}" y="{baseline + n * _LINE:g}" text-anchor="middle" fill="{colours.text}"{weight} '
            f'xml:space="preserve">{_escaped(text)}</text>'
        )
    yield "</g>"


def _wires(layout: Layout, tops: Sequence[int], height: int) -> Iterator[str]:
    """The lines: a curve between each two rows that one goes through, and straight past the rows that it passes."""
    for n, (upper, lower) in enumerate(pairwise(layout.rows)):
        starts = {place.item.action: place.centre + _MARGIN for place in upper}
        begin, end = tops[n] + height, tops[n + 1]
        for place in lower:
            action = place.item.action
            if place.item.trunk:
                x = place.centre + _MARGIN
                yield f'<path d="{_curve(starts[action], begin, x, end)} V{end + height}"/>'
                continue
            arriving = sorted(starts[need] for need in layout.needs[action])
            for position, start in enumerate(arriving):
                port = place.left + _MARGIN + place.width * (position + 1) / (len(arriving) + 1)
                if len(arriving) == 1 and place.left < start - _MARGIN < place.right:
                    port = start
                yield f'<path d="{_curve(start, begin, port, end)}" marker-end="url(#arrow)"/>'


def _curve(x: float, y: float, to_x: float, to_y: float) -> str:
    if x == to_x:
        return f"M{x:g},{y:g} V{to_y:g}"
    half = (y + to_y) / 2
    return f"M{x:g},{y:g} C{x:g},{half:g} {to_x:g},{half:g} {to_x:g},{to_y:g}"


def _escaped(text: str) -> str:
    """The text as XML content, in ASCII."""
    whole = text.encode("utf-8", "replace").decode()
    return escape(whole).encode("ascii", "xmlcharrefreplace").decode()
