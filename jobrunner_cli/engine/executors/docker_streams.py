"""Answers of a Docker engine that come bit by bit: opening them, reading them, and cutting dead ones off."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from jobrunner_cli.engine.errors import ExecutorError, ExecutorUnavailableError
from jobrunner_cli.engine.executors.docker_connection import transport_errors

if TYPE_CHECKING:
    from docker.api.client import APIClient
    from requests import Response

_PIECE = 65536
_LONGEST_REPORT = 1 << 20


def open_stream(client: APIClient, path: str, *, timeout: float, **parameters: object) -> Response:
    """An answer whose body comes bit by bit.

    `timeout` in seconds holds until the body begins, and between its bits. Raises what docker-py and requests raise.
    """
    return _request(client, "GET", path, timeout, {}, parameters)


def post_stream(
    client: APIClient, path: str, *, timeout: float, headers: Mapping[str, str], **parameters: object
) -> Response:
    """Like `open_stream`, for an order that the engine reports on while it carries it out."""
    return _request(client, "POST", path, timeout, headers, parameters)


def _request(
    client: APIClient,
    method: str,
    path: str,
    timeout: float,
    headers: Mapping[str, str],
    parameters: Mapping[str, object],
) -> Response:
    from docker.errors import create_api_error_from_http_exception
    from requests.exceptions import HTTPError

    response: Response = client.request(
        method,
        f"{client.base_url}/v{client.api_version}{path}",
        params={name: str(value) for name, value in parameters.items()},
        # Bodies are read as they come; and an engine packs files more slowly than most networks carry them.
        headers={"Accept-Encoding": "identity", **headers},
        stream=True,
        timeout=timeout,
    )
    try:
        response.raise_for_status()
    except HTTPError as error:
        with response:
            create_api_error_from_http_exception(error)
    return response


def pieces(response: Response) -> Iterator[bytes]:
    """The body as it arrives, in pieces of at most 64 KiB. Raises urllib3's errors if it is cut short."""
    raw: Any = response.raw
    if raw.chunked:
        yield from raw.read_chunked(amt=_PIECE, decode_content=False)
        return
    # A body that is not chunked has a known length; over ssh nothing less than a piece of it can be asked for.
    read = raw.read1 if hasattr(raw._fp.fp, "read1") else raw.read
    while data := read(_PIECE):
        yield data


def reports(response: Response) -> Iterator[Mapping[str, Any]]:
    """The JSON objects of a body, one to a line."""
    buffer = bytearray()
    for piece in pieces(response):
        buffer += piece
        *lines, rest = buffer.split(b"\n")
        buffer = rest if len(rest) <= _LONGEST_REPORT else bytearray()
        for line in lines:
            if line.strip():
                yield json.loads(line)
    if buffer.strip():
        yield json.loads(buffer)


def stream_errors() -> tuple[type[BaseException], ...]:
    """What reading a body can raise: a file or a TLS connection that is cut meanwhile raises ValueError."""
    return (*transport_errors(), ValueError)


class StreamSocket:
    """The connection below an answer that comes bit by bit: it may be told to wait for ever, and be cut."""

    def __init__(self, response: Response) -> None:
        """Take hold of the connection; the answer lets go of it at its end."""
        answer: Any = response.raw._fp
        file = answer.fp
        # Over ssh the file has no socket of its own, but names its channel.
        self._socket: Any = getattr(getattr(file, "raw", None), "_sock", None) or file.channel

    def wait_for_ever(self) -> None:
        """No time limit between two bits of the body: a job may be silent for days."""
        self._socket.settimeout(None)

    def cut(self) -> None:
        """End it, from any thread: whoever reads it gets the end or an error at once."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


class StreamWatch:
    """Cuts the streams that wait for ever when the engine no longer answers; one thread, while there are any."""

    def __init__(self, ask: Callable[[], object], *, interval: float) -> None:
        """`ask` has the engine answer something, or raises; it is called every `interval` seconds."""
        self._ask = ask
        self._interval = interval
        self._streams: set[StreamSocket] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, stream: StreamSocket) -> None:
        """Watch this one, too."""
        with self._changed:
            self._streams.add(stream)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="docker-watch", daemon=True)
                self._thread.start()

    def discard(self, stream: StreamSocket) -> None:
        """Watch it no longer."""
        with self._changed:
            self._streams.discard(stream)
            self._changed.notify()

    def _watch(self) -> None:
        while True:
            with self._changed:
                if self._changed.wait_for(lambda: not self._streams, self._interval):
                    self._thread = None
                    return
                watched = tuple(self._streams)
            try:
                self._ask()
            except ExecutorUnavailableError:
                self._cut(watched)
            except ExecutorError:
                continue

    def _cut(self, streams: Collection[StreamSocket]) -> None:
        # The connection of one that has ended meanwhile may be another call's by now.
        with self._changed:
            for stream in self._streams.intersection(streams):
                stream.cut()
