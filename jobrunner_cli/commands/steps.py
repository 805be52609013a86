"""How far a long command is: a line on stderr now and then, never many."""

from __future__ import annotations

import time

from jobrunner_cli import diagnostics

_SECONDS_BETWEEN = 5.0


class Steps:
    """Says what is being done when that takes long enough for somebody to wonder."""

    def __init__(self) -> None:
        self._said_at = time.monotonic()

    def __call__(self, doing: str, done: int, of: int) -> None:
        """So much of it is done; called as often as anybody likes."""
        now = time.monotonic()
        if now - self._said_at >= _SECONDS_BETWEEN:
            self._said_at = now
            share = 100 * done // of if of else 100
            diagnostics.notice(f"{doing}: {min(share, 100)} %")
