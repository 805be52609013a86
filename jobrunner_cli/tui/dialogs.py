"""Dialogs: what is about to be done and to what exactly, and the page of help."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Checkbox, Static

from jobrunner_cli import output, theme
from jobrunner_cli.engine.operations import Operation, Step
from jobrunner_cli.engine.states import TABLE, StatusCode
from jobrunner_cli.tui.boxes import Box
from jobrunner_cli.tui.cells import chip
from jobrunner_cli.tui.deeds import Outlined
from jobrunner_cli.tui.registry import ENTRIES, Group, Keys, shown_key

#: Columns of a dialog at most, and those of its border, its padding and a scroll bar (look.tcss).
_WIDEST, _EDGES = 100, 6
#: Before what happens to a job, below its name.
_INDENT = " " * 3

_QUESTIONS = {
    Operation.CANCEL: ("Cancel", "Keep"),
    Operation.KILL: ("Kill", "Keep"),
    Operation.PAUSE: ("Pause", "Leave"),
    Operation.RESUME: ("Resume", "Leave"),
    Operation.RETRY: ("Retry", "Leave"),
}


class Confirm(ModalScreen[tuple[tuple[str, ...], bool] | None]):
    """Names what an operation touches, and asks. Its result: the ids and whether to clean up, or None for no."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape,q", "answer(False)", "No"),
        Binding("left,right", "other_button", "Other button", show=False),
    ]

    def __init__(self, found: Outlined, ask_again: Callable[[bool, Callable[[Outlined], object]], object]) -> None:
        super().__init__()
        self._found = found
        self._ask_again = ask_again

    def compose(self) -> ComposeResult:
        """A title, the jobs, the buttons."""
        yes, no = _QUESTIONS[self._found.operation]
        with Vertical(id="dialog"):
            yield Static(id="question")
            with VerticalScroll(id="touched"):
                yield Static(id="steps")
            if self._found.operation is Operation.KILL:
                yield Box("Remove containers and files, too", value=self._found.cleanup, id="cleanup")
            with Horizontal(id="buttons"):
                yield Button(f"{yes} (y)", variant="error", id="yes", compact=True)
                yield Button(f"{no} (n)", id="no", compact=True)

    def on_mount(self) -> None:
        """No is what Enter means at first, where something is ended; only the box is of use where nothing is, without it."""
        self._show(self._found)
        if self._found.operation is Operation.KILL and not any(step.touches for step in self._found.steps):
            self.query_one("#cleanup").focus()
            return
        ends = self._found.operation in {Operation.CANCEL, Operation.KILL}
        self.query_one("#no" if ends else "#yes", Button).focus()

    def _show(self, found: Outlined) -> None:
        self._found = found
        touched = [step for step in found.steps if step.touches]
        verb = _QUESTIONS[found.operation][0]
        one = len(touched) == 1
        removal = f" and remove what {'it leaves' if one else 'they leave'}" if found.cleanup else ""
        what = f"{verb} {len(touched)} job{'' if one else 's'}{removal}?" if touched else "Nothing to do"
        self.query_one("#question", Static).update(Text(what, "bold"))
        ordered = [*touched, *(step for step in found.steps if not step.touches)]
        text = _steps_text(ordered, self.app.size.width)
        if found.dependants:
            text.append(f"\nand so these fail ({len(found.dependants)}), because they wait for them:\n", "bold")
            for job in found.dependants:
                _append_job(text, job.status_code, f"{job.workspace}/{job.action}", job.id)
        text.rstrip()
        self.query_one("#steps", Static).update(text)
        self.query_one("#yes", Button).disabled = not touched

    @on(Checkbox.Changed, "#cleanup")
    def look_again(self, event: Checkbox.Changed) -> None:
        """With or without what is left is another thing; nobody says yes to it before it is shown."""
        self.query_one("#yes", Button).disabled = True
        self._ask_again(event.value, self._show_if_there)

    def _show_if_there(self, found: Outlined) -> None:
        if self.is_mounted and found.cleanup == self.query_one("#cleanup", Box).value:
            self._show(found)

    @on(Button.Pressed)
    def pressed(self, event: Button.Pressed) -> None:
        """A button."""
        self.action_answer(event.button.id == "yes")

    def action_answer(self, yes: bool) -> None:
        """Yes or no."""
        box = next(iter(self.query(Box)), None)
        if yes and box is not None and box.value != self._found.cleanup:
            return
        ids = tuple(step.job.id for step in self._found.steps if step.touches)
        self.dismiss((ids, self._found.cleanup) if yes and ids else None)

    def action_other_button(self) -> None:
        """From one button to the other."""
        self.query_one("#yes" if self.focused is self.query_one("#no") else "#no", Button).focus()


