"""The way of docker-py's requests to an engine at a Unix socket: over connections that are kept and used again.

Imported where the first connection is made: docker-py and what it needs take a tenth of a second.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from docker.transport import UnixHTTPAdapter
from docker.transport.unixconn import UnixHTTPConnection, UnixHTTPConnectionPool

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Connection(UnixHTTPConnection):
    """A connection that leaves no open socket behind where nobody takes it, as docker-py's does."""

    def connect(self) -> None:
        door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            door.settimeout(self.timeout)
            door.connect(self.unix_socket)
        except BaseException:
            door.close()
            raise
        self.sock = door


class _Connections(UnixHTTPConnectionPool):
    """Connections to one socket."""

    def _new_conn(self) -> Any:
        timeout: Any = self.timeout
        return _Connection(self.base_url, self.socket_path, timeout)


class KeptConnections(UnixHTTPAdapter):
    """One pool for everything that is asked: docker-py has one for each path, and every container has paths of its own."""

    def __init__(self, socket_path: str, timeout: float) -> None:
        """`timeout` in seconds is for connecting."""
        seconds: Any = timeout  # typed as whole ones
        super().__init__(socket_path, seconds)
        self._connections = _Connections("http+docker://localhost", socket_path, seconds)

    def get_connection(self, url: str | bytes, proxies: Mapping[str, str] | None = None) -> _Connections:
        """The pool, whatever is asked for."""
        return self._connections

    def close(self) -> None:
        """Let go of the connections."""
        super().close()
        self._connections.close()
