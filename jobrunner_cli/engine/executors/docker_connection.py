"""The way to a Docker engine: its address, a client for each call in flight, and what a failed call means."""

from __future__ import annotations

import re
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from jobrunner_cli.engine.errors import ConfigurationError, ExecutorError, ExecutorUnavailableError

if TYPE_CHECKING:
    from docker.api.client import APIClient
    from docker.errors import APIError

DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
#: The oldest version of the API that has all that is used here.
_OLDEST_VERSION = "1.30"
_MOST_IDLE_CLIENTS = 16
_PING_ANSWER = 4096
#: Seconds for which an engine that has answered is taken to be there still.
_HEARD_FOR = 1.0
_GATEWAY_STATUSES = frozenset({502, 503, 504})
#: What an engine says of itself, not of a container, when it is starting, stopping, overloaded or out of space.
_PASSING = re.compile(
    r"shutting down|transport is closing|connection refused|connection reset|context canceled|deadline exceeded"
    r"|error reading from server|ttrpc: closed|is unavailable|desc = unavailable|no space left on device"
    r"|cannot allocate memory|resource temporarily unavailable|too many open files|marked for removal|removal of container",
    re.IGNORECASE,
)
#: What the one runtime is called that is known to make a loopback by itself.
_RUNC = frozenset({"runc", "io.containerd.runc.v2"})
#: Podman's words for what Docker answers with 409.
_CONFLICT = re.compile(r"already in use|state improper")


class EngineMachine(NamedTuple):
    """What of an engine's machine matters for its containers."""

    #: an engine refuses a container that asks for more
    cpus: float
    #: a container for which the engine sets up no network at all has a namespace of its own with a loopback that works
    makes_loopback: bool


