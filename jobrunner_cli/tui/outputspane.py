"""The pane that lists the outputs of a job, one of which is chosen; it draws only what is in sight."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

from rich.segment import Segment
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from jobrunner_cli.tui.cells import Looks
from jobrunner_cli.tui.looks import looks_of, under_cursor

#: Before each row, so that colour is not all that tells the chosen output from the others.
_POINTER, _NO_POINTER = "▸ ", "  "


class OutputsPane(ScrollView, can_focus=True):
    """The outputs. It holds what it is given by `show`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "edge(-1)", "First", show=False),
        Binding("end,G", "edge(1)", "Last", show=False),
        Binding("enter", "pick", "Open", show=False),
    ]

    class Moved(Message):
        """Another output is chosen."""

    class Picked(Message):
        """An output was clicked twice, or Enter was pressed on it."""

    def __init__(self) -> None:
        super().__init__(id="pane-outputs")
        self._lines: Sequence[tuple[Text, str | None]] = ()
        #: the rows of the screen's text, long lines in several, and the path that each is about
        self._rows: list[tuple[Text, str | None]] = []
        #: path -> its first row, in order
        self._starts: dict[str, int] = {}
        self._chosen: str | None = None
        self._looks: Looks | None = None

    # What it has.

    def show(self, lines: Sequence[tuple[Text, str | None]]) -> None:
        """Show these lines, each with the path that it is about; the same output stays chosen."""
        self._lines = lines
        self._arrange()

    @property
    def columns(self) -> int:
        """How many columns there are for a line."""
        return max(8, self.scrollable_content_region.width - len(_POINTER))

    @property
    def chosen(self) -> str | None:
        """The path of the chosen output: the first one unless another was chosen; None if there are none."""
        return self._chosen if self._chosen in self._starts else next(iter(self._starts), None)

    def choose(self, path: str | None) -> None:
        """Choose an output, None is the first one."""
        self._chosen = path
        self._keep_in_sight()
        self.refresh()
        self.post_message(self.Moved())

    def _arrange(self) -> None:
        width = self.columns
        self._rows = []
        for line, path in self._lines:
            parts = [line] if line.cell_len <= width else line.wrap(self.app.console, width, overflow="fold")
            self._rows += [(part, path) for part in parts]
        self._starts = {}
        for number, (_, path) in enumerate(self._rows):
            if path is not None:
                self._starts.setdefault(path, number)
        self.virtual_size = Size(0, len(self._rows))
        self.refresh()

    def on_resize(self, _event: events.Resize) -> None:
        """Long lines are wrapped anew."""
        self._arrange()
        self._keep_in_sight()

    # How it shows it.

    def render_line(self, y: int) -> Strip:
        """A row of the screen."""
        width = self.size.width
        self._looks = looks = self._looks or looks_of(self)
        number = self.scroll_offset.y + y
        if number >= len(self._rows):
            return Strip.blank(width, looks.text)
        text, path = self._rows[number]
        chosen = path is not None and path == self.chosen
        pointer = _POINTER if chosen and number == self._starts.get(path or "") else _NO_POINTER
        pieces = list(Segment.apply_style([Segment(pointer), *text.render(self.app.console)], looks.text))
        strip = Strip(pieces).adjust_cell_length(width, looks.text)
        if chosen:
            return Strip([under_cursor(piece, looks, focused=self.has_focus) for piece in strip], width)
        return strip

    def notify_style_update(self) -> None:
        """The theme is another one."""
        self._looks = None
        super().notify_style_update()

    # Moving.

    def action_move(self, steps: int) -> None:
        """Choose the next output or the one before; where there is none, scroll to what else is said."""
        paths = list(self._starts)
        chosen = self.chosen
        at = paths.index(chosen) + steps if chosen is not None else -1
        if 0 <= at < len(paths):
            self.choose(paths[at])
        else:
            self.scroll_relative(y=steps, animate=False)

    def action_page(self, pages: int) -> None:
        """Go a screen up or down."""
        if self.chosen is None:
            self.scroll_relative(y=pages * self.size.height, animate=False)
            return
        wanted = self._starts[self.chosen] + pages * max(1, self.size.height - 1)
        self.choose(min(self._starts, key=lambda path: abs(self._starts[path] - wanted)))

    def action_edge(self, way: int) -> None:
        """Choose the first output or the last one."""
        paths = list(self._starts)
        if paths:
            self.choose(paths[0 if way < 0 else -1])
        self.scroll_to(y=0 if way < 0 else self.virtual_size.height, animate=False)

    def action_pick(self) -> None:
        """Pick the chosen output."""
        self.post_message(self.Picked())

    def _keep_in_sight(self) -> None:
        chosen = self.chosen
        if chosen is None or not self.size.height:
            return
        first = self._starts[chosen]
        last = next((after - 1 for start, after in pairwise(self._starts.values()) if start == first), first)
        top = self.scroll_offset.y
        wanted = min(max(top, last - self.size.height + 1), first)
        if wanted != top:
            self.scroll_to(y=wanted, animate=False, force=True, immediate=True)

    def on_click(self, event: events.Click) -> None:
        """A click chooses, a second one picks."""
        offset = event.get_content_offset(self)
        number = self.scroll_offset.y + offset.y if offset is not None else len(self._rows)
        path = self._rows[number][1] if number < len(self._rows) else None
        if path is not None:
            self.choose(path)
            if event.chain == 2:
                self.post_message(self.Picked())
