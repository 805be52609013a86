"""Connections that can be broken off: a socket's time-out says how long nothing may come, not how long a call may take.

Imports the libraries for HTTP, so it is imported when a conversation begins.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

if TYPE_CHECKING:
    from requests import PreparedRequest
    from urllib3.connectionpool import HTTPConnectionPool


class Breaker:
    """Ends the connection of a call that takes too long, whatever the call waits for; for one call at a time."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._handle: socket.socket | None = None
        #: whether the call of now, or the last one, was broken off
        self.broke = False

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Break off what is still going on after so many seconds; it then ends in whatever error the library has for that."""
        self.broke = False
        timer = threading.Timer(seconds, self._break)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def watch(self, connected: socket.socket) -> socket.socket:
        """Take note of the call's connection. Returns what is to be given to `forget`."""
        # A handle of our own: TLS takes the socket over, and its number may be another one's by the time it is used.
        handle = connected.dup()
        with self._guard:
            self._handle = handle
            if self.broke:
                _shut(handle)
        return handle

    def forget(self, handle: socket.socket) -> None:
        """The connection is closed."""
        with self._guard:
            handle.close()
            if self._handle is handle:
                self._handle = None

    def _break(self) -> None:
        with self._guard:
            self.broke = True
            if self._handle is not None:
                _shut(self._handle)


def _shut(handle: socket.socket) -> None:
    with suppress(OSError):
        handle.shutdown(socket.SHUT_RDWR)


class BreakableAdapter(HTTPAdapter):
    """Has all connections of a session watched by a breaker."""

    def __init__(self, breaker: Breaker, silence: float) -> None:
        """`silence`: seconds for which a connection may take nothing of what it is to send."""
        super().__init__()
        self._kinds = {
            "http": _watched(HTTPConnection, breaker, silence),
            "https": _watched(HTTPSConnection, breaker, silence),
        }

    def get_connection_with_tls_context(
        self,
        request: PreparedRequest,
        verify: bool | str | None,
        proxies: Mapping[str, str] | None = None,
        cert: Any = None,
    ) -> HTTPConnectionPool:
        """The pool for a request, with connections that are watched."""
        pool: Any = super().get_connection_with_tls_context(request, verify, proxies, cert)
        pool.ConnectionCls = self._kinds[pool.scheme]
        return cast("HTTPConnectionPool", pool)


def _watched(kind: type[HTTPConnection], breaker: Breaker, silence: float) -> type[HTTPConnection]:
    """This kind of connection, watched by a breaker."""

    class Watched(kind):  # type: ignore[misc,valid-type]
        _handle: socket.socket | None = None

        def _new_conn(self) -> socket.socket:
            connected: socket.socket = super()._new_conn()
            self._handle = breaker.watch(connected)
            return connected

        def connect(self) -> None:
            super().connect()
            # The library would leave the time-out for connecting in force while a body is sent.
            if self.sock is not None:
                self.sock.settimeout(silence)

        def close(self) -> None:
            if (handle := self._handle) is not None:
                self._handle = None
                breaker.forget(handle)
            super().close()

    return Watched
