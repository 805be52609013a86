"""Bounded pools of threads for the hands of the loop: what is handed in is done in its order.

The threads are daemons on purpose: a runner that has to leave at once leaves, and what was in their hands is done
again by the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread


class Pool:
    """A bounded number of threads that take tasks in order; threads are made when they are first needed."""

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads: list[Thread] = []
        self._submitted = 0

    def submit(self, task: Callable[[], None]) -> None:
        """Have a task done; it must not raise. Called by one thread only.

        Raises RuntimeError, and does nothing, if not a single thread is to be had.
        """
        if len(self._threads) < min(self._size, self._submitted + 1):
            thread = Thread(target=self._work, name=f"{self._name}-{len(self._threads)}", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                # Those that there are do it.
                if not self._threads:
                    raise
            else:
                self._threads.append(thread)
        self._tasks.put(task)
        self._submitted += 1

    def grow(self, size: int) -> None:
        """Allow so many threads, if that is more than before."""
        self._size = max(self._size, size)

    def close(self) -> None:
        """Let the threads end once the tasks before are done."""
        for _ in self._threads:
            self._tasks.put(None)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
