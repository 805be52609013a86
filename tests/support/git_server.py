"""Real git repositories, and a real HTTPS server for them: git's own http-backend behind Python's HTTP server.

The server can demand a token, and its next answers can be made to fail the ways that networks do.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import os
import socket
import ssl
import struct
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from support.repositories import StudyRepository
from support.surroundings import GIT


class SourceRepository(StudyRepository):
    """A repository of which no two commits are the same."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        # Commits of one second that say the same would be one commit.
        self._numbers = itertools.count(1)

    def change(self, files: Mapping[str, str | bytes] | None = None) -> str:
        """Write these files, commit everything and return the commit's SHA."""
        self.write(files or {})
        return self.commit(f"Change {next(self._numbers)}")


@dataclass(frozen=True)
class Seen:
    """A request that the server got."""

    method: str
    path: str
    authorization: str | None


Change = Callable[[bytes], bytes]


def _unchanged(content: bytes) -> bytes:
    return content


@dataclass
class Fault:
    """What happens to the next request instead of the right answer; `path` restricts it to paths that end so.

    `how` is a status, `reset` (the connection is reset), `cut` (the answer ends in the middle), `hold` (the
    answer stops in the middle until `release` is set), `hang` (there is no answer at all until then), `lie` (see `ask`
    and `tell`), a page of HTML, or the URL of a redirection.
    """

    how: int | str
    path: str = ""
    #: for a redirection: its status
    status: int = 302
    #: for a lie: what is made of the question before it is answered, and of the answer before it is sent
    ask: Change = _unchanged
    tell: Change = _unchanged
    #: set once the fault has struck
    struck: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def set_at_the_end(*events: threading.Event) -> Iterator[None]:
    """Set these when the block ends, however it ends, so that a test that fails leaves nothing waiting."""
    try:
        yield
    finally:
        for event in events:
            event.set()


class GitServer:
    """Serves the repositories below `root` over HTTPS at `https://{host}/`."""

    def __init__(self, root: Path, certificate: Path, key: Path) -> None:
        self.root = root
        self.certificate = certificate
        #: `user:password` that every request must bring; None asks for nothing
        self.demand: str | None = None
        #: whether it can leave files out of what it sends
        self.filters = True
        self.seen: list[Seen] = []
        #: those that have not struck yet, and all there ever were
        self.faults: deque[Fault] = deque()
        self._all_faults: list[Fault] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True, do_handshake_on_connect=False)
        self.host = f"localhost:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def url(self, name: str) -> str:
        """The URL of a repository."""
        return f"https://{self.host}/{name}"

    def publish(self, source: SourceRepository, name: str) -> str:
        """Serve all refs of this repository as they are now, under the name; returns its URL."""
        bare = self.root / name
        if not bare.exists():
            source.git("init", "--quiet", "--bare", "--initial-branch=main", str(bare))
        source.git("push", "--quiet", "--force", "--prune", str(bare), "+refs/*:refs/*")
        return self.url(name)

    def fail_next(self, how: int | str, path: str = "", times: int = 1) -> Fault:
        """Let the next requests whose path ends so go wrong; returns the last fault."""
        for _ in range(times):
            self.faults.append(Fault(how=how, path=path))
        self._all_faults.extend(self.faults)
        return self.faults[-1]

    def lie_next(self, path: str = "", times: int = 1, *, ask: Change = _unchanged, tell: Change = _unchanged) -> None:
        """Let the next answers to requests whose path ends so be to another question, or be changed."""
        for _ in range(times):
            self.faults.append(Fault(how="lie", path=path, ask=ask, tell=tell))

    def redirect_next(self, url: str, path: str = "", status: int = 302) -> None:
        """Let the next request whose path ends so be sent elsewhere: to this URL with the path after it."""
        self.faults.append(Fault(how=url, path=path, status=status))

    def start(self) -> None:
        """Answer requests from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more, and let go whoever is held."""
        for fault in self._all_faults:
            fault.release.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@contextlib.contextmanager
def git_server(directory: Path) -> Iterator[GitServer]:
    """A running server with a certificate of its own, in this directory."""
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    if not certificate.exists():
        directory.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
             "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
             "-keyout", str(key), "-out", str(certificate)],
            check=True, capture_output=True,
        )  # fmt: skip
    root = directory / "served"
    root.mkdir(exist_ok=True)
    server = GitServer(root, certificate, key)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _handler(server: GitServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self._body())

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            return body

        def _answer(self, body: bytes) -> None:
            path, _, query = self.path.partition("?")
            authorization = self.headers.get("Authorization")
            server.seen.append(Seen(method=self.command, path=self.path, authorization=authorization))
            fault = self._fault(path)
            if fault is not None and fault.how != "hold":
                fault.struck.set()
            if fault is not None and fault.how == "reset":
                # Closing with a linger time of zero sends a reset in place of an orderly end.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                os.close(self.connection.detach())
                return
            if fault is not None and isinstance(fault.how, int):
                self.send_error(fault.how)
                return
            if fault is not None and fault.how == "hang":
                fault.release.wait(60)
                return
            if fault is not None and fault.how.startswith("<"):
                self._send(200, "text/html; charset=utf-8", fault.how.encode())
                return
            if fault is not None and fault.how.startswith(("https://", "http://")):
                self.send_response(fault.status)
                self.send_header("Location", fault.how + self.path)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if server.demand is not None and not _matches(authorization, server.demand):
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self._serve(path, query, body, fault)

        def _send(self, status: int, kind: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _fault(self, path: str) -> Fault | None:
            for fault in server.faults:
                if path.endswith(fault.path):
                    server.faults.remove(fault)
                    return fault
            return None

        def _serve(self, path: str, query: str, body: bytes, fault: Fault | None) -> None:
            environment = {
                "PATH": os.environ["PATH"],
                **GIT,
                "GIT_PROJECT_ROOT": str(server.root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_CONFIG_COUNT": "2",
                "GIT_CONFIG_KEY_0": "uploadpack.allowAnySHA1InWant",
                "GIT_CONFIG_VALUE_0": "true",
                "GIT_CONFIG_KEY_1": "uploadpack.allowFilter",
                "GIT_CONFIG_VALUE_1": "true" if server.filters else "false",
                "REQUEST_METHOD": self.command,
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "REMOTE_ADDR": "127.0.0.1",
            }
            if fault is not None:
                body = fault.ask(body)
            environment["CONTENT_LENGTH"] = str(len(body))
            answer = subprocess.run(
                ["git", "http-backend"], input=body, env=environment, capture_output=True, check=False
            ).stdout
            head, _, content = answer.partition(b"\r\n\r\n")
            headers = [line.decode().split(": ", 1) for line in head.split(b"\r\n")]
            if fault is not None:
                content = fault.tell(content)
            status = next((value for name, value in headers if name == "Status"), "200 OK")
            self.send_response(int(status.split()[0]))
            for name, value in headers:
                if name != "Status":
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if fault is None or fault.how == "lie":
                self.wfile.write(content)
                return
            half = len(content) // 2
            self.wfile.write(content[:half])
            self.wfile.flush()
            if fault.how == "hold":
                fault.struck.set()
                fault.release.wait(60)

    return Handler


def _matches(authorization: str | None, demand: str) -> bool:
    return authorization == "Basic " + base64.b64encode(demand.encode()).decode()
