"""The one screen: it shows what the threads tell, and does what the registry's entries stand for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Input

from jobrunner_cli import output
from jobrunner_cli.engine.errors import JobrunnerError
from jobrunner_cli.engine.standing import Standing
from jobrunner_cli.engine.states import ACTIVE_CODES
from jobrunner_cli.tui import acts, portrait
from jobrunner_cli.tui.banner import StatusLine, Warnings
from jobrunner_cli.tui.conditions import CONDITIONS
from jobrunner_cli.tui.foot import KeyLine, LegendLine
from jobrunner_cli.tui.listing import Wanted, is_group
from jobrunner_cli.tui.logfeed import LogFeed
from jobrunner_cli.tui.logpane import LogPane
from jobrunner_cli.tui.news import Chosen, Done, EngineSeen, Listed, LogEnded, LogRead, Stood, Troubled
from jobrunner_cli.tui.outputspane import OutputsPane
from jobrunner_cli.tui.pane import Pane, Tab
from jobrunner_cli.tui.registry import BY_NAME, ENTRIES, Entry
from jobrunner_cli.tui.table import JobTable

if TYPE_CHECKING:
    from jobrunner_cli.tui.app import LiveView

#: Columns from which the pane stands beside the list.
_WIDE = 120
#: Seconds for which the cursor rests before the log of its job is opened.
_REST = 0.2


class MainScreen(Screen[None]):
    """List, pane, head and foot."""

    #: What is typed before all is there is for the list, not for the first field.
    AUTO_FOCUS = "#table"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            ",".join(entry.keys), f"do('{entry.name}')", entry.label, id=entry.name, show=False, priority=entry.at_once
        )
        for entry in ENTRIES
    ]

    def __init__(self, view: LiveView) -> None:
        super().__init__()
        self.view: LiveView = view
        self.wanted: Wanted = view.wanted
        self.standing: Standing | None = None
        self.problem: JobrunnerError | None = None
        self.engine: tuple[str, bool] | None = None
        self.older = 0
        self.log_feed: LogFeed | None = None
        self._log_of: tuple[Any, ...] | None = None
        self._rest: Timer | None = None

    def compose(self) -> ComposeResult:
        """From the top to the bottom."""
        yield StatusLine()
        yield Warnings(id="warnings")
        yield Input(
            placeholder="filter: words of workspace, action, id, state; -word excludes", id="filter", compact=True
        )
        with Container(id="main"):
            yield JobTable()
            yield Pane(self.view.first_tab)
        yield LegendLine(id="legend")
        yield KeyLine(id="keys")

    def on_mount(self) -> None:
        """The threads begin when there is something to show it on."""
        self.table.cursor = self.view.first_job
        self.set_focus(self.table)
        self.query_one(Warnings).display = False
        self.view.feed.start()

    @property
    def table(self) -> JobTable:
        """The list."""
        return self.query_one(JobTable)

    @property
    def pane(self) -> Pane:
        """The pane."""
        return self.query_one(Pane)

    def on_resize(self, event: events.Resize) -> None:
        """The pane is beside the list where there is room, else below it."""
        self.set_class(event.size.width >= _WIDE, "wide")
        self.call_after_refresh(self.show_foot)

    # What the threads tell.

    @on(Listed)
    def listed(self, news: Listed) -> None:
        """Another state of the table, or another choice of it."""
        self.older = news.older
        table = self.table
        table.show(news.listing, news.jobs, news.usage, grouping=news.wanted.grouping)
        table.say(self._empty(news))
        if not news.listing.keys:
            self.pane.show(None)
        if news.wanted == self.wanted and (absent := table.give_up()) is not None:
            self.say_absent(absent)
        self.show_group()
        self.show_foot()
        self.view.engine_watch.start()

    def _empty(self, news: Listed) -> str:
        if not news.wanted.narrows:
            key = "" if self.view.read_only else self.view.keys.shown("add_job")
            how = f"  ({key} adds some)" if key else ""
            return "" if news.listing.total else f"There are no jobs yet.{how}"
        key = self.view.keys.shown("clear")
        how = f"  ({key} clears)" if key else ""
        return f"No job matches: {output.one_line(news.wanted.restriction)}{how}"

    @on(Stood)
    def stood(self, news: Stood) -> None:
        """How the installation stands."""
        self.standing = news.standing
        self.table.set_paused(news.standing.paused_jobs, news.standing.paused_workspaces)
        self.show_head()
        self.show_foot()

    @on(Troubled)
    def troubled(self, news: Troubled) -> None:
        """The database cannot be read, or can again."""
        self.problem = news.problem
        self.show_head()

    @on(EngineSeen)
    def engine_seen(self, news: EngineSeen) -> None:
        """What the engine answered."""
        self.engine = (news.text, news.well)
        self.show_head()

    @on(Chosen)
    def chosen(self, news: Chosen) -> None:
        """Everything about the job under the cursor, unless the cursor has gone on."""
        if news.facts.job.id == self.table.cursor:
            self.pane.show(news.facts)
            self.open_log()
            self.show_foot()

    @on(Done)
    def done(self, news: Done) -> None:
        """What became of something that was asked for."""
        text = f"{news.text}\n{news.hint}" if news.hint else news.text
        self.notify(text, severity="error" if news.failed else "information", markup=False, timeout=8)
        self.view.feed.look()

    def show_head(self) -> None:
        """Draw the head anew."""
        keys = self.view.keys
        resume = ("", "") if self.view.read_only else (keys.shown("resume_backend"), keys.shown("resume_workspace"))
        self.query_one(StatusLine).show(self.standing, self.engine, read_only=self.view.read_only)
        self.query_one(Warnings).show(self.standing, self.problem, self.engine, resume)

    def show_group(self) -> None:
        """Say in the pane what the group is whose head is under the cursor, if one is."""
        table = self.table
        head = table.listing.heads.get(table.cursor or "")
        if head is not None:
            self.pane.show_group(portrait.group(head, table.grouping, len(table.marks)))

    def show_foot(self) -> None:
        """Draw the foot anew."""
        table = self.table
        self.query_one(LegendLine).show(table.listing, self.wanted, len(table.marks), self.older)
        field = self.focused if isinstance(self.focused, Input) else None
        self.query_one(KeyLine).show(self.view.keys, self.applies, field)

    # What the user does.

    def say_absent(self, job_id: str) -> None:
        """Say that the cursor cannot go to a job."""
        self.notify(f"{job_id} is not in the list", severity="warning", markup=False, timeout=5)

    def want(self, **changes: Any) -> None:
        """Show something else."""
        self.show_as(replace(self.wanted, **changes))

    def show_as(self, wanted: Wanted) -> None:
        """Show this from now on."""
        self.wanted = wanted
        self.view.feed.want(wanted)
        self.show_foot()

    def applies(self, entry: Entry) -> bool:
        """Whether an entry of the registry does something now."""
        if entry.changes and self.view.read_only:
            return False
        condition = CONDITIONS.get(entry.name)
        return condition is None or condition(self)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A key that does nothing now is left to whoever else has it."""
        if action == "do":
            entry = BY_NAME[str(parameters[0])]
            return self.applies(entry)
        return super().check_action(action, parameters)

    def action_do(self, name: str) -> None:
        """Do what an entry of the registry stands for."""
        if self.applies(BY_NAME[name]):
            acts.ACTS[name](self)
            self.show_foot()

    @on(JobTable.Moved)
    def moved(self, event: JobTable.Moved) -> None:
        """Another job is under the cursor."""
        key = event.key
        self.view.feed.select(None if key is None or is_group(key) else key)
        self.show_group()
        self.show_foot()

    @on(JobTable.MarksChanged)
    def marks_changed(self) -> None:
        """Other jobs are marked."""
        self.show_group()
        self.show_foot()

    @on(JobTable.Picked)
    def picked(self, event: JobTable.Picked) -> None:
        """A head is folded, a job gets the focus of its pane."""
        if is_group(event.key):
            self.action_do("fold")
        else:
            self.pane.focus_inside()

    @on(OutputsPane.Moved)
    def output_chosen(self) -> None:
        """Another output is chosen."""
        self.show_foot()

    @on(OutputsPane.Picked)
    def output_picked(self) -> None:
        """An output is to be opened."""
        self.action_do("open_output")

    @on(Input.Changed, "#filter")
    def filtered(self, event: Input.Changed) -> None:
        """The list follows what is typed."""
        self.want(text=event.value)
        if event.value.strip():
            # Who types ahead has left it before it had the text.
            event.input.display = True

    @on(Input.Changed, "#search")
    def searched(self, event: Input.Changed) -> None:
        """The log goes to the first hit."""
        self.pane.log_pane.search(event.value)

    @on(Input.Submitted, "#search")
    def search_next(self) -> None:
        """Enter goes to the next hit."""
        self.pane.log_pane.next_hit(1)

    @on(LogPane.Changed)
    def log_changed(self) -> None:
        """Other keys do something now."""
        self.show_foot()

    def on_descendant_focus(self) -> None:
        """Other keys do something now."""
        self.show_foot()
        self.table.refresh()

    def on_descendant_blur(self) -> None:
        """Other keys do something now."""
        self.table.refresh()

    # The log.

    def open_log(self) -> None:
        """Read the log of the job under the cursor once the cursor rests, if the log is what the pane shows."""
        if self._rest is not None:
            self._rest.stop()
        self._rest = self.set_timer(_REST, self._open_log)

    def _open_log(self) -> None:
        facts = self.pane.facts
        if self.pane.tab is not Tab.LOG or facts is None or facts.job.id != self.table.cursor:
            return
        job = facts.job
        # One that was started over, or has begun or ended since there was nothing to read, is read anew.
        ended = job.status_code not in ACTIVE_CODES
        wanted = (job.id, job.started_at, job.restarts, ended if self._log_of and self._log_of[-1] == "none" else "")
        if self._log_of is not None and wanted[:3] == self._log_of[:3] and not (ended and self._log_of[-1] == "none"):
            return
        self.close_log()
        self._log_of = (job.id, job.started_at, job.restarts, "")
        self.pane.log_pane.follows = True
        self.pane.log_pane.clear("…")
        self.log_feed = LogFeed(self.view.settings, self.post_message, job.id)
        self.log_feed.start()

    def close_log(self) -> None:
        """Read no log any more."""
        if self.log_feed is not None:
            self.log_feed.stop()
        self.log_feed = None
        self._log_of = None

    @on(LogRead)
    def log_read(self, news: LogRead) -> None:
        """More lines."""
        if self.log_feed is not None and news.job_id == self.log_feed.job_id:
            if news.begins:
                self.pane.log_pane.clear()
            self.pane.log_pane.extend(news.lines, summary=news.summary)

    @on(LogEnded)
    def log_ended(self, news: LogEnded) -> None:
        """No more lines."""
        if self.log_feed is None or news.job_id != self.log_feed.job_id or self._log_of is None:
            return
        if news.problem is not None and not self.pane.log_pane.lines:
            self._log_of = (*self._log_of[:3], "none")
        self.pane.log_pane.say("" if news.problem is None else f"({news.problem})")
