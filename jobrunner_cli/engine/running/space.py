"""Free space: which stores are so full that nothing new may start, looked at in a thread of its own.

The look at a disk can hang, on a network's disk for minutes. So nobody waits for it: the loop and commands go by the last
answer, and without one by none.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING

from jobrunner_cli.engine.world import Shortage

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings

log = logging.getLogger(__name__)

#: Seconds between two looks.
_INTERVAL = 10.0
#: Seconds that a start, or a command that explains, waits for the first answer.
_PATIENCE = 1.0
#: By what part of the floor the free space has to change to be told anew.
_NEWS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A directory of ours on some file system, and how many bytes are to be free there."""

    name: str
    path: Path
    floor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How much room one of our directories has. Sizes in bytes."""

    place: str
    path: Path
    free: int
    #: what the whole file system can hold
    total: int
    #: below which nothing new starts; 0 is none
    floor: int
    #: tells file systems apart
    device: int

    @property
    def is_short(self) -> bool:
        """Whether nothing new may start. Some network file systems report no size at all."""
        return self.total > 0 and self.free < self.floor


def _all_places(settings: Settings) -> list[_Place]:
    high, medium = settings.high_privacy_free_space_floor, settings.medium_privacy_free_space_floor
    return [
        _Place(name="the high privacy store", path=settings.high_privacy_storage_base, floor=high),
        _Place(name="the medium privacy store", path=settings.medium_privacy_storage_base, floor=medium),
        _Place(name="the directory of jobs", path=settings.high_privacy_volume_dir, floor=high),
        _Place(name="the work directory", path=settings.workdir, floor=high),
    ]


def _places(settings: Settings) -> list[_Place]:
    return [place for place in _all_places(settings) if place.floor]


def rooms(settings: Settings) -> tuple[Room, ...]:
    """How much room each of our directories has. May take as long as a disk hangs."""
    return tuple(room for place in _all_places(settings) if (room := _room(place)) is not None)


def _room(place: _Place) -> Room | None:
    path = place.path
    while not path.exists() and path != path.parent:
        path = path.parent
    try:
        device, system = path.stat().st_dev, os.statvfs(path)
    except OSError as error:
        log.warning("The free space of %s (%s) cannot be found out: %s", place.name, path, error)
        return None
    free = (system.f_bfree if os.geteuid() == 0 else system.f_bavail) * system.f_frsize
    total = system.f_blocks * system.f_frsize
    return Room(place=place.name, path=place.path, free=free, total=total, floor=place.floor, device=device)


def shortages(settings: Settings) -> tuple[Shortage, ...]:
    """The places that have less free space than their floor, one a file system. May take as long as a disk hangs."""
    found: dict[int, Shortage] = {}
    for place in _places(settings):
        room = _room(place)
        if room is not None and room.is_short and room.device not in found:
            shortage = Shortage(place=room.place, path=str(room.path), free=room.free, floor=room.floor)
            found[room.device] = shortage
    return tuple(found.values())


def shortages_soon(settings: Settings) -> tuple[Shortage, ...]:
    """The same, or nothing if a disk does not answer soon."""
    answers: SimpleQueue[tuple[Shortage, ...]] = SimpleQueue()
    Thread(target=lambda: answers.put(shortages(settings)), name="space", daemon=True).start()
    try:
        return answers.get(timeout=_PATIENCE)
    except Empty:
        log.warning("A disk does not say within %g s how much of it is free", _PATIENCE)
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceSeen:
    """The stores were looked at."""

    #: monotonic seconds at which the look began
    at: float
    shortages: tuple[Shortage, ...]


class SpaceWatch:
    """A thread that looks at the stores now and then, and posts what has changed."""

    def __init__(self, settings: Settings, *, post: Callable[[SpaceSeen], None]) -> None:
        self._settings = settings
        self._post = post
        self._asked = Event()
        self._stopped = Event()
        self._told: tuple[Shortage, ...] = ()

    def start(self) -> SpaceSeen:
        """Begin to watch; the first answer, with no shortage if a disk does not answer soon."""
        now = time.monotonic()
        if _places(self._settings):
            self._told = shortages_soon(self._settings)
            Thread(target=self._watch, name="space", daemon=True).start()
        return SpaceSeen(at=now, shortages=self._told)

    def ask(self) -> None:
        """Have the stores looked at soon, and the answer posted even if nothing has changed."""
        self._asked.set()

    def stop(self) -> None:
        """End the thread, at once unless a disk hangs."""
        self._stopped.set()
        self._asked.set()

    def _watch(self) -> None:
        while True:
            asked = self._asked.wait(_INTERVAL)
            self._asked.clear()
            if self._stopped.is_set():
                return
            now = time.monotonic()
            found = shortages(self._settings)
            is_news = _is_news(self._told, found)
            if is_news:
                self._told = found
            if is_news or asked:
                self._post(SpaceSeen(at=now, shortages=self._told))


def _is_news(before: Sequence[Shortage], now: Sequence[Shortage]) -> bool:
    """Whether it is worth a change of what every waiting job says."""
    if [one.path for one in before] != [other.path for other in now]:
        return True
    return any(abs(one.free - other.free) > one.floor * _NEWS for one, other in zip(before, now, strict=True))
