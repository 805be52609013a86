"""The form for new jobs: it reads the actions of the chosen study, and shows the plan before anything is submitted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, TypeVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Checkbox, Input, SelectionList, Static
from textual.widgets.selection_list import Selection

from jobrunner_cli import output
from jobrunner_cli.engine.errors import JobrunnerError
from jobrunner_cli.engine.requests import Submission
from jobrunner_cli.tui import drafts
from jobrunner_cli.tui.boxes import Box, Choice
from jobrunner_cli.tui.drafts import Draft

if TYPE_CHECKING:
    from jobrunner_cli.engine.planning import Plan
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.work import JobRequest
    from jobrunner_cli.tui.deeds import Deeds

#: Seconds after the last key before the study is read.
_PAUSE = 0.6
_RUN_ALL = "run_all"
_PLAN, _SUBMIT, _KEY = "Plan", "Submit", " (^S)"
_T = TypeVar("_T")


class AddJob(ModalScreen[Submission | None]):
    """The form. Its result is what was submitted."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave"),
        Binding("ctrl+s", "go_on", "Plan, then submit"),
    ]

    def __init__(self, settings: Settings, deeds: Deeds, *, repo: str = "", workspace: str = "test") -> None:
        super().__init__()
        self._settings, self._deeds = settings, deeds
        self._repo, self._workspace = repo, workspace
        #: counts the questions to the study, so that an answer that comes too late is known
        self._question = 0
        self._read: Draft | None = None
        self._planned: tuple[Draft, JobRequest] | None = None

    def compose(self) -> ComposeResult:
        """Fields at the left, actions and plan below them."""
        with Vertical(id="form"):
            yield Static(Text("Add jobs", "bold"), id="question")
            with Horizontal(classes="fields"):
                yield Static("study")
                yield Input(self._repo, placeholder="a directory, or a URL", id="repo", compact=True)
            with Horizontal(classes="fields"):
                yield Static("branch")
                yield Input("main", id="branch", compact=True)
                yield Static("commit")
                yield Input(placeholder="the newest", id="commit", compact=True)
            with Horizontal(classes="fields"):
                yield Static("workspace")
                yield Input(self._workspace, id="workspace", compact=True)
                yield Static("database")
                yield Input("dummy", id="database", compact=True)
            yield Static(id="said")
            yield Choice(id="actions", compact=True)
            yield Box("Run what they need again, too", id="force", compact=True)
            with VerticalScroll(id="plan"):
                yield Static(id="planned")
            with Horizontal(id="buttons"):
                yield Button(_PLAN + _KEY, id="go_plan", variant="primary", compact=True)
                yield Button(_SUBMIT, id="go_submit", variant="success", disabled=True, compact=True)
                yield Button("Leave (Esc)", id="leave", compact=True)

    def on_mount(self) -> None:
        """A study that is known is read at once."""
        self.query_one("#repo" if not self._repo else "#actions").focus()
        self._say("Type where the study is; its actions are read from its newest commit.")
        if self._repo:
            self._read_actions()

    # What it says.

    def _draft(self) -> Draft:
        def text(name: str) -> str:
            return self.query_one(f"#{name}", Input).value.strip()

        chosen = self.query_one("#actions", SelectionList).selected
        return Draft(
            repo=text("repo"),
            branch=text("branch") or "main",
            commit=text("commit") or None,
            workspace=text("workspace") or "test",
            database=text("database") or "dummy",
            force=self.query_one("#force", Checkbox).value,
            actions=tuple(str(action) for action in chosen),
        )

    def _say(self, text: str, *, failed: bool = False) -> None:
        self.query_one("#said", Static).update(Text(output.one_line(text), "bold" if failed else "dim"))

    # The actions of the study.

    @on(Input.Changed)
    def changed(self, event: Input.Changed) -> None:
        """Another study, branch or commit has other actions; any change makes the plan one of before."""
        self._forget_plan()
        if event.input.id in {"repo", "branch", "commit"}:
            self._question += 1
            question = self._question
            self.set_timer(_PAUSE, lambda: self._read_actions() if question == self._question else None)

    @on(Input.Submitted)
    def entered(self, event: Input.Submitted) -> None:
        """Enter in a field goes on."""
        if event.input.id in {"repo", "branch", "commit"}:
            self._read_actions()
        self.focus_next()

    @on(Checkbox.Changed)
    @on(SelectionList.SelectedChanged)
    def chosen(self) -> None:
        """Another choice needs another plan."""
        self._forget_plan()

    def _read_actions(self) -> None:
        draft = self._draft()
        same = self._read
        if not draft.repo or (
            same is not None and (same.repo, same.branch, same.commit) == (draft.repo, draft.branch, draft.commit)
        ):
            return
        self._read = draft
        self._say("Reading the study…")
        self._ask(lambda: drafts.actions_of(self._settings, draft), self._show_actions)

    def _show_actions(self, found: tuple[str, dict[str, str]]) -> None:
        commit, actions = found
        choice = self.query_one("#actions", SelectionList)
        choice.clear_options()
        choice.add_option(Selection(Text(f"{_RUN_ALL}: what has not succeeded yet", "bold"), _RUN_ALL))
        width = max((len(name) for name in actions), default=0)
        for name, run in actions.items():
            label = Text(f"{output.one_line(name):<{width}}  ") + Text(output.one_line(run), "dim")
            choice.add_option(Selection(label, name))
        choice.highlighted = 0
        self._say(f"{len(actions)} actions at commit {commit[:12]}; choose with Space, then ^S")

    # Plan and submission.

    @on(Button.Pressed)
    def pressed(self, event: Button.Pressed) -> None:
        """A button."""
        match event.button.id:
            case "go_plan":
                self._plan()
            case "go_submit":
                self._submit()
            case _:
                self.dismiss(None)

    def action_go_on(self) -> None:
        """Plan, and once that is shown, submit; after what was typed before it has been done in the list."""
        self.query_one("#actions").call_later(self._go_on)

    def _go_on(self) -> None:
        if self._planned is None:
            self._plan()
        else:
            self._submit()

    def action_leave(self) -> None:
        """Add nothing."""
        self.dismiss(None)

    def _forget_plan(self) -> None:
        self._set_planned(None)
        self.query_one("#planned", Static).update("")

    def _set_planned(self, planned: tuple[Draft, JobRequest] | None) -> None:
        """What would be submitted now; the key belongs to the button that does what it would do."""
        self._planned = planned
        plan, submit = self.query_one("#go_plan", Button), self.query_one("#go_submit", Button)
        submit.disabled = planned is None
        plan.label = _PLAN + ("" if planned else _KEY)
        submit.label = _SUBMIT + (_KEY if planned else "")

    def _plan(self) -> None:
        draft = self._draft()
        if not draft.repo:
            self._say("Say first where the study is.", failed=True)
            return
        if not draft.actions:
            self._say("Choose at least one action first, with Space.", failed=True)
            return
        self._say("Planning…")
        self._ask(lambda: drafts.plan_of(self._settings, draft), lambda found: self._show_plan(draft, *found))

    def _show_plan(self, draft: Draft, request: JobRequest, plan: Plan) -> None:
        if draft != self._draft():
            return
        text = Text()
        for job in plan.new:
            text.append(" run   ", "bold")
            text.append(output.one_line(job.action), "bold")
            text.append(f"  {output.one_line(job.reason)}\n", "dim")
        for skipped in plan.skipped:
            text.append(f" leave {output.one_line(skipped.action)}  {output.one_line(skipped.reason)}\n", "dim")
        if plan.nothing_to_do is not None:
            text.append(f" {plan.nothing_to_do}\n", "italic")
        text.rstrip()
        self.query_one("#planned", Static).update(text)
        count = len(plan.new)
        how = ": ^S submits" if plan.new else ""
        self._say(f"{output.counted(count, 'new job')} in workspace {draft.workspace}{how}")
        if plan.new:
            self._set_planned((draft, request))
            self.query_one("#go_submit", Button).focus()

    def _submit(self) -> None:
        if self._planned is None or self._planned[0] != self._draft():
            self._plan()
            return
        _, request = self._planned
        self._set_planned(None)
        self._say("Submitting…")
        self._ask(lambda: drafts.submit(self._settings, request), self.dismiss)

    # Questions that take a while.

    def _ask(self, question: Callable[[], _T], then: Callable[[_T], object]) -> None:
        """Ask in a thread; the answer is shown unless the form is gone by then."""
        app = self.app

        def answered(found: _T) -> None:
            if self.is_mounted:
                then(found)

        def refused(error: JobrunnerError) -> None:
            if self.is_mounted:
                self._read = None
                self._say(f"{error.message}{f' – {error.hint}' if error.hint else ''}", failed=True)

        def ask() -> None:
            try:
                found = question()
            except JobrunnerError as problem:
                error = problem
                app.call_from_thread(refused, error)
                return
            app.call_from_thread(answered, found)

        self._deeds.begin(ask, "reading a study")
