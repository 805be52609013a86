"""The live view for tests: on a real database and without a terminal; keys are pressed, and the screen is read as text."""

from __future__ import annotations

import asyncio
import html
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from jobrunner_cli.engine import settings as settings_module
from jobrunner_cli.engine.settings import Settings
from jobrunner_cli.engine.states import State, StatusCode, state_of
from jobrunner_cli.engine.store.models import Job
from jobrunner_cli.tui.app import LiveView
from jobrunner_cli.tui.screen import MainScreen
from support.store import make_job

PATIENCE = 30.0
_DAY = 86400
_TEXT = re.compile(
    r'<text class="[^"]*" x="([\d.]+)" y="[\d.]+" textLength="[\d.]+" clip-path="url\(#[\w-]+-line-(\d+)\)">(.*?)</text>'
)
#: The width of a character in an exported screen.
_CELL = 12.2


def settings_at(workdir: Path, **values: str) -> Settings:
    """Settings with this work directory, on a machine with four workers."""
    return settings_module.load(
        {**os.environ, "WORKDIR": str(workdir), "MAX_WORKERS": "4", "EXECUTOR": "process", **values}
    )


def a_job(job_id: str, code: StatusCode, *, age: float = 3 * _DAY, **fields: Any) -> Job:
    """A job that was made so many seconds ago, and ran for a minute if it ran."""
    made = int(time.time() - age)
    values: dict[str, Any] = {"created_at": made, "updated_at": made, "status_code_updated_at": made * 10**9}
    state = state_of(code)
    if state is not State.PENDING and code is not StatusCode.DEPENDENCY_FAILED:
        values["started_at"] = made + 5
    if state in {State.SUCCEEDED, State.FAILED}:
        values["completed_at"] = made + 65
    return make_job(job_id, code, **(values | fields))


class View:
    """A live view that is shown."""

    def __init__(self, app: LiveView, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot

    @property
    def main(self) -> MainScreen:
        """Its one screen."""
        return self.app.main

    async def press(self, *keys: str) -> None:
        """Press keys."""
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def until(self, wanted: Callable[[], object], what: str) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + PATIENCE
        while not wanted():
            assert time.monotonic() < deadline, f"never came: {what}\n{self.text()}"
            await self.pilot.pause(0.02)
        await self.pilot.pause()

    async def shows(self, *texts: str) -> None:
        """Wait until the screen has these texts."""
        await self.until(lambda: all(text in self.text() for text in texts), " and ".join(texts))

    async def hides(self, text: str) -> None:
        """Wait until the screen does not have this text."""
        await self.until(lambda: text not in self.text(), f"a screen without {text}")

    def text(self) -> str:
        """The screen as lines of text."""
        return screen_text(self.app.export_screenshot())

    def listed(self) -> list[str]:
        """The ids that the list has, in its order."""
        return [key for key in self.main.table.listing.keys if not key.startswith("\0")]


def screen_text(picture: str) -> str:
    """The text of an exported screen."""
    lines: dict[int, dict[int, str]] = {}
    for x, line, text in _TEXT.findall(picture):
        lines.setdefault(int(line), {})[round(float(x) / _CELL)] = html.unescape(text).replace("\xa0", " ")
    shown = []
    for number in range(max(lines, default=-1) + 1):
        row = ""
        for column, text in sorted(lines.get(number, {}).items()):
            row = row.ljust(column) + text
        shown.append(row.rstrip())
    return "\n".join(shown)


@asynccontextmanager
async def shown(
    settings: Settings, *, size: tuple[int, int] = (120, 36), wait: bool = True, **options: Any
) -> AsyncIterator[View]:
    """A live view, once it has its first list."""
    app = LiveView(settings, **options)
    async with app.run_test(size=size, notifications=True) as pilot:
        view = View(app, pilot)
        if wait:
            await view.until(lambda: view.main.standing is not None, "the first reading")
        yield view


def watching(settings: Settings, test: Callable[[View], Awaitable[None]], **options: Any) -> None:
    """Run a test on a live view."""

    async def run() -> None:
        async with shown(settings, **options) as view:
            await test(view)

    play(run())


def play(test: Coroutine[Any, Any, None]) -> None:
    """Run a test that is a coroutine."""
    asyncio.run(test)
