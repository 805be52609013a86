"""The watch over the disks, for the loop: free space of the stores, and what running jobs take up."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from jobrunner_cli.engine.running.space import SpaceSeen, SpaceWatch
from jobrunner_cli.engine.running.usage import Overuse, UsageWatch
from jobrunner_cli.engine.states import StatusCode

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.models import Job


class Disks:
    """Two threads of which the loop never waits for one, but for the first look at the stores, and that shortly."""

    def __init__(self, settings: Settings, *, post: Callable[[SpaceSeen | Overuse], None]) -> None:
        self._space = SpaceWatch(settings, post=post)
        self._usage = UsageWatch(settings, post=post)

    def start(self) -> SpaceSeen:
        """Begin to watch; where there is too little space now."""
        self._usage.start()
        return self._space.start()

    def watch(self, jobs: Iterable[Job]) -> None:
        """Of these jobs, those that run are measured now and then."""
        self._usage.watch([job.id for job in jobs if job.status_code is StatusCode.EXECUTING])

    def ask_for_space(self) -> None:
        """Have the stores looked at soon; the answer is posted."""
        self._space.ask()

    def stop(self) -> None:
        """End the threads; does not wait for them."""
        self._space.stop()
        self._usage.stop()
