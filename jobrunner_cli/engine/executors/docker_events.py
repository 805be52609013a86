"""Hints that a container changed, from the event stream of a Docker engine."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from jobrunner_cli.engine.errors import ExecutorUnavailableError, JobrunnerError
from jobrunner_cli.engine.executors.docker_connection import EngineConnection
from jobrunner_cli.engine.executors.docker_metadata import engine_timestamp
from jobrunner_cli.engine.executors.docker_streams import StreamSocket, StreamWatch, open_stream, reports, stream_errors
from jobrunner_cli.engine.executors.protocol import Hint

if TYPE_CHECKING:
    from requests import Response

#: The one change that a runner does not make itself and that matters to it; whoever removes a running container kills
#: it first. Podman tells of a `die`, but has to be asked for `died`.
_CHANGES = ["die", "died"]
#: Seconds that an engine may take at most from telling of a death to having it in its list.
_LOOK_BACK = 10


class DockerEvents:
    """An event stream that is read by a thread of its own; what it says is only that something changed."""

    def __init__(
        self,
        engine: EngineConnection,
        watch: StreamWatch,
        label: str,
        *,
        timeout: float,
        on_end: Callable[[Mapping[str, Any]], str | None],
    ) -> None:
        """Open it for containers with this label (`name=value`). Raises ExecutorUnavailableError.

        `on_end` gets the engine's description of a container of which it told that it ended, from the thread that reads
        the stream; it returns the job of one that has exited.
        """
        self._engine = engine
        self._on_end = on_end
        self._watch = watch
        self._timeout = timeout
        self._changed = threading.Condition()
        self._ended: dict[str, float] = {}
        self._is_all = True
        self._closed = False
        self._broken: ExecutorUnavailableError | None = None
        self._client = engine.dedicated("open its event stream", timeout=timeout)
        try:
            self._response = self._open(label)
        except BaseException:
            self._client.close()
            raise
        self._socket = StreamSocket(self._response)
        self._socket.wait_for_ever()
        watch.add(self._socket)
        threading.Thread(target=self._read, name="docker-events", daemon=True).start()

    def _open(self, label: str) -> Response:
        filters = {"type": ["container"], "label": [label], "event": _CHANGES}
        with self._engine.translated("open its event stream", self._timeout):
            # An engine begins its answer before it listens, and tells of a death before its list does: asking from
            # a moment ago by its own clock closes both gaps, at the price of a hint too many.
            now = engine_timestamp(self._client.info()["SystemTime"], earlier=_LOOK_BACK)
            return open_stream(self._client, "/events", timeout=self._timeout, filters=json.dumps(filters), since=now)

    def _read(self) -> None:
        failure: BaseException | None = None
        try:
            for event in reports(self._response):
                asked_at = time.monotonic()
                ended = self._await_end(str(event.get("id", ""))) if event.get("Action") == "die" else None
                with self._changed:
                    if ended is None:
                        self._is_all = False
                    else:
                        self._ended[ended] = asked_at
                    self._changed.notify_all()
        except stream_errors() as error:
            failure = error
        # What is known of the engine may not be true of the one that answers next.
        self._engine.forget()
        with self._changed:
            why = failure or EOFError("the engine ended its event stream")
            self._broken = self._engine.unavailable(why, self._timeout)
            self._changed.notify_all()
        self._watch.discard(self._socket)
        self._response.close()
        self._client.close()

    def _await_end(self, container: str) -> str | None:
        """Return when the container's end shows in the engine's list, too: the job, if it is seen to have exited.

        The engine tells of a death some 40 ms before its list does: it cleans up in between, holding the container's
        lock, and describing a container takes that lock. Whatever comes of it, the event is a hint.
        """
        with suppress(JobrunnerError), self._engine.calling("describe a container") as client:
            return self._on_end(client.inspect_container(container))
        return None

    def wait(self, timeout: float) -> Hint | None:
        """Wait for the next hint, at most so many seconds; None if there was none since the last call.

        Raises ExecutorUnavailableError if the stream broke; None at once after `close`.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._hinted or self._closed or self._broken is not None, timeout)
            if self._closed:
                return None
            if self._hinted:
                hint = Hint(ended=self._ended, is_all=self._is_all)
                self._ended, self._is_all = {}, True
                return hint
            if self._broken is not None:
                raise ExecutorUnavailableError(self._broken.message, hint=self._broken.hint)
            return None

    @property
    def _hinted(self) -> bool:
        return bool(self._ended) or not self._is_all

    def close(self) -> None:
        """End it, from any thread; may be called again."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._socket.cut()
