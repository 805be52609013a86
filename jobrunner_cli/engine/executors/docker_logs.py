"""What a container printed, from a Docker engine: the two streams taken apart, and pieces of long lines joined."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import quote

from jobrunner_cli.engine.executors.docker_connection import EngineConnection, is_absent
from jobrunner_cli.engine.executors.docker_streams import StreamSocket, StreamWatch, open_stream, pieces, stream_errors

if TYPE_CHECKING:
    from docker.api.client import APIClient
    from requests import Response

#: The longest item, timestamp included.
LONGEST_ITEM = 65536
_HEADER = struct.Struct(">BxxxL")
_ENGINE_ITSELF = 3
_UNKNOWN_TIME = b"1970-01-01T00:00:00.000000000Z"
#: Seconds within which a container whose log has ended is seen to have ended itself.
_END_WITHIN = 10


class DockerLog:
    """The lines of one container's log, as an iterator; `close` ends it from any thread."""

    def __init__(
        self, engine: EngineConnection, watch: StreamWatch, container: str, *, follow: bool, timeout: float
    ) -> None:
        """Open the log of a container; one that does not exist has no lines. Raises ExecutorUnavailableError."""
        self._source = _open(engine, watch, container, follow=follow, timeout=timeout)
        self._lines = self._source.lines() if self._source else iter(())

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._lines)

    def close(self) -> None:
        """Let go of the connection; a `next` in another thread ends at once. May be called again."""
        if self._source is not None:
            self._source.end()

    def __del__(self) -> None:
        # Readers often stop at the line that they looked for, and drop the rest.
        if getattr(self, "_source", None) is not None:
            self.close()


def _open(
    engine: EngineConnection, watch: StreamWatch, container: str, *, follow: bool, timeout: float
) -> _Source | None:
    from docker.errors import APIError

    doing = f"read the log of {container}"
    client = engine.dedicated(doing, timeout=timeout)
    try:
        with engine.translated(doing, timeout):
            try:
                response = open_stream(
                    client,
                    f"/containers/{quote(container)}/logs",
                    timeout=timeout,
                    stdout=1,
                    stderr=1,
                    timestamps=1,
                    follow=int(follow),
                )
            except APIError as error:
                # 409: it is being removed.
                if not is_absent(error) and error.status_code != 409:
                    raise
                client.close()
                return None
    except BaseException:
        client.close()
        raise
    return _Source(engine, watch, container, client, response, follow=follow, timeout=timeout)


class _Source:
    """An open log; whoever reads it to the end, or ends it, releases the connection."""

    def __init__(
        self,
        engine: EngineConnection,
        watch: StreamWatch,
        container: str,
        client: APIClient,
        response: Response,
        *,
        follow: bool,
        timeout: float,
    ) -> None:
        self._engine = engine
        self._watch = watch
        self._container = container
        self._client = client
        self._response = response
        self._follow = follow
        self._timeout = timeout
        self._socket = StreamSocket(response)
        self._ended = False
        self._reading = False
        if follow:
            self._socket.wait_for_ever()
            watch.add(self._socket)

    def lines(self) -> Iterator[bytes]:
        """Every line in turn. Raises ExecutorUnavailableError if the engine breaks off."""
        try:
            yield from joined(frames(self._pieces()))
            if self._follow and not self._ended:
                self._see_the_end()
        finally:
            self._release()

    def _pieces(self) -> Iterator[bytes]:
        source = pieces(self._response)
        while True:
            self._reading = True
            try:
                if self._ended:
                    return
                piece = next(source, None)
            except stream_errors() as error:
                if self._ended:
                    return
                raise self._engine.unavailable(error, self._timeout) from error
            finally:
                self._reading = False
            if piece is None:
                return
            yield piece

    def _see_the_end(self) -> None:
        """Make sure that the log ended because the container did: an engine on its way out ends it, too."""
        from docker.errors import APIError

        with self._engine.calling(f"wait for {self._container}", timeout=self._timeout) as client:
            try:
                client.wait(self._container, timeout=_END_WITHIN, condition="not-running")
            except APIError as error:
                if not is_absent(error):
                    raise

    def end(self) -> None:
        """Cut a read in another thread, which then releases the connection; without one, release it here."""
        self._ended = True
        self._socket.cut()
        if not self._reading:
            self._release()

    def _release(self) -> None:
        self._watch.discard(self._socket)
        with suppress(*stream_errors()):
            self._response.close()
        self._client.close()


def frames(body: Iterable[bytes]) -> Iterator[tuple[int, bool, bytes]]:
    """The frames of a multiplexed body: number of the stream, whether the frame begins here, bytes.

    A frame is a header of eight bytes (number, three zeros, big-endian length) and so many bytes; one that is longer
    than an item may be comes in several. Source: "Attach to a container" in the Docker Engine API.
    """
    buffer = bytearray()
    stream, left, begins = 0, 0, False
    for piece in body:
        buffer += piece
        at = 0
        while True:
            if not left:
                if len(buffer) - at < _HEADER.size:
                    break
                stream, left = _HEADER.unpack_from(buffer, at)
                at += _HEADER.size
                begins = True
                if not left:
                    continue
            size = min(left, LONGEST_ITEM)
            if len(buffer) - at < size:
                break
            yield stream, begins, bytes(buffer[at : at + size])
            at += size
            left -= size
            begins = False
        del buffer[:at]


def joined(parts: Iterable[tuple[int, bool, bytes]]) -> Iterator[bytes]:
    """Lines with their timestamps, out of frames.

    Each frame begins with a timestamp and a space. The engine breaks a long line into frames of 16 KiB, of which only
    the last ends with a newline; they are joined again, up to the longest item.
    """
    pending: dict[int, bytearray] = {}
    for stream, begins, data in parts:
        if stream == _ENGINE_ITSELF:
            yield _UNKNOWN_TIME + b" " + data.rstrip(b"\n")[: LONGEST_ITEM - len(_UNKNOWN_TIME) - 1]
            continue
        line = pending.get(stream)
        if line is None:
            if data.endswith(b"\n") and len(data) <= LONGEST_ITEM:
                yield data[:-1]
                continue
            pending[stream] = line = bytearray(data)
        else:
            line += data.partition(b" ")[2] if begins else data
        complete = line.endswith(b"\n")
        if complete:
            del line[-1:]
        while len(line) > LONGEST_ITEM:
            yield bytes(line[:LONGEST_ITEM])
            stamp = line[: line.find(b" ") + 1]
            line[:LONGEST_ITEM] = stamp
        if complete:
            del pending[stream]
            yield bytes(line)
    yield from map(bytes, pending.values())
