"""Whether an engine answers at an address, and what is said where none does."""

from __future__ import annotations

import http.client
import socket
import sys
from typing import Any


class NoEngineError(Exception):
    """There is no engine, and this machine or user cannot start one."""


def say(line: str) -> None:
    """Tell what happens; standard output is kept for `env`."""
    print(line, file=sys.stderr, flush=True)


class _SocketConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=5)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def answers(url: str) -> bool:
    """Whether an engine answers at this address."""
    if url.startswith("unix://"):
        # Without docker-py: importing it would take most of the time that "it runs already" takes.
        connection = _SocketConnection(url.removeprefix("unix://"))
        try:
            connection.request("GET", "/_ping")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
    try:
        return bool(connect(url).ping())
    except Exception as error:  # noqa: BLE001 - the ways in which an address can be no engine have no common base
        say(f"{url}: {error}")
        return False


def connect(url: str) -> Any:
    """A docker-py client; for a remote engine with the certificates that the environment names."""
    import docker
    from docker.utils import kwargs_from_env

    arguments: dict[str, Any] = {} if url.startswith("unix://") else {**kwargs_from_env()}
    arguments["base_url"] = arguments.get("base_url") or url
    return docker.APIClient(**arguments, timeout=120)
