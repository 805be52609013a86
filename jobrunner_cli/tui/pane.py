"""The pane about one job: tabs for details, log, graph and outputs."""

from __future__ import annotations

import time
from enum import StrEnum

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import ScrollableContainer, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import ContentSwitcher, Input, Static

from jobrunner_cli.engine.states import ACTIVE_CODES
from jobrunner_cli.tui import portrait
from jobrunner_cli.tui.cells import short_name
from jobrunner_cli.tui.facts import Facts
from jobrunner_cli.tui.logpane import LogPane
from jobrunner_cli.tui.outputspane import OutputsPane


class Tab(StrEnum):
    """What the pane shows."""

    DETAILS = "details"
    LOG = "log"
    GRAPH = "graph"
    OUTPUTS = "outputs"


class Pane(Vertical):
    """The pane. It holds what it is given by `show`."""

    def __init__(self, tab: Tab = Tab.DETAILS) -> None:
        super().__init__(id="pane")
        self.tab = tab
        self.facts: Facts | None = None
        self.group: Text | None = None
        #: the graph has not been drawn since another job or tab was chosen
        self._is_new_graph = True

    def compose(self) -> ComposeResult:
        """The tabs, what they show, and the field of the search."""
        yield Static(id="tabs")
        with ContentSwitcher(initial=f"pane-{self.tab}"):
            with VerticalScroll(id="pane-details"):
                yield Static(id="details")
            yield LogPane()
            with ScrollableContainer(id="pane-graph"):
                yield Static(id="graph")
            yield OutputsPane()
        yield Input(placeholder="search the log; Enter goes to the next hit", id="search", compact=True)

    def on_mount(self) -> None:
        """The clock of what runs."""
        self.set_interval(1.0, self._tick)
        self._show_tabs()

    @property
    def log_pane(self) -> LogPane:
        """The log."""
        return self.query_one(LogPane)

    @property
    def outputs_pane(self) -> OutputsPane:
        """The outputs."""
        return self.query_one(OutputsPane)

    def show(self, facts: Facts | None) -> None:
        """Show this job; one that was shown already keeps its place."""
        other = facts is None or self.facts is None or facts.job.id != self.facts.job.id
        self.facts, self.group = facts, None
        self.query_one(ContentSwitcher).current = f"pane-{self.tab}"
        if other:
            self._is_new_graph = True
            self.outputs_pane.choose(None)
            for name in ("#pane-details", "#pane-graph", "#pane-outputs"):
                self.query_one(name).scroll_to(0, 0, animate=False)
        self._show_tabs()
        self._draw()

    def show_group(self, text: Text) -> None:
        """Show this about a group, whatever the tab."""
        self.facts, self.group = None, text
        self.query_one(ContentSwitcher).current = "pane-details"
        self._show_tabs()
        self._draw()

    def go_to(self, tab: Tab) -> None:
        """Show another tab."""
        self.tab = tab
        self._is_new_graph = True
        if self.group is None:
            self.query_one(ContentSwitcher).current = f"pane-{tab}"
        self._show_tabs()
        # What was hidden has no width yet.
        self.call_after_refresh(self._draw)

    def focus_inside(self) -> None:
        """Give the focus to what is shown."""
        self.screen.set_focus(self.query_one(f"#{self.query_one(ContentSwitcher).current}"))

    def on_resize(self) -> None:
        """The graph and the name of the job fit the new width."""
        self.call_after_refresh(self._draw)
        self._show_tabs()

    def _tick(self) -> None:
        if self.facts is not None and self.tab is Tab.DETAILS and self.facts.job.status_code in ACTIVE_CODES:
            self._draw()

    def _draw(self) -> None:
        if self.group is not None:
            self.query_one("#details", Static).update(self.group)
            return
        if self.facts is None:
            nothing = Text("No job is chosen.", "italic dim")
            for name in ("#details", "#graph"):
                self.query_one(name, Static).update(nothing)
            self.outputs_pane.show([(nothing, None)])
            return
        match self.tab:
            case Tab.DETAILS:
                width = self.query_one("#pane-details").scrollable_content_region.width
                self.query_one("#details", Static).update(portrait.details(self.facts, time.time(), width))
            case Tab.GRAPH:
                width = max(20, self.query_one("#pane-graph").scrollable_content_region.width - 1)
                graph = portrait.graph(self.facts, width)
                self.query_one("#graph", Static).update(graph)
                if self._is_new_graph:
                    self._is_new_graph = False
                    self.call_after_refresh(self._go_to_here, portrait.line_of_here(graph))
            case Tab.OUTPUTS:
                self.outputs_pane.show(portrait.outputs(self.facts, self.outputs_pane.columns))
            case Tab.LOG:
                pass

    @on(LogPane.Changed)
    def _log_changed(self) -> None:
        self._show_tabs()

    def _go_to_here(self, line: int) -> None:
        """Bring the job itself into sight in a graph that is larger than the pane."""
        place = self.query_one("#pane-graph")
        place.scroll_to(y=max(0, line - place.size.height // 2), animate=False)

    def _show_tabs(self) -> None:
        """The tabs, what is to be known about the log, and the job, as far as there is room for its name."""
        parts = []
        for number, tab in enumerate(Tab, start=1):
            style = "bold reverse" if tab is self.tab else "$text-muted"
            label = Content.assemble((f" {number} {tab.value.capitalize()} ", style))
            parts.append(label.stylize(f"@click=screen.do('tab_{tab.value}')"))
        if self.tab is Tab.LOG and self.group is None:
            parts.append(Content.assemble((self._about_log(), "bold")))
        if self.facts is not None:
            room = self.size.width - sum(part.cell_length for part in parts) - 3
            name = short_name(self.facts.job.workspace, self.facts.job.action, room)
            parts.append(Content.assemble((f"  {name}" if name else "", "bold")))
        self.query_one("#tabs", Static).update(Content("").join(parts))

    def _about_log(self) -> str:
        log = self.log_pane
        if log.needle:
            number, count = log.found
            if number or not count:
                return f" hit {number:,}/{count:,}" if count else " no hit"
            return f" {count:,} hit{'' if count == 1 else 's'}"
        return " ↓ follows" if log.follows and log.lines else ""