class EngineConnection:
    """Clients of one engine. A client serves one thread at a time, and is used again by the next call.

    Nothing is imported or connected before the first call. The version of the API is agreed once, and again after the
    engine did not answer.
    """

    def __init__(self, host: str | None, *, timeout: float, tls: Mapping[str, Any] | None = None) -> None:
        """`host` as in DOCKER_HOST; `timeout` in seconds of silence; `tls` as docker-py's TLSConfig takes it.

        Raises ConfigurationError for an address that no engine can have.
        """
        self.address = _checked_address(host)
        self._timeout = timeout
        self._tls = tls
        self._version: str | None = None
        self._machine: EngineMachine | None = None
        #: what the engine said of itself, as long as it has not been away
        self.described: str | None = None
        self.runs_since: tuple[float | None] | None = None
        #: whether the engine that was last agreed with is Podman
        self.is_podman = False
        self._heard_at = -_HEARD_FOR
        self._idle: deque[APIClient] = deque(maxlen=_MOST_IDLE_CLIENTS)
        self._lock = threading.Lock()

    @contextmanager
    def calling(self, doing: str, *, timeout: float | None = None) -> Iterator[APIClient]:
        """A client for some calls; `doing` completes "Docker could not …" in errors.

        Raises ExecutorUnavailableError if the engine does not answer in time or has an inner error, ExecutorError if
        it refuses.
        """
        limit = timeout or self._timeout
        client = self.lend(doing, timeout=limit)
        sound = False
        try:
            with self.translated(doing, limit):
                yield client
            sound = True
        except ExecutorError:
            sound = True
            raise
        finally:
            if sound:
                self._heard_at = time.monotonic()
                self.take_back(client)
            else:
                client.close()

    def dedicated(self, doing: str, *, timeout: float) -> APIClient:
        """A client of the caller's own, to be closed by it: a stream holds its connection for as long as it lasts.

        Raises ExecutorUnavailableError.
        """
        self._see_the_socket(ask=not self._was_just_heard())
        with self._lock:
            version = self._version
        return self._connect(doing, version, timeout)

    def knock(self) -> None:
        """Have a question answered over a new connection: an engine that shuts down still serves those that it has.

        That somebody takes the connection is not enough: an init system may hold the socket for an engine that is
        down. Raises ExecutorUnavailableError.
        """
        if self.address.startswith("unix:"):
            self._see_the_socket(ask=True)
            return
        client = self.dedicated("answer", timeout=self._timeout)
        try:
            with self.translated("answer", self._timeout):
                client.ping()
        finally:
            client.close()

    def _see_the_socket(self, *, ask: bool) -> None:
        """Connect where it costs next to nothing, and `ask` something: an absent engine is told at once in few words.

        It also spares docker-py an attempt to connect whose socket it would leave open when that fails. An engine that
        shuts down takes no connection, but does all that is asked over those that it has; what it starts then, it does
        not end. Raises ExecutorUnavailableError.
        """
        if not self.address.startswith("unix:"):
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
                door.settimeout(self._timeout)
                door.connect(urlsplit(self.address).path)
                if not ask:
                    return
                door.sendall(b"GET /_ping HTTP/1.0\r\nHost: engine\r\n\r\n")
                answer = door.recv(_PING_ANSWER)
            if b" 200 " not in answer.partition(b"\r\n")[0]:
                raise ConnectionError(f"it answered a ping with {answer[:40]!r}")
        except OSError as error:
            self.forget()
            raise self.unavailable(error, self._timeout) from error

    def _was_just_heard(self) -> bool:
        return time.monotonic() - self._heard_at < _HEARD_FOR

    @contextmanager
    def translated(self, doing: str, limit: float) -> Iterator[None]:
        """Give what a dedicated client raises the meaning that it has in `calling`."""
        from docker.errors import APIError  # not on the way of commands that need no engine

        try:
            yield
        except APIError as error:
            raise refused(doing, error) from error
        except transport_errors() as error:
            self.forget()
            raise self.unavailable(error, limit) from error

    def machine(self, client: APIClient) -> EngineMachine:
        """What is known of the engine's machine, asked once as long as the engine is there. Raises what docker-py raises."""
        if self._machine is None:
            told = client.info()
            self._machine = EngineMachine(
                cpus=float(told.get("NCPU") or 0) or float("inf"),
                makes_loopback=not self.is_podman and told.get("DefaultRuntime") in _RUNC,
            )
        return self._machine

    def unavailable(self, error: BaseException, limit: float) -> ExecutorUnavailableError:
        """The error for an engine that does not answer."""
        message = f"Docker at {self.address} does not answer: {_reason(error, limit)}"
        return ExecutorUnavailableError(
            message, hint="is it running, and may this user reach it (DOCKER_HOST)? See: jobrunner doctor"
        )

    def forget(self) -> None:
        """Drop what was agreed with the engine and every idle connection: it may come back as another version."""
        with self._lock:
            self._version = self._machine = self.described = self.runs_since = None
            self._heard_at = -_HEARD_FOR
            clients, self._idle = self._idle, deque(maxlen=_MOST_IDLE_CLIENTS)
        for client in clients:
            client.close()

    def lend(self, doing: str, *, timeout: float) -> APIClient:
        """A client for a call that lasts until `take_back`; one that is not sound is to be closed instead.

        Raises ExecutorUnavailableError.
        """
        self._see_the_socket(ask=not self._was_just_heard())
        with self._lock:
            client = self._idle.pop() if self._idle else None
            version = self._version
        if client is None:
            client = self._connect(doing, version, timeout)
        client.timeout = timeout  # type: ignore[assignment]  # requests takes fractions, too
        return client

    def take_back(self, client: APIClient) -> None:
        """Keep a client that was lent for the next call."""
        with self._lock:
            if client.api_version == self._version and len(self._idle) < _MOST_IDLE_CLIENTS:
                self._idle.append(client)
                return
        client.close()

    def _connect(self, doing: str, version: str | None, limit: float) -> APIClient:
        with self.translated(doing, limit):
            return self._client(version or self._agree(limit), limit)

    def _agree(self, limit: float) -> str:
        client = self._client(_OLDEST_VERSION, limit)
        try:
            told = client.version(api_version=False)
        finally:
            client.close()
        version = str(told["ApiVersion"])
        with self._lock:
            self._version = version
            self.is_podman = engine_kind(told) == "Podman"
        return version

    def _client(self, version: str, limit: float) -> APIClient:
        from docker.api.client import APIClient  # heavy, and only this executor needs it
        from docker.errors import DockerException
        from docker.tls import TLSConfig

        try:
            tls = TLSConfig(**self._tls) if self._tls else False
            options: dict[str, Any] = {"base_url": self.address, "timeout": limit}
            client = APIClient(version=version, tls=tls, **options)
        except DockerException as error:
            raise ConfigurationError(f"DOCKER_HOST={self.address} cannot be used: {error}") from error
        # Proxies and .netrc of this machine are not meant for the engine, and cost time on each call.
        client.trust_env = False
        if self.address.startswith("unix:"):
            from jobrunner_cli.engine.executors.docker_adapter import KeptConnections

            client.mount("http+docker://", KeptConnections(urlsplit(self.address).path, limit))
        return client


