"""The way of docker-py's requests to an engine at a Unix socket: over connections that are kept and used again.

Imported where the first connection is made: docker-py and what it needs take a tenth of a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from docker.transport import UnixHTTPAdapter
from docker.transport.unixconn import UnixHTTPConnectionPool

if TYPE_CHECKING:
    from collections.abc import Mapping


class KeptConnections(UnixHTTPAdapter):
    """One pool for everything that is asked: docker-py has one for each path, and every container has paths of its own."""

    def __init__(self, socket_path: str, timeout: float) -> None:
        """`timeout` in seconds is for connecting."""
        seconds: Any = timeout  # typed as whole ones
        super().__init__(socket_path, seconds)
        self._connections = UnixHTTPConnectionPool("http+docker://localhost", socket_path, seconds)

    def get_connection(
        self,
        url: str | bytes,
        proxies: Mapping[str, str] | None = None,
    ) -> UnixHTTPConnectionPool:
        """The pool, whatever is asked for."""
        return self._connections

    def close(self) -> None:
        """Let go of the connections."""
        super().close()
        self._connections.close()