def _steps_text(steps: Sequence[Step], screen_width: int) -> Text:
    """What happens to each job, below its name, on a screen of so many columns."""
    width = min(_WIDEST, screen_width * 9 // 10) - _EDGES
    text = Text()
    for step in steps:
        _append_job(text, step.job.status_code, f"{step.job.workspace}/{step.job.action}", step.job.id)
        for line in output.fold(output.one_line(step.what), max(20, width) - len(_INDENT), whole_words=False):
            text.append(f"{_INDENT}{line}\n", "" if step.touches else "dim italic")
    return text


def _append_job(text: Text, code: StatusCode, name: str, job_id: str) -> None:
    text.append(f" {theme.glyph(code)} {theme.short_word(code)} ", chip(code))
    text.append(f" {output.one_line(name)}", "bold")
    text.append(f"  {job_id}\n", "dim")


class Ask(ModalScreen[bool]):
    """A plain question about the backend or a workspace, with what it means for each job of that."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape,q", "answer(False)", "No"),
    ]

    def __init__(self, question: str, explanation: str, yes: str, *, steps: Sequence[Step] = ()) -> None:
        super().__init__()
        self._question, self._explanation, self._yes, self._steps = question, explanation, yes, steps

    def compose(self) -> ComposeResult:
        """The question and the buttons."""
        with Vertical(id="dialog"):
            yield Static(Text(output.one_line(self._question), "bold"), id="question")
            yield Static(self._explanation, markup=False)
            if self._steps:
                with VerticalScroll(id="touched"):
                    yield Static(_steps_text(self._steps, self.app.size.width), id="steps")
            with Horizontal(id="buttons"):
                yield Button(f"{self._yes} (y)", variant="warning", id="yes", compact=True)
                yield Button("Leave (n)", id="no", compact=True)

    @on(Button.Pressed)
    def pressed(self, event: Button.Pressed) -> None:
        """A button."""
        self.dismiss(event.button.id == "yes")

    def action_answer(self, yes: bool) -> None:
        """Yes or no."""
        self.dismiss(yes)


class Help(ModalScreen[None]):
    """Every key and what it does, from the registry, and the legend."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,f1,enter", "dismiss", "Close")]

    def __init__(self, keys: Keys, *, read_only: bool) -> None:
        super().__init__()
        self._keys, self._read_only = keys, read_only

    def compose(self) -> ComposeResult:
        """The page."""
        with VerticalScroll(id="help"):
            yield Static(help_text(self._keys, read_only=self._read_only))

    def on_mount(self) -> None:
        """The page can be scrolled at once."""
        self.query_one("#help").focus()


def help_text(keys: Keys, *, read_only: bool) -> Text:
    """The page of help."""
    text = Text()
    for group in Group:
        text.append(f"{group.value}\n", "bold")
        if group is Group.LIST:
            text.append(f"{'↑ ↓ j k':>9}  ", "bold")
            text.append("Go to another job; the mouse and the wheel do it, too\n")
            text.append(f"{'PgUp PgDn':>9}  ", "bold")
            text.append("Go a screen up or down; Home, and End or G, to the first and to the last\n")
        for entry in ENTRIES:
            if entry.group is not group or (entry.changes and read_only):
                continue
            shown = " ".join(map(shown_key, keys.of[entry.name])) or "no key"
            text.append(f"{shown:>9}  ", "bold")
            text.append(f"{entry.help}\n")
        text.append("\n")
    text.append("Legend\n", "bold")
    for code, described in TABLE.items():
        text.append(" " * 2)
        text.append(f" {theme.glyph(code)} {theme.short_word(code):<14}", chip(code))
        text.append(f"  {described.meaning}\n")
    text.append(
        "\nA filter is words that a job's workspace, action, id, request, state or message has to have; "
        "-word must not be there.\nKeys, theme, group and sort can be set in tui.toml beside config.toml; "
        "without that, all but keys is remembered.",
        "dim",
    )
    return text
