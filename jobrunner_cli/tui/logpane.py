"""The pane that shows a log: follows its end, searches, wraps or cuts long lines, and draws only what is in sight."""

from __future__ import annotations

from bisect import bisect_right
from typing import ClassVar

from rich.cells import cell_len, chop_cells
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from jobrunner_cli.tui.logfeed import MOST_LINES

#: What is kept of an endless line; the pager has the rest.
_LONGEST = 4096
_HIT = Style(color="#000000", bgcolor="#ffdf75")


class LogPane(ScrollView, can_focus=True):
    """A log. Lines are added by `extend`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll_up", "Up", show=False),
        Binding("down,j", "scroll_down", "Down", show=False),
        Binding("home", "top", "Top", show=False),
        Binding("end,G", "bottom", "End", show=False),
        Binding("left", "scroll_left", "Left", show=False),
        Binding("right", "scroll_right", "Right", show=False),
    ]

    #: keep to the end of the log, whatever comes
    follows: reactive[bool] = reactive(True, init=False, repaint=False)

    class Changed(Message):
        """It follows or stays, has its first lines or none, or is at another hit."""

    def __init__(self) -> None:
        super().__init__(id="pane-log")
        self._lines: list[str] = []
        #: for each line, the row of the screen's text at which it begins, when lines are wrapped
        self._starts: list[int] = []
        self._rows = 0
        self._widest = 0
        self.wraps = True
        #: the line at which the runner's summary begins, as long as what was printed is kept in sight above it
        self._summary: int | None = None
        self.note = ""
        self.needle = ""
        self._hit: int | None = None
        #: the line at the top when the search began: what is typed next narrows it down, and goes no further
        self._search_from = 0
        #: which hit it is at, of how many there were when that was looked for
        self.found = (0, 0)

    def watch_follows(self) -> None:
        """Tell who shows that."""
        self.post_message(self.Changed())

    # What it has.

    def clear(self, note: str = "") -> None:
        """Show nothing but a note."""
        self._lines, self.note, self._hit, self._widest = [], note, None, 0
        self.found = (0, 0)
        self._summary = None
        self._measure(0)
        self.scroll_to(0, 0, animate=False, force=True, immediate=True)
        self.refresh()
        self.post_message(self.Changed())

    def extend(self, lines: list[str], *, summary: bool = False) -> None:
        """Add lines at the end; the oldest go where there are too many.

        Whoever is at the end stays at that of what was printed when a `summary` comes: it is below, to be scrolled to.
        """
        first = len(self._lines)
        if summary and self.follows:
            self.follows, self._summary = False, first
        # Of more lines than there may be, the first ones do not come at all.
        fresh = [line[:_LONGEST] for line in lines[-MOST_LINES:]]
        self._drop(first + len(fresh) - MOST_LINES)
        first = len(self._lines)
        self._lines += fresh
        if self.needle:
            more = sum(self.needle in line.lower() for line in fresh)
            self.found = (self.found[0], self.found[1] + more)
        self._widest = max([self._widest, *(cell_len(line) for line in fresh)])
        self._measure(first)
        self._keep_to_the_end()
        self.refresh()
        if self.needle or not first:
            self.post_message(self.Changed())

    def _drop(self, count: int) -> None:
        """Let the oldest lines go; the others stay what they are, hits among them, and where they are on the screen."""
        if count <= 0:
            return
        rows = self._starts[count] if count < len(self._starts) else self._rows
        if self.needle:
            gone = sum(self.needle in line.lower() for line in self._lines[:count])
            self.found = (max(0, self.found[0] - gone), self.found[1] - gone)
        del self._lines[:count]
        self._starts = [start - rows for start in self._starts[count:]]
        self._hit = None if self._hit is None or self._hit < count else self._hit - count
        self._search_from = max(0, self._search_from - count)
        self._summary = None if self._summary is None else max(0, self._summary - count)
        if not self.follows:
            self.scroll_to(y=max(0, self.scroll_offset.y - rows), animate=False, force=True, immediate=True)

    def say(self, note: str) -> None:
        """Show a note below the lines."""
        self.note = note
        self._measure(len(self._lines))
        self._keep_to_the_end()
        self.refresh()

    @property
    def lines(self) -> list[str]:
        """The lines that are here."""
        return self._lines

    # How it shows them.

    def set_wrap(self, wraps: bool) -> None:
        """Wrap long lines, or cut them; the line at the top stays there."""
        top = self._line_at(self.scroll_offset.y)
        self.wraps = wraps
        self._measure(0)
        self.scroll_to(0, self._starts[top] if top < len(self._starts) else 0, animate=False, force=True)
        self._keep_to_the_end()
        self.refresh()

    def set_follow(self, follows: bool) -> None:
        """Keep to the end, or stay."""
        self.follows, self._summary = follows, None
        self._keep_to_the_end()

    def search(self, needle: str) -> int:
        """Go to the first line that has this in it, from where the search began on; returns how many have."""
        if not self.needle:
            self._search_from = self._line_at(self.scroll_offset.y)
        self.needle, self._hit = needle.lower(), None
        hits = self._hits()
        if hits:
            self._go_to(next((line for line in hits if line >= self._search_from), hits[0]))
        self._say_found(hits)
        self.refresh()
        return len(hits)

    def next_hit(self, way: int) -> tuple[int, int]:
        """Go to the next hit or the one before; returns which one it is of how many."""
        hits = self._hits()
        if hits:
            at = self._hit if self._hit is not None else self._line_at(self.scroll_offset.y)
            after = [line for line in hits if (line > at if way > 0 else line < at)]
            self._go_to((after[0] if way > 0 else after[-1]) if after else (hits[0] if way > 0 else hits[-1]))
        self._say_found(hits)
        return self.found

    def _say_found(self, hits: list[int]) -> None:
        self.found = (hits.index(self._hit) + 1 if self._hit in hits else 0, len(hits))
        self.post_message(self.Changed())

    def _hits(self) -> list[int]:
        if not self.needle:
            return []
        return [number for number, line in enumerate(self._lines) if self.needle in line.lower()]

    def _go_to(self, line: int) -> None:
        """Bring the first hit in a line into sight, also where it is far to the right in it."""
        self._stay()
        self._hit = line
        before = self._lines[line][: max(0, self._lines[line].lower().find(self.needle))]
        column, row = cell_len(before), self._starts[line]
        if self.wraps:
            row += min(column // self._width(), max(0, len(self._parts(self._lines[line])) - 1))
            left = 0
        else:
            right = column + cell_len(self.needle)
            left = 0 if right <= self._width() else max(0, column - self._width() // 2)
        self.scroll_to(x=left, y=max(0, row - self.size.height // 3), animate=False, force=True)
        self.refresh()

    # Rows: a wrapped line has several.

    def _width(self) -> int:
        return max(8, self.scrollable_content_region.width or self.size.width)

    def _parts(self, line: str) -> list[str]:
        if not self.wraps or cell_len(line) <= self._width():
            return [line]
        return chop_cells(line, self._width())

    def _measure(self, first: int) -> None:
        """Where each line begins, from the line `first` on."""
        del self._starts[first:]
        last = len(self._starts) - 1
        row = self._starts[last] + len(self._parts(self._lines[last])) if self._starts else 0
        for line in self._lines[len(self._starts) :]:
            self._starts.append(row)
            row += len(self._parts(line))
        self._rows = row
        self.virtual_size = Size(0 if self.wraps else self._widest, row + (1 if self.note else 0))

    def _line_at(self, row: int) -> int:
        return max(0, bisect_right(self._starts, row) - 1)

    def _keep_to_the_end(self) -> None:
        if self.follows:
            self.scroll_to(y=self.virtual_size.height, animate=False, force=True, immediate=True)
        elif self._summary is not None and self._summary < len(self._starts):
            last = self._starts[self._summary] - self.size.height
            self.scroll_to(y=max(0, last), animate=False, force=True, immediate=True)

    def _stay(self) -> None:
        self.follows, self._summary = False, None

    def render_line(self, y: int) -> Strip:
        """A row of the screen."""
        width, base = self.size.width, self.rich_style
        row = self.scroll_offset.y + y
        if row >= self._rows:
            text = self.note if row == self._rows else ""
            return Strip([Segment(text, base + Style(italic=True, dim=True))]).adjust_cell_length(width, base)
        line = self._line_at(row)
        parts = self._parts(self._lines[line])
        text = parts[min(row - self._starts[line], len(parts) - 1)]
        strip = Strip(self._pieces(text, base, current=line == self._hit))
        left = 0 if self.wraps else self.scroll_offset.x
        return strip.crop(left, left + width).adjust_cell_length(width, base)

    def _pieces(self, text: str, base: Style, *, current: bool) -> list[Segment]:
        if not self.needle:
            return [Segment(text, base)]
        pieces, at, lower = [], 0, text.lower()
        hit = _HIT + Style(bold=True, underline=True) if current else _HIT
        while (found := lower.find(self.needle, at)) >= 0 and len(lower) == len(text):
            pieces += [Segment(text[at:found], base), Segment(text[found : found + len(self.needle)], hit)]
            at = found + len(self.needle)
        return [*pieces, Segment(text[at:], base)]

    def on_resize(self, _event: events.Resize) -> None:
        """Lines are wrapped anew."""
        self._measure(0)
        self._keep_to_the_end()

    # Moving: who goes up wants to read, who goes to the end wants to follow.

    def action_scroll_up(self) -> None:
        """A line up."""
        self._stay()
        super().action_scroll_up()

    def action_scroll_down(self) -> None:
        """A line down."""
        self._summary = None
        super().action_scroll_down()

    def action_page_down(self) -> None:
        """A screen down."""
        self._summary = None
        super().action_page_down()

    def action_page_up(self) -> None:
        """A screen up."""
        self._stay()
        super().action_page_up()

    def action_top(self) -> None:
        """The first line."""
        self._stay()
        self.scroll_to(y=0, animate=False)

    def action_bottom(self) -> None:
        """The last line, and those that come."""
        self.set_follow(True)

    def on_mouse_scroll_up(self, _event: events.MouseScrollUp) -> None:
        """The wheel goes up."""
        self._stay()

    def on_mouse_scroll_down(self, _event: events.MouseScrollDown) -> None:
        """The wheel goes down."""
        self._summary = None
