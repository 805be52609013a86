"""The app: what it is made of, its preferences, the palette, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import App, SystemCommand
from textual.binding import BindingType
from textual.filter import Monochrome, NoColor
from textual.screen import Screen

from jobrunner_cli.tui.deeds import Deeds
from jobrunner_cli.tui.feed import EngineWatch, Feed
from jobrunner_cli.tui.listing import Wanted
from jobrunner_cli.tui.looks import FewColours
from jobrunner_cli.tui.memory import remember, with_memory
from jobrunner_cli.tui.pane import Tab
from jobrunner_cli.tui.preferences import Preferences
from jobrunner_cli.tui.registry import ENTRIES, Keys
from jobrunner_cli.tui.screen import MainScreen

if TYPE_CHECKING:
    from textual.filter import LineFilter
    from textual.message import Message

    from jobrunner_cli.engine.settings import Settings


#: The theme that leaves the ground and most texts to a terminal with 16 colours.
_PLAIN_THEME = "ansi-dark"


class LiveView(App[None]):
    """The live view of the jobs."""

    CSS_PATH = Path(__file__).with_name("look.tcss")
    TITLE = "jobrunner"
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(
        self,
        settings: Settings,
        *,
        read_only: bool = False,
        preferences: Preferences | None = None,
        memory: Path | None = None,
        first_job: str | None = None,
        first_tab: Tab = Tab.DETAILS,
        text: str = "",
    ) -> None:
        """`memory` is the file that is read at the start and written at the end; without it nothing is remembered."""
        super().__init__()
        self.settings = settings
        self.read_only = read_only
        self.first_job = first_job
        self.first_tab = first_tab
        preferences = preferences or Preferences()
        self._memory = memory
        self._preferences = preferences if memory is None else with_memory(preferences, memory)
        preferences = self._preferences
        self.keys: Keys = preferences.keys
        self.wanted = Wanted(
            text=text,
            grouping=preferences.grouping,
            sorting=preferences.sorting,
            hide_finished=preferences.hide_finished,
        )
        self.main = MainScreen(self)
        self.feed = Feed(settings, self._tell, self.wanted)
        self.engine_watch = EngineWatch(settings, self._tell)
        self.deeds = Deeds(settings, self._tell, self._call)
        # A line on stderr would spoil the screen.
        logging.getLogger("jobrunner_cli").addHandler(logging.NullHandler())
        self.set_keymap(
            {
                entry.name: ",".join(self.keys.of[entry.name])
                for entry in ENTRIES
                if self.keys.of[entry.name] != entry.keys
            }
        )

    def get_default_screen(self) -> Screen[None]:
        """The one screen."""
        return self.main

    def on_mount(self) -> None:
        """The theme that the user prefers, if the terminal can show it; and whoever ends the process gets the terminal back as it was."""
        if self._has_few_colours and "theme" not in self._preferences.said:
            # As what it starts with, so that it is not remembered as if somebody had chosen it.
            self._preferences = replace(self._preferences, theme=_PLAIN_THEME)
        self.theme = self._preferences.theme
        # What the shell has left on the screen is drawn over.
        self.app_resume_signal.subscribe(self, lambda _: self.refresh(layout=True))
        for number in (signal.SIGTERM, signal.SIGHUP):
            # Only the main thread hears signals.
            with suppress(NotImplementedError, RuntimeError, ValueError):
                asyncio.get_running_loop().add_signal_handler(number, self.exit)

    @property
    def _has_few_colours(self) -> bool:
        """Whether this is shown on a terminal with 16 colours."""
        return not self.is_headless and self.console.color_system == "standard"

    def get_line_filters(self) -> Sequence[LineFilter]:
        """What is done to each line before it is written."""
        filters = super().get_line_filters()
        if not self._has_few_colours:
            return filters
        # Of greys such a terminal has too few to tell one from another: without colours all is as the terminal has it.
        return [*(NoColor() if isinstance(each, Monochrome) else each for each in filters), FewColours()]

    def on_unmount(self) -> None:
        """The threads end, what was asked for stays asked for; and what was chosen is remembered."""
        self.feed.stop()
        self.engine_watch.stop()
        self.deeds.stop()
        self.main.close_log()
        if self._memory is not None:
            wanted = self.main.wanted
            now = replace(
                self._preferences,
                theme=self.theme,
                grouping=wanted.grouping,
                sorting=wanted.sorting,
                hide_finished=wanted.hide_finished,
            )
            remember(self._memory, self._preferences, now)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The palette: what does something now, by its name, and Textual's own for themes and screenshots."""
        if screen is self.main:
            for entry in ENTRIES:
                if entry.name not in {"command_palette", "clear"} and self.main.applies(entry):
                    key = self.keys.shown(entry.name)
                    name = entry.name
                    yield SystemCommand(
                        entry.label,
                        f"{entry.help} ({key})" if key else entry.help,
                        lambda name=name: self.main.action_do(name),
                    )
        for command in super().get_system_commands(screen):
            if command.title in {"Theme", "Screenshot"}:
                yield command

    # From other threads.

    def _tell(self, news: Message) -> bool:
        return self.main.post_message(news)

    def _call(self, what: object) -> None:
        assert callable(what)
        self.call_from_thread(what)
