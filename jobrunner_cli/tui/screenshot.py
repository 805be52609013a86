"""A picture of the live view as SVG, made without a terminal: for documentation."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jobrunner_cli.engine.errors import JobrunnerError

if TYPE_CHECKING:
    from jobrunner_cli.tui.app import LiveView

#: Seconds for which the list, and what follows from a key, are waited for.
_PATIENCE = 15.0
_QUIET = 0.6
_REMOTE_FONT = re.compile(r"\s*@font-face \{[^}]*\}")


def save_screenshot(app: LiveView, path: Path, *, size: tuple[int, int], press: Sequence[str] = ()) -> None:
    """Run the app without a terminal, press keys, and save what it shows. Raises JobrunnerError if it cannot be written."""
    picture = asyncio.run(_picture(app, size, press))
    try:
        path.write_text(picture, encoding="utf-8")
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror}"
        raise JobrunnerError(msg) from error


async def _picture(app: LiveView, size: tuple[int, int], press: Sequence[str]) -> str:
    async with app.run_test(size=size) as pilot:
        waited = 0.0
        while app.main.standing is None and app.main.problem is None and waited < _PATIENCE:
            await pilot.pause(0.1)
            waited += 0.1
        await pilot.pause(_QUIET)
        for key in press:
            await pilot.press(key)
            await pilot.pause(_QUIET)
        return picture_of(app)


def picture_of(app: LiveView) -> str:
    """What the app shows now, as SVG that asks nobody on the network for its fonts."""
    return _REMOTE_FONT.sub("", app.export_screenshot(title="jobrunner tui"))
