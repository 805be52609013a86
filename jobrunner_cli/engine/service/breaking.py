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
from urllib3.connection import HTTPConnection

if TYPE_CHECKING:
    from requests import PreparedRequest
    from urllib3.connectionpool import HTTPConnectionPool


class Breaker:
    """Ends the connection of a call that takes too long, whatever the call waits for once it has one; for one call at a time.

    Looking up the name of the host comes before that: the resolver has time limits of its own, and then the call ends with
    the connection.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._handle: socket.socket | None = None
        #: counts the calls: a timer may still go off when the one that it was for has just ended
        self._call = 0
        #: whether the call of now, or the last one, was broken off
        self.broke = False

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Break off what is still going on after so many seconds; it then ends in whatever error the library has for that."""
        with self._guard:
            self._call += 1
            self.broke = False
            timer = threading.Timer(seconds, self._break, [self._call])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            with self._guard:
                self._call += 1

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

    def _break(self, call: int) -> None:
        with self._guard:
            if call != self._call:
                return
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
        self._breaker = breaker
        self._silence = silence
        #: the library's kind of connection -> the same, watched
        self._kinds: dict[type[HTTPConnection], type[HTTPConnection]] = {}

    def get_connection_with_tls_context(
        self,
        request: PreparedRequest,
        verify: bool | str | None,
        proxies: Mapping[str, str] | None = None,
        cert: Any = None,
    ) -> HTTPConnectionPool:
        """The pool for a request, with connections that are watched."""
        pool: Any = super().get_connection_with_tls_context(request, verify, proxies, cert)
        kind = pool.ConnectionCls
        # Pools are kept. The kind of one that goes through a SOCKS proxy is another one, without which it would not.
        if kind not in self._kinds.values():
            if kind not in self._kinds:
                self._kinds[kind] = _watched(kind, self._breaker, self._silence)
            pool.ConnectionCls = self._kinds[kind]
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
