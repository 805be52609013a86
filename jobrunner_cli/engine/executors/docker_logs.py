"""What a container printed, from a Docker engine: the two streams taken apart, and pieces of long lines joined."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from jobrunner_cli.engine.executors.docker_connection import EngineConnection, is_absent, is_conflict
from jobrunner_cli.engine.executors.docker_metadata import engine_timestamp
from jobrunner_cli.engine.executors.docker_streams import StreamSocket, StreamWatch, open_stream, pieces, stream_errors
from jobrunner_cli.engine.loglines import LONGEST_ITEM, LogPiece

if TYPE_CHECKING:
    from docker.api.client import APIClient
    from requests import Response

_HEADER = struct.Struct(">BxxxL")
_ENGINE_ITSELF = 3
_UNKNOWN_TIME = b"1970-01-01T00:00:00.000000000Z"
#: Seconds within which a container whose log has ended is seen to have ended itself.
_END_WITHIN = 10
#: How many of the last timestamps are kept, and how many frames back one may be out of order.
_REMEMBERED = 256
_OUT_OF_ORDER = 32


class DockerLog:
    """The lines of one container's log, as an iterator; `close` ends it from any thread."""

    def __init__(
        self,
        engine: EngineConnection,
        watch: StreamWatch,
        container: str,
        *,
        follow: bool,
        timeout: float,
        tail: int | None = None,
    ) -> None:
        """Open the log of a container; one that does not exist has no lines. Raises ExecutorUnavailableError."""
        self._source = _Source(engine, watch, container, timeout=timeout)
        self._lines = self._source.lines(follow=follow, tail=tail)
        self._source.open(follow=follow, tail=tail)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._lines)

    def close(self) -> None:
        """Let go of the connection; a `next` in another thread ends at once. May be called again."""
        self._source.end()

    def __del__(self) -> None:
        # Readers often stop at the line that they looked for, and drop the rest.
        if hasattr(self, "_source"):
            self.close()


class _Source:
    """An open log; whoever reads it to the end, or ends it, releases the connection."""

    def __init__(self, engine: EngineConnection, watch: StreamWatch, container: str, *, timeout: float) -> None:
        self._engine = engine
        self._watch = watch
        self._container = container
        self._timeout = timeout
        self._doing = f"read the log of {container}"
        self._client: APIClient | None = None
        self._response: Response | None = None
        self._socket: StreamSocket | None = None
        self._ended = False
        self._reading = False
        #: the last timestamps, as the engine wrote them, each with the number of frames in a row that bear it
        self._stamps: deque[tuple[bytes, int]] = deque(maxlen=_REMEMBERED)
        #: the timestamp at which a log begins of which only the end was asked for
        self._cut_at: bytes | None = None

    def open(self, *, follow: bool, since: str = "0", tail: int | None = None) -> None:
        """Ask for the log, from a time or so many frames before its end on. Raises ExecutorUnavailableError."""
        from docker.errors import APIError

        # One that waits for more lasts for as long as its job, and would keep a client from all other calls.
        obtain = self._engine.dedicated if follow else self._engine.lend
        self._client = obtain(self._doing, timeout=self._timeout)
        if self._engine.is_podman and not follow:
            # It would mix up the pieces of long lines.
            tail = None
        try:
            with self._engine.translated(self._doing, self._timeout):
                self._response = open_stream(
                    self._client,
                    f"/containers/{quote(self._container)}/logs",
                    timeout=self._timeout,
                    stdout=1,
                    stderr=1,
                    timestamps=1,
                    follow=int(follow),
                    since=since,
                    tail="all" if tail is None else tail,
                )
                self._socket = StreamSocket(self._response)
        except BaseException as error:
            self._release()
            # A conflict: it is being removed.
            refusal = error.__cause__
            if isinstance(refusal, APIError) and (is_absent(refusal) or is_conflict(refusal)):
                return
            raise
        if follow:
            self._socket.wait_for_ever()
            self._watch.add(self._socket)

    def lines(self, *, follow: bool, tail: int | None = None) -> Iterator[bytes]:
        """Every line in turn. Raises ExecutorUnavailableError if the engine breaks off."""
        try:
            parts: Iterable[tuple[int, bool, bytes]] = self._frames(follow=follow, cut=tail is not None)
            cut = tail is not None
            if tail is not None and not follow:
                # An engine that returns fewer frames than it was asked for has returned all.
                parts = deque(parts, maxlen=tail)
                cut = len(parts) == tail
            yield from joined(parts, cut=cut)
        finally:
            self._release()

    def _frames(self, *, follow: bool, cut: bool) -> Iterator[tuple[int, bool, bytes]]:
        yield from self._remembered(self._parts(), cut=cut)
        if follow and self._response is not None and not self._ended:
            self._see_the_end()
            # Podman leaves out nothing there, but lines in the middle of a flood, so that no count of them is true.
            if not self._engine.is_podman:
                yield from self._what_was_left_out()

    def _remembered(self, parts: Iterable[tuple[int, bool, bytes]], *, cut: bool) -> Iterator[tuple[int, bool, bytes]]:
        for part in parts:
            if part[1]:
                stamp, run = _stamp(part), 1
                if cut and not self._stamps:
                    self._cut_at = stamp
                if self._stamps and self._stamps[-1][0] == stamp:
                    run += self._stamps.pop()[1]
                self._stamps.append((stamp, run))
            yield part

    def _what_was_left_out(self) -> Iterator[tuple[int, bool, bytes]]:
        """The frames that came after the last one.

        An engine that follows a log may end its answer without what was printed just before the end. The two streams
        are stamped before they are written one after the other, so stamps go back a little now and then: what has
        been seen is counted from some frames before the last. Those with the stamp at which a log was cut are passed
        over: the pieces of a long line share one, and some of them may be above the cut.
        """
        newest = list(self._stamps)[-_OUT_OF_ORDER:]
        since = min((stamp for stamp, _ in newest), default=b"")
        seen = sum(run for stamp, run in self._stamps if stamp >= since and stamp != self._cut_at)
        self._release()
        self.open(follow=False, since=engine_timestamp(since.decode()) if since else "0")
        uncounted = False
        for part in self._parts():
            if part[1]:
                uncounted = _stamp(part) == self._cut_at
                seen -= not uncounted
            if seen < 0 and not uncounted:
                yield part

    def _parts(self) -> Iterator[tuple[int, bool, bytes]]:
        parts = frames(self._pieces())
        return in_utc(parts) if self._engine.is_podman else parts

    def _pieces(self) -> Iterator[bytes]:
        if self._response is None:
            return
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
                self._engine.forget()
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
        stream = self._socket
        if stream is not None:
            stream.cut()
        if not self._reading:
            self._release()

    def _release(self) -> None:
        client, response, stream = self._client, self._response, self._socket
        # Whoever ends it from now on has nothing to cut any more.
        self._client = self._response = self._socket = None
        if stream is not None:
            self._watch.discard(stream)
        if response is not None:
            with suppress(*stream_errors()):
                response.close()
        if client is None:
            return
        if self._ended:
            # Its connection may be cut at this moment.
            client.close()
        else:
            self._engine.take_back(client)


