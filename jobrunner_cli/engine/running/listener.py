"""Whoever shows what the loop does: the way in which it tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from jobrunner_cli.engine.store.models import Job


class Listener(Protocol):
    """Whoever shows what the loop does; called in the loop's thread."""

    def job_changed(self, job: Job) -> None:
        """A row was written here, or is among those that were read because another process has written."""
        ...

    def trouble(self, reason: str | None) -> None:
        """The executor went away, or is back (None)."""
        ...

    def leaving(self) -> None:
        """The runner was told to leave, and does so when what is being stored is stored."""
        ...