def _checked_address(host: str | None) -> str:
    """The address with the port that docker-py wants to see in an ssh URL."""
    address = (host or DEFAULT_ADDRESS).strip()
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"DOCKER_HOST={address} is not a URL: {error}") from error
    complete = parts.path if parts.scheme == "unix" else parts.hostname
    if parts.scheme not in {"unix", "tcp", "ssh", "http", "https"} or not complete or parts.password:
        raise ConfigurationError(
            f"DOCKER_HOST={parts.scheme}://… is not an engine's address",
            hint="use unix:///path, tcp://host:port or ssh://user@host:22",
        )
    if parts.scheme == "unix":
        # `unix://run/docker.sock` is taken for the absolute path, as docker-py takes it.
        return f"unix:///{(parts.netloc + parts.path).lstrip('/')}"
    if parts.scheme == "ssh" and port is None:
        return f"{address.rstrip('/')}:22"
    return address


def tls_files(environment: Mapping[str, str]) -> dict[str, Any] | None:
    """What DOCKER_TLS_VERIFY (anything but empty) and DOCKER_CERT_PATH ask for, as docker-py's TLSConfig takes it."""
    verify = bool(environment.get("DOCKER_TLS_VERIFY"))
    named = environment.get("DOCKER_CERT_PATH")
    if not (verify or named):
        return None
    files = Path(named) if named else Path.home() / ".docker"
    return {
        "client_cert": (str(files / "cert.pem"), str(files / "key.pem")),
        "ca_cert": str(files / "ca.pem"),
        "verify": verify,
    }


def transport_errors() -> tuple[type[BaseException], ...]:
    """What can come out of a broken or silent connection (requests, urllib3, sockets, ssh)."""
    from http.client import HTTPException

    from requests.exceptions import RequestException
    from urllib3.exceptions import HTTPError

    errors: list[type[BaseException]] = [RequestException, HTTPError, HTTPException, OSError, EOFError]
    # Nobody can have raised its error as long as it is not imported.
    if paramiko := sys.modules.get("paramiko"):
        errors.append(paramiko.SSHException)
    return tuple(errors)


def refused(doing: str, error: APIError) -> ExecutorError | ExecutorUnavailableError:
    """What an error answer means for most verbs: the engine's own trouble passes, a refusal stays."""
    message = f"Docker could not {doing}: {explanation(error)}"
    if (error.status_code or 500) >= 500 or is_passing(error):
        return ExecutorUnavailableError(message)
    return ExecutorError(message)


def is_passing(error: APIError) -> bool:
    """Whether an error answer speaks of a trouble that passes, and is no job's fault."""
    return error.status_code in _GATEWAY_STATUSES or _PASSING.search(explanation(error)) is not None


def is_absent(error: APIError) -> bool:
    """Whether an error answer says that there is no such container."""
    return error.status_code == 404


def is_conflict(error: APIError) -> bool:
    """Whether an error answer says that what is there is in the way: a name is taken, a container has ended meanwhile.

    Podman answers 500 to that, as to nearly everything.
    """
    return error.status_code == 409 or _CONFLICT.search(explanation(error)) is not None


def engine_kind(version: Mapping[str, Any]) -> str:
    """`Docker` or `Podman`, by the engine's answer to what its version is."""
    parts = version.get("Components") or [{}]
    return "Podman" if "podman" in str(parts[0].get("Name", "")).lower() else "Docker"


def explanation(error: APIError) -> str:
    """The engine's own words, on one line."""
    words: object = error.explanation or str(error)
    text = words.decode(errors="replace") if isinstance(words, bytes) else str(words)
    return " ".join(text.split())


def _reason(error: BaseException, limit: float) -> str:
    """The root of a failed call in a few words; wrapped errors of three libraries are no reading for people."""
    from http.client import IncompleteRead

    from requests.exceptions import Timeout
    from urllib3.exceptions import InvalidChunkLength, ProtocolError
    from urllib3.exceptions import TimeoutError as PoolTimeout

    seen: list[BaseException] = []
    pending: list[object] = [error]
    while pending:
        current = pending.pop(0)
        if isinstance(current, BaseException) and current not in seen:
            seen.append(current)
            pending += [*current.args, getattr(current, "reason", None), current.__cause__, current.__context__]
    for each in seen:
        if isinstance(each, OSError) and each.strerror:
            return each.strerror.lower()
    # Afterwards: urllib3 counts every failure to connect as a time-out.
    if any(isinstance(each, Timeout | PoolTimeout | TimeoutError) for each in seen):
        return f"no answer within {limit:g} s"
    torn = (IncompleteRead, InvalidChunkLength)
    if any(isinstance(each, torn) or (isinstance(each, ProtocolError) and "ended" in str(each)) for each in seen):
        return "it broke off in the middle"
    words = next((text for each in reversed(seen) if (text := str(each))), type(error).__name__)
    return shorten(words, 200, placeholder="…")
