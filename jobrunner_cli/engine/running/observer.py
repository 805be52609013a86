"""The observer: it watches the executor and posts what it sees, so that a slow engine never blocks the loop.

Events are hints only. One thread listens for them, and posts what they tell for certain. The other asks the executor
for all containers at once where they do not, after a request of the loop, and now and then in any case (an engine may
drop events), and posts the answer. All of it is stamped with when it was asked for.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

from jobrunner_cli.engine.errors import ExecutorUnavailableError, JobrunnerError
from jobrunner_cli.engine.world import Snapshot

if TYPE_CHECKING:
    from jobrunner_cli.engine.executors.protocol import EventStream, Executor

log = logging.getLogger(__name__)

#: Seconds after which the executor is asked even without a hint.
_LONGEST_SILENCE = 5.0
#: An engine that shuts down first ends its containers (Docker gives them 15 seconds) and then its event streams.
_SHUTDOWN_SECONDS = 20.0
_LONGEST_BACKOFF = 5.0
_FIRST_BACKOFF = 0.1
_AFTER_A_FAILED_LIST = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """Containers were found to have exited."""

    #: job id -> monotonic seconds at which it was asked about
    at: Mapping[str, float]


class Observer:
    """Two threads that watch one executor on behalf of one work directory."""

    def __init__(
        self,
        executor: Executor,
        owner: str,
        *,
        post: Callable[[Snapshot | Ended], None],
        on_trouble: Callable[[str | None], None],
    ) -> None:
        """`post` gets all that is seen; `on_trouble` a line when the executor goes away, None when it is back."""
        self._executor = executor
        self._owner = owner
        self._post = post
        self._on_trouble = on_trouble
        self._asked = Event()
        self._stopped = Event()
        self._lock = Lock()
        self._stream: EventStream | None = None
        self._away: list[tuple[float, float | None]] = []
        self._thread = Thread(target=self._watch, name="observer", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def ask(self) -> None:
        """Have a new snapshot taken soon."""
        self._asked.set()

    def stop(self) -> None:
        """End both threads; returns at once, a call of the engine that hangs is left to its time limit."""
        self._stopped.set()
        self._asked.set()
        with self._lock:
            if self._stream is not None:
                self._stream.close()

    def was_away(self, at: float) -> bool:
        """Whether the executor was away at a UNIX time, or went away so shortly after it that it may have caused it."""
        with self._lock:
            return any(begin - _SHUTDOWN_SECONDS <= at and (end is None or at <= end) for begin, end in self._away)

    def _watch(self) -> None:
        backoff = _FIRST_BACKOFF
        while not self._stopped.is_set():
            try:
                stream = self._executor.events(self._owner)
                with self._lock:
                    self._stream = stream
                backoff = _FIRST_BACKOFF
                try:
                    self._serve(stream)
                finally:
                    stream.close()
            except Exception as error:  # noqa: BLE001 (without its eyes the loop would wait for ever)
                self._mark_away(error)
                self._stopped.wait(backoff)
                backoff = min(backoff * 2, _LONGEST_BACKOFF)

    def _serve(self, stream: EventStream) -> None:
        """Take snapshots as long as the stream lives. Raises ExecutorUnavailableError when it breaks."""
        self._asked.set()
        broken: list[Exception] = []
        done = Event()
        listener = Thread(target=self._listen, args=(stream, broken, done), name="observer-events", daemon=True)
        listener.start()
        try:
            self._take_snapshots(broken)
        finally:
            done.set()

    def _take_snapshots(self, broken: list[Exception]) -> None:
        while not self._stopped.is_set():
            self._asked.wait(_LONGEST_SILENCE)
            self._asked.clear()
            if broken:
                raise broken[0]
            if self._stopped.is_set():
                return
            asked_at = time.monotonic()
            try:
                containers = self._executor.list(self._owner)
            except ExecutorUnavailableError as error:
                # As long as the stream lives, the engine was not away: it is only slow.
                log.warning("The containers could not be listed: %s", error)
                self._stopped.wait(_AFTER_A_FAILED_LIST)
                self._asked.set()
                continue
            self._mark_back()
            self._post(Snapshot(asked_at=asked_at, containers=containers))

    def _listen(self, stream: EventStream, broken: list[Exception], done: Event) -> None:
        while not (self._stopped.is_set() or done.is_set()):
            try:
                hint = stream.wait(_LONGEST_SILENCE)
                if hint is None:
                    continue
                if hint.ended:
                    self._post(Ended(at=hint.ended))
                if not hint.is_all:
                    self._asked.set()
            except Exception as error:  # noqa: BLE001 (whatever broke it, the stream is of no use any more)
                broken.append(error)
                self._asked.set()
                return

    def _mark_away(self, error: Exception) -> None:
        if self._stopped.is_set():
            return
        with self._lock:
            already = bool(self._away) and self._away[-1][1] is None
            if not already:
                self._away.append((time.time(), None))
        if not already:
            expected = isinstance(error, JobrunnerError)
            log.warning("The executor does not answer: %s", error, exc_info=None if expected else error)
            self._on_trouble(str(error))

    def _mark_back(self) -> None:
        with self._lock:
            if not self._away or self._away[-1][1] is not None:
                return
            begin, _ = self._away[-1]
            self._away[-1] = (begin, time.time())
        log.info("The executor answers again")
        self._on_trouble(None)
