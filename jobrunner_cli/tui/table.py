"""The list of jobs: a scroll view that draws the lines it shows and no others, with cursor and marks bound to jobs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Offset, Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from jobrunner_cli import output
from jobrunner_cli.engine.states import State
from jobrunner_cli.engine.store.overview import Brief
from jobrunner_cli.tui.cells import Columns, Looks, age, fit, head_line, job_line, title
from jobrunner_cli.tui.listing import Grouping, Listing, is_group
from jobrunner_cli.tui.looks import looks_of, under_cursor

#: Lines that stay visible above and below the cursor.
_MARGIN = 1


class JobTable(ScrollView, can_focus=True):
    """The list. It holds what it is given by `show`, and draws from that."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup,ctrl+b", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "edge(-1)", "First", show=False),
        Binding("end,G", "edge(1)", "Last", show=False),
    ]

    #: the key of the line under the cursor, a job's id or a group's
    cursor: reactive[str | None] = reactive(None, repaint=False)

    class Moved(Message):
        """The cursor is at another job or group."""

        def __init__(self, key: str | None) -> None:
            super().__init__()
            self.key = key

    class MarksChanged(Message):
        """Other jobs are marked."""

    class Picked(Message):
        """A line was clicked twice, or a head once."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    def __init__(self) -> None:
        super().__init__(id="table")
        self._jobs: Mapping[str, Brief] = {}
        self._usage: Mapping[str, Mapping[str, Any]] = {}
        self._paused: frozenset[str] = frozenset()
        self._paused_workspaces: frozenset[str] = frozenset()
        self.listing = Listing()
        self.grouping = Grouping.WORKSPACE
        self.marks: frozenset[str] = frozenset()
        self._columns = Columns(name=20, full_names=False)
        self._line_of_cursor = 0
        self._looks: Looks | None = None
        self._ticked = time.time()
        self._longest = 10
        #: a line that the cursor goes to once it is there
        self._awaited: str | None = None
        #: what an empty list says
        self._note = ""

    def on_mount(self) -> None:
        """The clock of what runs."""
        self.set_interval(1.0, self._tick)

    # What it shows.

    def show(
        self,
        listing: Listing,
        jobs: Mapping[str, Brief],
        usage: Mapping[str, Mapping[str, Any]],
        *,
        grouping: Grouping,
    ) -> None:
        """Show this; cursor and marks stay with their jobs, and so does the place on the screen."""
        at = self._line_of_cursor - self.scroll_offset.y
        self.listing, self._jobs, self._usage, self.grouping = listing, jobs, usage, grouping
        gone = {job_id for job_id in self.marks if job_id not in jobs}
        if gone:
            self.marks -= gone
            self.post_message(self.MarksChanged())
        self._longest = self._longest_name()
        self._arrange()
        if self._awaited in listing.index:
            self.cursor, self._awaited = self._awaited, None
        line = listing.index.get(self.cursor or "")
        if line is None:
            line = min(self._line_of_cursor, len(listing.keys) - 1)
            # On first sight the cursor is on a job, not on the head above it.
            if self.cursor is None and 0 <= line < len(listing.keys) - 1 and is_group(listing.keys[line]):
                line += 1
        self._line_of_cursor = max(0, line)
        self.virtual_size = Size(0, len(listing.keys) + 1)
        self.cursor = listing.keys[line] if listing.keys else None
        if 0 <= at < max(1, self.size.height - 1):
            self.scroll_to(y=max(0, self._line_of_cursor - at), animate=False, force=True, immediate=True)
        self._keep_in_sight()
        self.refresh()

    def say(self, note: str) -> None:
        """What the list says where it has no lines."""
        self._note = note
        self.refresh()

    def set_paused(self, job_ids: frozenset[str], workspaces: frozenset[str]) -> None:
        """These jobs are paused, each for itself, and these workspaces."""
        if (job_ids, workspaces) != (self._paused, self._paused_workspaces):
            self._paused, self._paused_workspaces = job_ids, workspaces
            self.refresh()

    @property
    def current(self) -> Brief | None:
        """The job under the cursor."""
        return self._jobs.get(self.cursor or "")

    def brief(self, job_id: str) -> Brief | None:
        """A job that is there, whether or not the list shows it."""
        return self._jobs.get(job_id)

    def touched(self) -> list[Brief]:
        """The marked jobs in the order of the list, or else the one under the cursor; of a head, its group."""
        if self.marks:
            last = len(self.listing.keys)
            ordered = sorted(self.marks, key=lambda job_id: (self.listing.index.get(job_id, last), job_id))
            return [self._jobs[job_id] for job_id in ordered if job_id in self._jobs]
        if self.cursor is not None and is_group(self.cursor):
            return self.members(self.cursor)
        return [self.current] if self.current is not None else []

    def members(self, key: str) -> list[Brief]:
        """The jobs below a group's head, as far as they are not folded."""
        found = []
        for below in self.listing.keys[self.listing.index.get(key, 0) + 1 :]:
            if is_group(below):
                break
            found.append(self._jobs[below])
        return found

    def mark(self, job_ids: Iterable[str], *, marked: bool = True) -> None:
        """Mark these jobs too, or no more."""
        ids = frozenset(job_ids)
        self.marks = self.marks | ids if marked else self.marks - ids
        self.post_message(self.MarksChanged())
        self.refresh()

    def toggle_mark(self) -> None:
        """Mark the job under the cursor, or its group, or no more, and go on."""
        ids = {job.id for job in self.members(self.cursor)} if self.cursor and is_group(self.cursor) else {self.cursor}
        chosen = {job_id for job_id in ids if job_id is not None}
        if chosen:
            self.mark(chosen, marked=not chosen <= self.marks)
        self.action_move(1)

    def go_to(self, key: str) -> None:
        """Put the cursor on a line, if it is there."""
        line = self.listing.index.get(key)
        if line is not None:
            self._go(line)

    def go_to_soon(self, key: str) -> None:
        """Put the cursor on a line with the next listing that has it, unless the user moves it before that."""
        self._awaited = key

    def give_up(self) -> str | None:
        """Await a line no more; returns which one was, if one was."""
        awaited, self._awaited = self._awaited, None
        return awaited

    # Drawing.

    def render_line(self, y: int) -> Strip:
        """A line of the screen: the titles, which stay at the top, or a line of the list."""
        width = self._width
        self._looks = looks = self._looks or looks_of(self)
        if y == 0:
            return Strip([Segment(title(self._columns), looks.head)]).adjust_cell_length(width, looks.text)
        line = self.scroll_offset.y + y - 1
        if not self.listing.keys:
            note = output.fold(self._note, max(1, width), whole_words=False)[y - 1 : y]
            return Strip([Segment(text, looks.text) for text in note]).adjust_cell_length(width, looks.text)
        if line >= len(self.listing.keys):
            return Strip.blank(width, looks.text)
        key = self.listing.keys[line]
        if is_group(key):
            head = self.listing.heads[key]
            paused = self.grouping is Grouping.WORKSPACE and head.name in self._paused_workspaces
            segments = head_line(head, self.grouping, width, looks, paused=paused)
        else:
            segments = job_line(
                self._jobs[key],
                self._columns,
                looks,
                self._usage.get(key, {}),
                marked=key in self.marks,
                paused=key in self._paused,
                now=time.time(),
            )
        strip = Strip(segments).adjust_cell_length(width, looks.text)
        if line == self._line_of_cursor:
            # The legend's own cell keeps its colours under the cursor.
            return Strip([under_cursor(segment, looks, focused=self.has_focus) for segment in strip], width)
        return strip

    def notify_style_update(self) -> None:
        """The theme is another one."""
        self._looks = None
        super().notify_style_update()

    def _tick(self) -> None:
        """The clocks of the running jobs that are in sight go on, and so do ages that are others now."""
        before, self._ticked = self._ticked, time.time()
        top = self.scroll_offset.y
        for y, key in enumerate(self.listing.keys[top : top + max(0, self.size.height - 1)]):
            job = self._jobs.get(key)
            if job is not None and (job.state is State.RUNNING or age(job, before) != age(job, self._ticked)):
                self.refresh(Region(0, y + 1, self.size.width, 1))

    def _longest_name(self) -> int:
        full = self.grouping is Grouping.FLAT
        longest = 0
        for key in self.listing.keys[:5000]:
            job = self._jobs.get(key)
            if job is not None:
                longest = max(longest, len(job.action) + (len(job.workspace) + 1 if full else 0))
        return longest

    @property
    def _width(self) -> int:
        """The columns that there are beside the scroll bar."""
        return self.scrollable_content_region.width

    def _arrange(self) -> None:
        self._columns = fit(self._width, self._longest, grouping=self.grouping, has_usage=bool(self._usage))

    def on_resize(self, _event: events.Resize) -> None:
        """The columns fit the new width."""
        self._arrange()
        self.virtual_size = Size(0, len(self.listing.keys) + 1)
        self._keep_in_sight()
        self.refresh()

    # Moving.

    def watch_cursor(self, key: str | None) -> None:
        """Tell who shows the job."""
        self.post_message(self.Moved(key))

    def _go(self, line: int) -> None:
        self._awaited = None
        if not self.listing.keys:
            return
        line = max(0, min(line, len(self.listing.keys) - 1))
        before, self._line_of_cursor = self._line_of_cursor, line
        self.cursor = self.listing.keys[line]
        self._keep_in_sight()
        for changed in {before, line}:
            self.refresh(Region(0, changed - self.scroll_offset.y + 1, self.size.width, 1))

    def _keep_in_sight(self) -> None:
        height = max(1, self.size.height - 1)
        top, line = self.scroll_offset.y, self._line_of_cursor
        margin = min(_MARGIN, (height - 1) // 2)
        wanted = min(max(top, line + margin - height + 1), line - margin)
        wanted = max(0, min(wanted, len(self.listing.keys) - height))
        if wanted != top:
            self.scroll_to(y=wanted, animate=False, force=True, immediate=True)

    def action_move(self, lines: int) -> None:
        """Go up or down."""
        self._go(self._line_of_cursor + lines)

    def action_page(self, pages: int) -> None:
        """Go a screen up or down."""
        self._go(self._line_of_cursor + pages * max(1, self.size.height - 2))

    def action_edge(self, way: int) -> None:
        """Go to the first or the last line."""
        self._go(0 if way < 0 else len(self.listing.keys) - 1)

    def _line_at(self, offset: Offset) -> int | None:
        line = self.scroll_offset.y + offset.y - 1
        return line if offset.y > 0 and line < len(self.listing.keys) else None

    def on_click(self, event: events.Click) -> None:
        """A click goes there; a second one, or one on a head, picks it; one on the left edge marks."""
        line = self._line_at(event.get_content_offset(self) or Offset(0, 0))
        if line is None:
            return
        self._go(line)
        key = self.listing.keys[line]
        if is_group(key) or event.chain == 2:
            self.post_message(self.Picked(key))
        elif event.x < 2 or event.ctrl:
            self.mark({key}, marked=key not in self.marks)
