"""A job-server for tests: a real HTTP server with a state of its own, which behaves as the wire contract says, oddities included.

Its next answers, or all that a condition picks, can be made to fail the ways that servers and networks do.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

TOKEN = "s3cret/token+of=tests"
BACKEND = "test"
ACTIVE = {"pending", "running"}
ENDED = {"failed", "succeeded"}
PAGE = 100
HTML = b"<!doctype html><html><head><title>Server Error (500)</title></head><body>x</body></html>"


@dataclass(frozen=True)
class Seen:
    """A request that the server got."""

    method: str
    #: path and query
    target: str
    headers: Mapping[str, str]
    body: Any

    @property
    def requests(self) -> list[str]:
        """The job requests that a POST tells of, in its order."""
        return list(dict.fromkeys(row["job_request_id"] for row in self.body))


@dataclass
class Fault:
    """What happens in place of the right answer.

    `how` is a status (with a page of HTML), `json:STATUS`, `html` (a page with 200), `empty` (nothing, with 200), `reset`, `cut` (the answer ends in the
    middle), `drip` (it never ends), `crawl` (its first line never ends), `endless` (it has no end), `hold` (none until `release` is set), the URL of a
    redirection, or `late` (the POST is applied, then answered with 500).
    """

    how: int | str
    method: str
    #: which requests it strikes; all of them by default
    picks: Callable[[Seen], bool] = lambda seen: True
    #: how often; None is every time
    times: int | None = 1
    struck: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)


class JobServer:
    """Serves `/api/v2/`; everything is changed and read with `guard` held."""

    def __init__(self, context: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.guard = threading.RLock()
        self.changed = threading.Condition(self.guard)
        #: identifier -> entry of the list, oldest first
        self.requests: dict[str, dict[str, Any]] = {}
        #: request -> job -> row
        self.jobs: dict[str, dict[str, dict[str, Any]]] = {}
        self.tokens = {TOKEN: BACKEND}
        self.flags: Any = None
        #: (job, status) of every mail to a user
        self.mails: list[tuple[str, str]] = []
        self.seen: list[Seen] = []
        self.connections = 0
        self.faults: list[Fault] = []
        self._all_faults: list[Fault] = []
        #: what is wrong with a row, by a test's own rule; None is nothing
        self.validate: Callable[[dict[str, Any]], dict[str, list[str]] | None] = lambda row: None
        self._context = context
        self._open: set[socket.socket] = set()
        self._listen(port)
        self.port = int(self._http.server_address[1])
        scheme = "http" if context is None else "https"
        self.endpoint = f"{scheme}://localhost:{self.port}/api/v2/"

    def _listen(self, port: int) -> None:
        self._http = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self._http.daemon_threads = True
        if self._context is not None:
            self._http.socket = self._context.wrap_socket(
                self._http.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Answer no more, and let go whoever is held."""
        for fault in self._all_faults:
            fault.release.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def go_down(self) -> None:
        """Break every connection and refuse new ones; what it knows stays."""
        self.stop()
        with self.guard:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def come_up(self) -> None:
        """Answer again, at the same address."""
        self._listen(self.port)

    def is_open(self, connection: socket.socket, *, still: bool) -> None:
        """Note a connection that begins, or is over."""
        with self.guard:
            self.connections += still
            (self._open.add if still else self._open.discard)(connection)

    # What a test does.

    def add(self, identifier: str, repo: str, sha: str, actions: Sequence[str], /, **fields: Any) -> dict[str, Any]:
        """A new job request, newer than all before."""
        with self.guard:
            workspace = {"name": "ws-one", "repo": repo, "branch": "main", "created_by": "bob"}
            entry: dict[str, Any] = {
                "identifier": identifier,
                "backend": BACKEND,
                "sha": sha,
                "requested_actions": list(actions),
                "cancelled_actions": [],
                "force_run_dependencies": False,
                "workspace": workspace | fields.pop("workspace", {}),
                "database_name": "default",
                "codelists_ok": True,
                "created_by": "alice",
                "created_at": "2026-11-23T17:02:41.152366Z",
                "project": "proj-one",
                "orgs": ["datalab"],
            }
            self.requests[identifier] = entry | fields
            return self.requests[identifier]

    def fail(
        self, how: int | str, method: str, *, picks: Callable[[Seen], bool] = lambda seen: True, times: int | None = 1
    ) -> Fault:
        """Let the next requests go wrong that are picked."""
        with self.guard:
            self.faults.append(Fault(how=how, method=method, picks=picks, times=times))
            self._all_faults.append(self.faults[-1])
            return self.faults[-1]

    def mend(self) -> None:
        """Let nothing go wrong any more."""
        with self.guard:
            self.faults.clear()

    def until(self, wanted: Callable[[], Any], doing: str, seconds: float = 30.0) -> Any:
        """Wait until something is true that a request brings about, and return it."""
        found = None

        def look() -> Any:
            nonlocal found
            found = wanted()
            return found

        with self.changed:
            if not self.changed.wait_for(look, seconds):
                raise AssertionError(f"waited {seconds:g} s in vain for {doing}; saw {self.seen[-5:]}")
        return found

    def statuses(self, request_id: str) -> dict[str, str]:
        """Action -> status, as the server has it."""
        with self.guard:
            return {row["action"]: row["status"] for row in self.jobs.get(request_id, {}).values()}

    def posts(self) -> list[Seen]:
        with self.guard:
            return [seen for seen in self.seen if seen.method == "POST"]

    def gets(self) -> list[Seen]:
        with self.guard:
            return [seen for seen in self.seen if seen.method == "GET"]

    # What the server does.

    def answer(self, seen: Seen) -> tuple[int, Any]:
        """The right answer to a request: status and JSON."""
        token = seen.headers.get("authorization")
        backend = self.tokens.get(token or "")
        path = urlsplit(seen.target).path
        if token is not None and backend is None:
            return 403, {"detail": "Authentication credentials were not provided."}
        if (seen.method, path) == ("GET", "/api/v2/job-requests/"):
            return self._list(seen, backend)
        if (seen.method, path) == ("POST", "/api/v2/jobs/"):
            if backend is None:
                return 403, {"detail": "Authentication credentials were not provided."}
            return self._update(seen)
        return 404, {"detail": "Not found."}

    def _list(self, seen: Seen, backend: str | None) -> tuple[int, Any]:
        query = {name: values[-1] for name, values in parse_qs(urlsplit(seen.target).query).items()}
        offset, limit = int(query.get("offset", 0)), int(query.get("limit", PAGE))
        active = [
            entry
            for identifier, entry in reversed(self.requests.items())
            if backend in {None, entry.get("backend", backend)}
            and (not self.jobs.get(identifier) or any(r["status"] in ACTIVE for r in self.jobs[identifier].values()))
        ]
        self._keep_flags(seen)
        page = active[offset : offset + limit]
        following = None
        if offset + limit < len(active):
            following = f"{self.endpoint}job-requests/?{urlencode({**query, 'limit': limit, 'offset': offset + limit})}"
        return 200, {"count": len(active), "next": following, "previous": None, "results": page}

    def _update(self, seen: Seen) -> tuple[int, Any]:
        if not isinstance(seen.body, list):
            return 400, {"non_field_errors": ["Expected a list of items."]}
        wrong = [_wrong(row) | (self.validate(row) or {}) for row in seen.body]
        if any(wrong):
            return 400, wrong
        for request_id, rows in itertools.groupby(seen.body, key=lambda row: row["job_request_id"]):
            if request_id in self.requests:
                self._replace(request_id, list(rows))
        self._keep_flags(seen)
        return 200, {"status": "success"}

    def _replace(self, request_id: str, rows: Sequence[dict[str, Any]]) -> None:
        before = self.jobs.get(request_id, {})
        self.jobs[request_id] = {row["identifier"]: row for row in rows}
        for row in rows:
            was = before.get(row["identifier"], {}).get("status")
            if row["status"] in ENDED and row["status"] != was:
                self.mails.append((row["identifier"], row["status"]))

    def _keep_flags(self, seen: Seen) -> None:
        if seen.headers.get("flags"):
            self.flags = json.loads(seen.headers["flags"])


