"""Who waits for the ends of the process executor's jobs: one blocked thread per job that runs, whoever started it."""

from __future__ import annotations

import threading
import weakref

from jobrunner_cli.engine.executors.process_container import ProcessContainer
from jobrunner_cli.engine.executors.protocol import Hint


class HintStream:
    """The events of one owner's jobs: an end sets the hint, a wait takes it."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self._closed = False
        self._news = threading.Event()

    def wait(self, timeout: float) -> Hint | None:
        """Wait for a hint, at most so many seconds; None at once when it is closed."""
        hinted = self._news.wait(max(timeout, 0)) and not self._closed
        if hinted:
            # Before the caller takes its list: what happens from here on sets it again.
            self._news.clear()
        return Hint(ended={}, is_all=False) if hinted else None

    def close(self) -> None:
        """End it, and a `wait` in another thread with it."""
        self._closed = True
        self._news.set()

    def hint(self) -> None:
        """Something has ended."""
        self._news.set()


class Watches:
    """The threads that wait, each in the kernel, for a shim's lock. They end with their jobs, or with the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: dict[str, threading.Event] = {}
        self._streams: weakref.WeakSet[HintStream] = weakref.WeakSet()

    def subscribe(self, owner: str) -> HintStream:
        """A stream that is told of the ends of this owner's watched jobs from now on."""
        stream = HintStream(owner)
        with self._lock:
            self._streams.add(stream)
        return stream

    def has_subscriber(self, owner: str) -> bool:
        """Whether anybody would be told."""
        with self._lock:
            return any(stream.owner == owner for stream in self._streams)

    def watch(self, container: ProcessContainer, owner: str) -> threading.Event:
        """Watch a job that runs; what is set when it has ended. Watching it already is fine."""
        key = str(container.control)
        with self._lock:
            end = self._ends.get(key)
            if end is None:
                end = self._ends[key] = threading.Event()
                name = f"watch {container.control.parent.name}"
                threading.Thread(target=self._await, args=(key, container, owner, end), name=name, daemon=True).start()
        return end

    def _await(self, key: str, container: ProcessContainer, owner: str, end: threading.Event) -> None:
        while True:
            container.await_end()
            with self._lock:
                # Started over meanwhile, when `watch` still found this thread: then it is not done yet.
                if not container.is_alive():
                    del self._ends[key]
                    end.set()
                    for stream in self._streams:
                        if stream.owner == owner:
                            stream.hint()
                    return