def _stamp(part: tuple[int, bool, bytes]) -> bytes:
    """The timestamp with which a frame begins."""
    return part[2].partition(b" ")[0]


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


def in_utc(parts: Iterable[tuple[int, bool, bytes]]) -> Iterator[tuple[int, bool, bytes]]:
    """The same frames with timestamps in UTC: Podman's have the offset of its machine's time zone, and whole seconds."""
    told, stamp = b"", b""
    for stream, begins, data in parts:
        if not begins or stream == _ENGINE_ITSELF:
            yield stream, begins, data
            continue
        first, _, text = data.partition(b" ")
        if first != told:
            told, moment = first, datetime.fromisoformat(first.decode()).astimezone(UTC)
            stamp = moment.strftime("%Y-%m-%dT%H:%M:%SZ").encode()
        yield stream, begins, stamp + b" " + text


def joined(parts: Iterable[tuple[int, bool, bytes]], *, cut: bool = False) -> Iterator[bytes]:
    """Lines with their timestamps, out of frames.

    Each frame begins with a timestamp and a space. The engine breaks a long line into frames of 16 KiB, of which only
    the last ends with a newline; they are joined again, up to the longest item. If the log was `cut` before the first
    frame, that of each stream may belong to a longer line.
    """
    pending: dict[int, _Line] = {}
    begun = set[int]()
    for stream, begins, data in parts:
        if stream == _ENGINE_ITSELF:
            yield _UNKNOWN_TIME + b" " + data.rstrip(b"\n")[: LONGEST_ITEM - len(_UNKNOWN_TIME) - 1]
            continue
        line = pending.get(stream)
        if line is None:
            if cut and stream not in begun:
                begun.add(stream)
                line = _Line(stream, data, continues=True)
            elif data.endswith(b"\n") and len(data) <= LONGEST_ITEM:
                yield data[:-1]
                continue
            else:
                line = _Line(stream, data, continues=False)
            pending[stream] = line
        else:
            line.text += data.partition(b" ")[2] if begins else data
        complete = line.text.endswith(b"\n")
        if complete:
            del line.text[-1:]
        yield from line.pieces()
        if complete:
            del pending[stream]
            yield line.rest()
    for line in pending.values():
        # Without its end: it may go on as long as the container runs.
        yield line.rest(unfinished=True)


class _Line:
    """A line that comes in several frames."""

    def __init__(self, stream: int, text: bytes, *, continues: bool) -> None:
        self._stream = stream
        self.text = bytearray(text)
        self._continues = continues

    def pieces(self) -> Iterator[bytes]:
        """What is too long for one item, in pieces."""
        while len(self.text) > LONGEST_ITEM:
            data = bytes(self.text[:LONGEST_ITEM])
            yield LogPiece.of(data, stream=self._stream, continues=self._continues, last=False)
            self.text[:LONGEST_ITEM] = self.text[: self.text.find(b" ") + 1]
            self._continues = True

    def rest(self, *, unfinished: bool = False) -> bytes:
        """Its end, or what there is of it."""
        data = bytes(self.text)
        if not (self._continues or unfinished):
            return data
        return LogPiece.of(data, stream=self._stream, continues=self._continues, last=True)
