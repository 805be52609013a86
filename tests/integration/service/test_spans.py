"""Traces of a service: what a receiver gets, and what the job-server is told of it."""

from __future__ import annotations

import signal

import pytest

from support.job_server import BACKEND, TOKEN, JobServer
from support.otlp_receiver import receiving
from support.serving import MakeService, ask, job_of, start_service

pytestmark = pytest.mark.slow


def test_job_is_one_trace_that_the_server_can_name_and_all_is_sent_before_the_service_leaves(
    server: JobServer, make_service: MakeService
):
    workdir = make_service()
    with receiving() as receiver:
        service = start_service(workdir, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.address)
        ask(server, workdir, "r1")
        job_id = job_of(server, "r1")
        server.until(lambda: server.statuses("r1") == {"one": "succeeded"}, "the end of the job")
        service.signal(signal.SIGTERM)
        assert service.ends() == 0
        spans = receiver.of_job(job_id)
    (root,) = [span for span in spans if span.name == "JOB"]
    assert {span.trace for span in spans} == {root.trace}
    assert root.trace in server.jobs["r1"][job_id]["trace_context"]["traceparent"]
    assert {"EXECUTING", "FINALIZING"} <= {span.name for span in spans}
    assert (root.resource["service.name"], root.resource["service.namespace"]) == ("jobrunner", BACKEND)
    assert (root.attributes["user"], root.attributes["project"]) == ("alice", "proj-one")
    assert TOKEN not in str(receiver.spans)


def test_receiver_that_is_away_holds_up_nothing(server: JobServer, make_service: MakeService):
    workdir = make_service()
    service = start_service(workdir, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    ask(server, workdir, "r1")
    server.until(lambda: server.statuses("r1") == {"one": "succeeded"}, "the end of the job")
    service.signal(signal.SIGTERM)
    assert service.ends() == 0