def _wrong(row: Any) -> dict[str, list[str]]:
    """What the server says of a row that is not as it should be."""
    if not isinstance(row, dict):
        return {"non_field_errors": ["Invalid data. Expected a dictionary."]}
    wrong: dict[str, list[str]] = {}
    for name in ("identifier", "job_request_id", "action", "status", "status_code", "status_message"):
        value = row.get(name)
        if not isinstance(value, str):
            wrong[name] = ["This field may not be null." if name in row else "This field is required."]
        elif "\0" in value:
            wrong[name] = ["Null characters are not allowed."]
    if row.get("status") not in ACTIVE | ENDED:
        wrong.setdefault("status", [f'"{row.get("status")}" is not a valid choice.'])
    for name in ("created_at", "updated_at", "started_at", "completed_at"):
        try:
            if row[name] is not None or name == "created_at":
                assert datetime.fromisoformat(row[name]).utcoffset() is not None
        except (KeyError, ValueError, TypeError, AssertionError):
            wrong[name] = ["Datetime has wrong format."]
    if not isinstance(row.get("requires_db"), bool):
        wrong["requires_db"] = ["Must be a valid boolean."]
    for name in ("trace_context", "metrics"):
        if not isinstance(row.get(name), dict):
            wrong[name] = ["Expected a dictionary of items."]
    return wrong


