"""Pictures of screens (SVG as Rich writes it), made the same everywhere, and told apart row by row: texts and colours."""

from __future__ import annotations

import difflib
import html
import re
from typing import NamedTuple

_CELL = 12.2
_ROW = 24.4
#: The name that Rich makes up for each picture.
_UNIQUE = re.compile(r"terminal-\d+-")
_DATE = re.compile(r"\d{4}-\d\d-\d\d(&#160;| )")
_MONTH = re.compile(r"/\d{4}-\d\d/")
_TIME = re.compile(r"\d\d:\d\d:\d\d")

#: What stands in each of a thousand rectangles.
_NOISE = ' shape-rendering="crispEdges"'

_CLASS = re.compile(r"\.terminal-(r\d+) \{ ([^}]*?);? \}")
_RECT = re.compile(r'<rect fill="([^"]+)" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="[\d.]+"')
_TEXT = re.compile(
    r'<text class="terminal-(r\d+)" x="([\d.]+)" y="[\d.]+" textLength="[\d.]+" clip-path="url\(#terminal-line-(\d+)\)">(.*?)</text>'
)


class Piece(NamedTuple):
    """A text in a row, and how it looks."""

    column: int
    text: str
    style: str
    ground: str


def stable(picture: str) -> str:
    """The picture without what differs from run to run: the names that Rich makes up, times of day, dates, months."""
    picture = _UNIQUE.sub("terminal-", picture).replace(_NOISE, "")
    picture = _MONTH.sub("/2026-01/", picture)
    return _TIME.sub("12:34:56", _DATE.sub(r"2026-01-02\1", picture))


def rows(picture: str) -> list[list[Piece]]:
    """The pieces of each row of a stable picture."""
    styles = dict(_CLASS.findall(picture))
    grounds: dict[int, list[tuple[int, int, str]]] = {}
    for colour, x, y, width in _RECT.findall(picture):
        start = round(float(x) / _CELL)
        span = (start, start + round(float(width) / _CELL), colour)
        grounds.setdefault(round((float(y) - 1.5) / _ROW), []).append(span)
    found: dict[int, list[Piece]] = {}
    for name, x, line, text in _TEXT.findall(picture):
        column, row = round(float(x) / _CELL), int(line)
        ground = next((colour for start, end, colour in grounds.get(row, ()) if start <= column < end), "")
        piece = Piece(column, html.unescape(text).replace("\xa0", " "), styles.get(name, ""), ground)
        found.setdefault(row, []).append(piece)
    # What is empty has a colour, too.
    for row, spans in grounds.items():
        texts = {piece.column for piece in found.get(row, ())}
        found.setdefault(row, []).extend(
            Piece(start, " " * (end - start), "", colour) for start, end, colour in spans if start not in texts
        )
    return [sorted(found.get(row, ())) for row in range(max(found, default=-1) + 1)]


def text_lines(picture: str) -> list[str]:
    """The rows of a stable picture as text."""
    lines = []
    for pieces in rows(picture):
        line = ""
        for piece in pieces:
            if piece.text.strip() or len(line) < piece.column:
                line = line.ljust(piece.column) + piece.text
        lines.append(line.rstrip())
    return lines


def difference(old: str, new: str) -> str:
    """How two stable pictures differ, in lines of text; where the texts are the same, in what other colours they are."""
    texts = difflib.unified_diff(text_lines(old), text_lines(new), "old", "new", lineterm="", n=1)
    lines = list(texts)
    before, after = rows(old), rows(new)
    for number in range(max(len(before), len(after))):
        one = before[number] if number < len(before) else []
        other = after[number] if number < len(after) else []
        if [(piece.column, piece.text) for piece in one] == [(piece.column, piece.text) for piece in other]:
            lines += [
                f"row {number + 1}, {a.text.strip() or 'nothing'!r}: {a.style} on {a.ground} -> {b.style} on {b.ground}"
                for a, b in zip(one, other, strict=True)
                if a != b
            ]
    return "\n".join(lines) or "the texts and their colours are the same: how Rich writes a picture has changed"
