"""A receiver of OpenTelemetry's protocol (OTLP over HTTP, protobuf) on this machine, which keeps the spans that it gets."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ReceivedSpan:
    """One span, in plain values."""

    name: str
    trace: str
    id: str
    parent: str
    #: nanoseconds of UNIX time
    start: int
    end: int
    attributes: dict[str, Any]
    resource: dict[str, Any]
    #: trace ids of its links
    links: list[str]
    failed: bool


class Receiver:
    """What came, and where to send it."""

    def __init__(self, address: str) -> None:
        #: as OTEL_EXPORTER_OTLP_ENDPOINT has it
        self.address = address
        self.spans: list[ReceivedSpan] = []
        #: the headers of each request, names in lower case
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self._lock = threading.Lock()

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        """Keep what a request has brought."""
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        request = ExportTraceServiceRequest.FromString(body)
        with self._lock:
            self.paths.append(path)
            self.headers.append(headers)
            for of_resource in request.resource_spans:
                resource = _plain(of_resource.resource.attributes)
                for of_scope in of_resource.scope_spans:
                    self.spans += [_received(span, resource) for span in of_scope.spans]

    def of_job(self, job_id: str) -> list[ReceivedSpan]:
        """The spans of a job's own trace, in the order of their beginnings."""
        found = [span for span in self.spans if span.attributes.get("job") == job_id and span.name != "LOOP_JOB"]
        return sorted(found, key=lambda span: (span.start, span.end))


def _received(span: Any, resource: dict[str, Any]) -> ReceivedSpan:
    return ReceivedSpan(
        name=span.name,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        attributes=_plain(span.attributes),
        resource=resource,
        links=[link.trace_id.hex() for link in span.links],
        failed=span.status.code == 2,
    )


def _plain(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@contextmanager
def receiving(*, answers: bool = True) -> Iterator[Receiver]:
    """A receiver while inside; unless it `answers`, it takes requests and says nothing until the end."""
    end = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if not answers:
                end.wait()
                return
            receiver.take(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """The tests' output is not a server's log."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = Receiver(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            end.set()
            server.shutdown()
            thread.join()