@contextlib.contextmanager
def serving(context: ssl.SSLContext | None = None, port: int = 0) -> Iterator[JobServer]:
    """A server that answers while inside."""
    server = JobServer(context, port)
    try:
        yield server
    finally:
        server.stop()


def _handler(server: JobServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            server.is_open(self.connection, still=True)

        def finish(self) -> None:
            server.is_open(self.connection, still=False)
            with contextlib.suppress(OSError):
                super().finish()

        def do_GET(self) -> None:
            self._take(None)

        def do_POST(self) -> None:
            self._take(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def log_message(self, *_: object) -> None:
            """The tests' output is not a server's log."""

        def _take(self, body: Any) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            seen = Seen(method=self.command, target=self.path, headers=headers, body=body)
            with server.guard:
                fault = self._fault(seen)
            if fault is not None and fault.how == "hold":
                # It is counted as seen, but has not yet come to anything.
                fault.struck.set()
                fault.release.wait(60)
            with server.changed:
                server.seen.append(seen)
                status, content = self._answer(seen, fault)
                server.changed.notify_all()
            if fault is not None:
                fault.struck.set()
            with contextlib.suppress(OSError):
                self._send(status, content, fault)

        def _fault(self, seen: Seen) -> Fault | None:
            for fault in server.faults:
                if fault.method == seen.method and fault.picks(seen):
                    if fault.times is not None:
                        fault.times -= 1
                        if fault.times <= 0:
                            server.faults.remove(fault)
                    return fault
            return None

        def _answer(self, seen: Seen, fault: Fault | None) -> tuple[int, bytes]:
            if not urlsplit(self.path).path.endswith("/"):
                return 301, b""
            if fault is not None and isinstance(fault.how, int):
                return fault.how, HTML
            if fault is not None and fault.how in {"html", "empty"}:
                return 200, HTML if fault.how == "html" else b""
            if fault is not None and str(fault.how).startswith("json:"):
                return int(str(fault.how).removeprefix("json:")), b'{"detail": "No."}'
            if fault is not None and fault.how not in {"late", "hold", "cut", "drip", "crawl"}:
                return 302, b""
            status, content = server.answer(seen)
            if fault is not None and fault.how == "late":
                return 500, HTML
            return status, json.dumps(content).encode()

        def _send(self, status: int, content: bytes, fault: Fault | None) -> None:
            how = None if fault is None else fault.how
            if how == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()
                return
            if how == "crawl" and fault is not None:
                self.close_connection = True
                while not fault.release.wait(0.05):
                    self.wfile.write(b"H")
                return
            self.send_response(200 if how == "endless" else status)
            if status == 301:
                path, _, query = self.path.partition("?")
                self.send_header("Location", f"{path}/?{query}")
            elif status == 302 and how != "endless":
                self.send_header("Location", str(how))
            self.send_header("Content-Type", "text/html" if content.startswith(b"<") else "application/json")
            if how == "endless":
                self.end_headers()
                self.close_connection = True
                while True:
                    self.wfile.write(b'["' + b"x" * 65536)
            # As the real one's web pages do.
            self.send_header("Set-Cookie", "sessionid=1; Path=/")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if how in {"cut", "drip"}:
                self.wfile.write(content[: len(content) // 2])
                self.close_connection = True
                if how == "drip" and fault is not None:
                    while not fault.release.wait(0.05):
                        self.wfile.write(b" ")
                return
            self.wfile.write(content)

    return Handler
