"""Traces with OpenTelemetry: a trace for each job, and spans of the loop (section 9).

What the loop tells is put into a queue. One thread makes spans of it, another one, of the library, sends them; what
comes faster than they can take it is dropped.
"""

from __future__ import annotations

import logging
import secrets
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from jobrunner_cli.engine.states import State, state_of
from jobrunner_cli.engine.tracing import DEFAULT_ENDPOINT, ENDPOINTS, Tracing, sends_spans, shows_spans

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.util.types import AttributeValue

    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.states import StatusCode
    from jobrunner_cli.engine.store.models import Job
    from jobrunner_cli.engine.work import Outcome

log = logging.getLogger(__name__)

SERVICE = "jobrunner"
#: Seconds between two ticks, and that the sending of the last spans may take at the end.
_TICK_INTERVAL = 30.0
_FAREWELL = 3.0
#: Seconds for which the libraries' log does not repeat itself.
_SILENCE = 300.0
_NS = 10**9
_KNOWN_REQUESTS = 256
#: Tellings that may wait to become spans.
_MOST_WAITING = 10_000
#: A look may move thousands of jobs, of which each tells the same by its own trace.
_MOST_OF_A_LOOK = 100
_PROPAGATOR = TraceContextTextMapPropagator()


class _Ids(RandomIdGenerator):
    """Random ids, but for a span whose ids were fixed when its trace began."""

    def __init__(self) -> None:
        self._fixed = threading.local()

    def fix(self, context: trace.SpanContext | None) -> None:
        """The ids of the next span of this thread; None: random again."""
        self._fixed.context = context

    def generate_trace_id(self) -> int:
        context: trace.SpanContext | None = getattr(self._fixed, "context", None)
        return super().generate_trace_id() if context is None else context.trace_id

    def generate_span_id(self) -> int:
        context: trace.SpanContext | None = getattr(self._fixed, "context", None)
        return super().generate_span_id() if context is None else context.span_id


