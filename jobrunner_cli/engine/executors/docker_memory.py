"""What a process knows of the containers that it made itself, which spares it a look at each of them.

Nobody else starts or removes them, but for an operator by hand. What is known of one is used once, and forgotten with
the container; a container that another process made has to be looked at.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any


class OwnContainers:
    """Containers by name. May be shared between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids: dict[str, str] = {}
        self._never_started: set[str] = set()
        self._ended: dict[str, Mapping[str, Any]] = {}

    def made(self, name: str, container_id: str) -> None:
        """A container of that name was made just now."""
        with self._lock:
            self._ids[name] = container_id
            self._never_started.add(name)
            self._ended.pop(name, None)

    def begin_start(self, name: str) -> bool:
        """Whether it has certainly never been started: true at most once for each that was made."""
        with self._lock:
            known = name in self._never_started
            self._never_started.discard(name)
            return known

    def note_end(self, described: Mapping[str, Any]) -> None:
        """Keep the engine's description of one that has exited."""
        name = str(described.get("Name", "")).removeprefix("/")
        with self._lock:
            if self._ids.get(name) == described["Id"]:
                self._ended[name] = described

    def take_end(self, name: str) -> Mapping[str, Any] | None:
        """The description that was kept, for the first who asks."""
        with self._lock:
            return self._ended.pop(name, None)

    def forget(self, name: str) -> None:
        """It is going to be removed, or the name has been given to another."""
        with self._lock:
            self._ids.pop(name, None)
            self._never_started.discard(name)
            self._ended.pop(name, None)
