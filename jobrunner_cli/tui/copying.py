"""The dialog that asks where an output is to be copied to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Checkbox, Input, Static

from jobrunner_cli import output

if TYPE_CHECKING:
    from jobrunner_cli.engine.output_files import OutputFile
    from jobrunner_cli.tui.deeds import Deeds


class CopyTo(ModalScreen[None]):
    """Asks for a file or a directory, and stays until the output is there or nobody wants it any more."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Leave")]

    def __init__(self, file: OutputFile, deeds: Deeds) -> None:
        super().__init__()
        self._file, self._deeds = file, deeds

    def compose(self) -> ComposeResult:
        """What is copied, the field, the buttons."""
        with Vertical(id="dialog"):
            yield Static(Text(f"Copy {output.one_line(self._file.path)}?", "bold"), id="question")
            yield Static(
                f"It is {self._file.level.replace('_', ' ')}. The copy can be read by you alone.", markup=False
            )
            yield Input(placeholder="a file or a directory on this machine", id="to", compact=True)
            yield Checkbox("Over a file that is there", id="force", compact=True)
            yield Static(id="said")
            with Horizontal(id="buttons"):
                yield Button("Copy (Enter)", variant="primary", id="yes", compact=True)
                yield Button("Leave (Esc)", id="no", compact=True)

    def on_mount(self) -> None:
        """What is typed is the place."""
        self.query_one("#to").focus()

    @on(Input.Submitted)
    @on(Button.Pressed, "#yes")
    def copy(self) -> None:
        """Copy it there."""
        place = self.query_one("#to", Input).value.strip()
        if not place:
            self._say("Type first where to.")
            return
        try:
            to = os.fspath(Path(place).expanduser())
        except RuntimeError:
            self._say(f"There is no home directory for {place}")
            return
        self._say("Copying…")
        force = self.query_one("#force", Checkbox).value
        # A slash at the end means a directory, which a path does not keep.
        to += "/" if place.endswith("/") else ""
        self._deeds.copy_output(self._file, to, force=force, then=self._copied, refused=self._say)

    def _copied(self) -> None:
        if self.is_current:
            self.dismiss(None)

    def _say(self, text: str) -> None:
        if self.is_mounted:
            self.query_one("#said", Static).update(Text(output.one_line(text), "bold"))

    @on(Button.Pressed, "#no")
    def action_leave(self) -> None:
        """Copy nothing."""
        self.dismiss(None)