class Spans(Tracing):
    """Sends spans to where the variables say."""

    def __init__(
        self,
        settings: Settings,
        original: Callable[[str], Mapping[str, Any] | None],
        variables: Mapping[str, str],
    ) -> None:
        """`original` finds a job request as it was received, by its id. Raises what the libraries raise."""
        self._backend = settings.backend
        self._original = lru_cache(maxsize=_KNOWN_REQUESTS)(original)
        self._failed = False
        self._told: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="tracing", daemon=True)
        self._ticked_at = time.time_ns()
        self._ids = _Ids()
        _route_logs(settings.trace_log_level)
        resource = Resource.create(
            {"service.name": SERVICE, "service.namespace": settings.backend, "service.version": settings.version_text}
        )
        self._provider = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        for exporter in _exporters(variables):
            self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("jobrunner_cli", settings.version_text)
        self._thread.start()

    def new_context(self) -> Mapping[str, str] | None:
        """A W3C trace context whose span is that of the whole job, which is sent at its end."""
        return {"traceparent": f"00-{_nonzero(16)}-{_nonzero(8)}-01"}

    def moved(self, before: Job, path: Sequence[StatusCode], after: Job, outcome: Outcome | None = None) -> None:
        """A span for each state that was left and, at its end, the one of the job."""
        self._put(lambda: self._tell_moves(before, path, after, outcome))

    def looked(self, began_at: int, changed: Sequence[Job]) -> None:
        """A span for the look, with one for each job that it has moved, which has the job's trace as a link."""
        if changed:
            ended_at = time.time_ns()
            self._put(lambda: self._tell_look(began_at, ended_at, changed))

    def tick(self, jobs: Mapping[str, Job]) -> None:
        """Now and then a span for the time since the last one, with how many jobs there are in each state."""
        since, now = self._ticked_at, time.time_ns()
        if now - since >= _TICK_INTERVAL * _NS:
            self._ticked_at = now
            states = Counter(job.state.value for job in jobs.values())
            self._put(lambda: self._tell_tick(since, now, states))

    def close(self) -> None:
        """Send what is still to be sent, for some seconds at most."""
        self._told.put(None)
        self._thread.join(_FAREWELL)

    def _put(self, tell: Callable[[], None]) -> None:
        if self._told.qsize() < _MOST_WAITING:
            self._told.put(tell)

    def _work(self) -> None:
        while (tell := self._told.get()) is not None:
            try:
                tell()
            except Exception:
                if not self._failed:
                    log.exception("A span could not be made; this is told once")
                self._failed = True
        self._provider.shutdown()

    def _tell_moves(self, before: Job, path: Sequence[StatusCode], after: Job, outcome: Outcome | None) -> None:
        if not path or not after.trace_context:
            return
        context = _PROPAGATOR.extract(dict(after.trace_context))
        now = after.status_code_updated_at
        self._send(before.status_code.name, context, before.status_code_updated_at, now, self._attributes(before))
        for code in path[:-1]:
            passed = replace(after, status_code=code, state=state_of(code))
            self._send(code.name, context, now, now, self._attributes(passed, outcome))
        if after.state in {State.SUCCEEDED, State.FAILED}:
            self._tell_job(after, context, self._attributes(after, outcome))

    def _tell_job(self, job: Job, context: Context, attributes: Mapping[str, AttributeValue]) -> None:
        self._ids.fix(trace.get_current_span(context).get_span_context())
        try:
            span = self._tracer.start_span("JOB", _nothing(), start_time=job.created_at * _NS, attributes=attributes)
        finally:
            self._ids.fix(None)
        if job.state is State.FAILED:
            span.set_status(trace.StatusCode.ERROR, job.status_message or "")
        # Both are of the same clock, but the one in whole seconds may be the later.
        span.end(max(job.status_code_updated_at, job.created_at * _NS))

    def _tell_look(self, began_at: int, ended_at: int, changed: Sequence[Job]) -> None:
        now = max(ended_at, began_at)
        attributes: dict[str, AttributeValue] = {"backend": self._backend, "jobs": len(changed)}
        look = self._tracer.start_span("LOOP", _nothing(), start_time=began_at, attributes=attributes)
        context = trace.set_span_in_context(look, _nothing())
        for job in changed[:_MOST_OF_A_LOOK]:
            of_job = trace.get_current_span(_PROPAGATOR.extract(dict(job.trace_context or {}))).get_span_context()
            links = [trace.Link(of_job)] if of_job.is_valid else []
            span = self._tracer.start_span(
                "LOOP_JOB", context, start_time=began_at, attributes=self._attributes(job), links=links
            )
            span.end(now)
        look.end(now)

    def _tell_tick(self, since: int, now: int, states: Counter[str]) -> None:
        counts = {state.value: states[state.value] for state in (State.PENDING, State.RUNNING)}
        self._send("TICK", _nothing(), since, now, {"backend": self._backend, **counts})

    def _send(
        self, name: str, context: Context, start: int, end: int, attributes: Mapping[str, AttributeValue]
    ) -> None:
        span = self._tracer.start_span(name, context, start_time=start, attributes=attributes)
        span.end(max(start, end))

    def _attributes(self, job: Job, outcome: Outcome | None = None) -> dict[str, AttributeValue]:
        """What is told of a job; times are nanoseconds of UNIX time, and what is not known is left out."""
        request = self._original(job.job_request_id) or {}
        orgs = request.get("orgs")
        values: dict[str, AttributeValue | None] = {
            "backend": self._backend,
            "job": job.id,
            "job_request": job.job_request_id,
            "workspace": job.workspace,
            "action": job.action,
            "commit": job.commit,
            "run_command": job.run_command,
            "user": _text(request.get("created_by")),
            "project": _text(request.get("project")),
            "orgs": ",".join(map(str, orgs)) if isinstance(orgs, list) else _text(orgs),
            "state": job.state.value,
            "status_code": job.status_code.value,
            "message": job.status_message,
            "created_at": job.created_at * _NS,
            "started_at": None if job.started_at is None else job.started_at * _NS,
            "status_code_updated_at": job.status_code_updated_at,
            "requires_db": job.requires_db,
            "reusable_action": job.action_repo_url is not None,
        }
        if outcome is not None:
            values |= {
                "exit_code": outcome.exit_code,
                "image_id": outcome.image_id,
                "outputs": len(outcome.outputs),
                "unmatched_patterns": len(outcome.unmatched_patterns),
                "unmatched_outputs": len(outcome.unmatched_outputs),
            }
        return {name: value for name, value in values.items() if value is not None}


def _exporters(variables: Mapping[str, str]) -> list[SpanExporter]:
    found: list[SpanExporter] = []
    if sends_spans(variables):
        named = any(variables.get(name, "").strip() for name in ENDPOINTS)
        found.append(OTLPSpanExporter() if named else OTLPSpanExporter(endpoint=DEFAULT_ENDPOINT))
    if shows_spans(variables):
        # On stdout are results.
        found.append(ConsoleSpanExporter(out=sys.stderr, formatter=lambda span: f"{span.to_json(indent=None)}\n"))
    return found


class _Forward(logging.Handler):
    """Passes what the libraries say on to the service's own log, the same not too often: a receiver may be away for days."""

    def __init__(self) -> None:
        super().__init__()
        self._told_at: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        now = time.monotonic()
        if now - self._told_at.get(str(record.msg), -_SILENCE) >= _SILENCE:
            self._told_at[str(record.msg)] = now
            log.handle(record)


def _route_logs(level: str) -> None:
    library = logging.getLogger("opentelemetry")
    library.setLevel(level)
    library.propagate = False
    if not any(isinstance(handler, _Forward) for handler in library.handlers):
        library.addHandler(_Forward())


def _nothing() -> Context:
    """A context without a span, whatever the thread is in."""
    return trace.set_span_in_context(trace.INVALID_SPAN)


def _nonzero(size: int) -> str:
    """So many random bytes in hexadecimal digits; all zeros would be no id."""
    while not any(value := secrets.token_bytes(size)):
        pass
    return value.hex()


def _text(value: object) -> str | None:
    return None if value is None else str(value)
