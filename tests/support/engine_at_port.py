"""An engine as one on another machine is reached: at a port, by way of a relay that may stop in the midst of a transfer."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import suppress

from support.runners import PATIENCE

_REQUEST = re.compile(rb"(GET|PUT|POST|DELETE|HEAD) (\S+) HTTP/1")
_PIECE = 1 << 16


class EngineAtPort:
    """Relays connections at a port of this machine to an engine's Unix socket."""

    def __init__(self, unix_url: str) -> None:
        self._path = unix_url.removeprefix("unix://")
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._relays: list[_Relay] = []
        self._halted_one: _Relay | None = None
        self._halt: tuple[str, int] | None = None
        self._halted = threading.Event()
        self._go_on = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def halt_transfer(self, method: str, after: int) -> None:
        """Let the next `PUT` or `GET` of files go no further than so many bytes."""
        self._halted.clear()
        self._go_on.clear()
        self._halt = (method, after)

    def wait_for_halt(self) -> None:
        """Wait until a transfer was halted."""
        assert self._halted.wait(PATIENCE), "no transfer was so long"

    def let_go_on(self) -> None:
        """Let it go on, or break off if one of the ends is gone."""
        self._halt = None
        self._go_on.set()

    def cut(self) -> None:
        """Break the connection of the halted transfer, and no other."""
        assert self._halted_one is not None
        self._halted_one.cut()
        self.let_go_on()

    def close(self) -> None:
        self._listener.close()
        self.let_go_on()
        for relay in self._relays:
            relay.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                engine = socket.socket(socket.AF_UNIX)
                engine.connect(self._path)
                relay = _Relay(self, client, engine)
                self._relays.append(relay)
                threading.Thread(target=relay.serve, daemon=True).start()

    def passes(self, relay: _Relay, method: str, transferred: int) -> None:
        """Return when a transfer may go on."""
        if self._halt is not None and self._halt[0] == method and transferred > self._halt[1]:
            self._halt = None
            self._halted_one = relay
            self._halted.set()
            self._go_on.wait()


class _Relay:
    """One connection, which knows what was asked last."""

    def __init__(self, port: EngineAtPort, client: socket.socket, engine: socket.socket) -> None:
        self._port = port
        self._client = client
        self._engine = engine
        self._method: str | None = None
        self._sent = self._received = 0

    def serve(self) -> None:
        """Relay both ways until both ends have had enough."""
        with self._client, self._engine:
            backward = threading.Thread(target=self._backward, daemon=True)
            backward.start()
            self._forward()
            backward.join()

    def cut(self) -> None:
        """Break it."""
        for connection in (self._client, self._engine):
            _end(connection, socket.SHUT_RDWR)

    def _forward(self) -> None:
        try:
            while data := self._client.recv(_PIECE):
                request = _REQUEST.match(data)
                if request is not None:
                    self._sent = self._received = 0
                    self._method = request[1].decode() if b"/archive" in request[2] else None
                self._sent += len(data)
                if self._method == "PUT":
                    self._port.passes(self, "PUT", self._sent)
                self._engine.sendall(data)
        except OSError:
            _end(self._client, socket.SHUT_RDWR)
        _end(self._engine, socket.SHUT_WR)

    def _backward(self) -> None:
        try:
            while data := self._engine.recv(_PIECE):
                self._received += len(data)
                if self._method == "GET":
                    self._port.passes(self, "GET", self._received)
                self._client.sendall(data)
        except OSError:
            _end(self._engine, socket.SHUT_RDWR)
        # An engine that has ended its answer reads no more; and who waits for more is not to wait for ever.
        _end(self._client, socket.SHUT_RDWR)


def _end(connection: socket.socket, how: int) -> None:
    """Pass on that no more comes, or that nobody listens any more."""
    with suppress(OSError):
        connection.shutdown(how)
