"""The transport against a real server: what it sends where, and what it says of answers that are none."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobrunner_cli.engine.errors import ConfigurationError
from jobrunner_cli.engine.masking import MASK, Masker
from jobrunner_cli.engine.service.jobserver import JobServer as Client
from jobrunner_cli.engine.service.jobserver import JobServerError, JobsRefusedError, Limits
from support.certificates import certified
from support.job_server import BACKEND, TOKEN, JobServer, serving

pytestmark = pytest.mark.slow

FLAGS = '{"paused":{"v":"true","ts":"2026-11-23T17:02:41.152366Z"}}'
LIMITS = Limits(connect=2.0, silence=0.3, call=0.5, most_bytes=20 * 2**20, most_listed_bytes=40 * 2**20)
ROW: dict[str, Any] = {
    "identifier": "job1",
    "job_request_id": "req",
    "action": "describe",
    "run_command": None,
    "status": "succeeded",
    "status_code": "succeeded",
    "status_message": "",
    "created_at": "2026-11-23T17:02:41Z",
    "updated_at": None,
    "started_at": None,
    "completed_at": None,
    "trace_context": {},
    "metrics": {},
    "requires_db": False,
}


def client_of(server: JobServer, token: str = TOKEN, limits: Limits = LIMITS, endpoint: str | None = None) -> Client:
    mask = Masker([token]).mask
    return Client(endpoint=endpoint or server.endpoint, token=token, backend=BACKEND, mask=mask, limits=limits)


@pytest.fixture
def client(server: JobServer) -> Iterator[Client]:
    made = client_of(server)
    yield made
    made.close()


def listed(client: Client) -> list[Any]:
    return [entry for page in client.job_requests(FLAGS) for entry in page]


def post(client: Client, *rows: dict[str, Any]) -> None:
    client.post_jobs(json.dumps(rows or [ROW]).encode(), FLAGS)


def failure(client: Client, method: str) -> JobServerError:
    call: Callable[[Client], object] = listed if method == "GET" else post
    with pytest.raises(JobServerError) as caught:
        call(client)
    error = caught.value
    assert TOKEN not in f"{error.message} {error.hint} {error!r}"
    assert "\n" not in error.message
    assert len(error.message) < 700
    return error


def test_every_request_has_the_bare_token_and_the_flags(server: JobServer, client: Client):
    listed(client)
    post(client)
    assert [seen.method for seen in server.seen] == ["GET", "POST"]
    for seen in server.seen:
        assert seen.headers["authorization"] == TOKEN
        assert seen.headers["flags"] == FLAGS
    assert server.seen[0].target == f"/api/v2/job-requests/?backend={BACKEND}"
    assert server.seen[1].target == "/api/v2/jobs/"
    assert server.flags == json.loads(FLAGS)
    assert server.connections == 1


def test_every_page_is_read(server: JobServer, client: Client):
    for number in range(250):
        server.add(f"r{number}", "repo", "a" * 40, ["x"])
    assert [entry["identifier"] for entry in listed(client)] == [f"r{number}" for number in reversed(range(250))]
    assert len(server.seen) == 3


def test_a_listing_of_ten_megabytes_is_read(server: JobServer, client: Client):
    server.add("big", "repo", "a" * 40, ["x"], padding="x" * 10 * 2**20)
    assert len(listed(client)) == 1


def test_a_body_of_ten_megabytes_is_sent(server: JobServer, client: Client):
    post(client, ROW | {"status_message": "x" * 10 * 2**20})
    assert len(server.posts()) == 1


@pytest.mark.parametrize(
    "link",
    [
        "https://localhost:1/x/?offset=1",
        "http://elsewhere.example/api/v2/job-requests/?offset=1",
        "//elsewhere.example/?offset=1",
        "?offset=1",
    ],
)
def test_next_page_is_asked_for_at_the_configured_address(server: JobServer, client: Client, link: str):
    """A server behind a proxy may take itself for another host, scheme, port or path, and the oldest come last."""
    answers = iter([(200, {"results": [1], "next": link}), (200, {"results": [2]})])
    server.answer = lambda seen: next(answers)  # type: ignore[method-assign]
    assert listed(client) == [1, 2]
    assert server.seen[1].target == f"/api/v2/job-requests/?offset=1&backend={BACKEND}"


def test_another_host_that_is_named_is_told_once(server: JobServer, client: Client, caplog: pytest.LogCaptureFixture):
    server.answer = lambda seen: (200, {"results": [], "next": None if "x=" in seen.target else "//else.example/?x=1"})  # type: ignore[method-assign]
    with caplog.at_level(logging.WARNING):
        listed(client)
        listed(client)
    assert [record.getMessage() for record in caplog.records] == [
        f"The job-server {server.endpoint} names another host, else.example: asked here instead"
    ]


def test_pages_without_end_are_an_error(server: JobServer, client: Client):
    server.answer = lambda seen: (200, {"results": [], "next": "?offset=1"})  # type: ignore[method-assign]
    assert "without end" in failure(client, "GET").message


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("how", "told"),
    [
        (502, "answers 502: an HTML page (Server Error (500))"),
        ("html", "an HTML page (Server Error (500)) instead of"),
        ("empty", "nothing instead of JSON"),
        ("json:403", "answers 403: No."),
        ("json:404", "answers 404: No."),
        ("json:429", "answers 429: No."),
        ("cut", "cannot be reached: IncompleteRead"),
        ("reset", "cannot be reached: "),
        ("hold", "has sent nothing for 0.3 s"),
        ("drip", "has not finished its answer within 0.5 s"),
        ("crawl", "has not finished its answer within 0.5 s"),
        ("endless", "answers with more than"),
        (
            "http://elsewhere.example/login?next=1",
            "answers 302 and points to http://elsewhere.example/login: not followed",
        ),
    ],
)
def test_trouble_is_told_in_one_line_and_passes(server: JobServer, client: Client, method: str, how: str, told: str):
    fault = server.fail(how, method)
    assert told in failure(client, method).message
    fault.release.set()
    listed(client)
    post(client)


@pytest.mark.parametrize(("how", "name"), [("json:403", "JOB_SERVER_TOKEN"), ("json:404", "JOB_SERVER_ENDPOINT")])
def test_hint_names_the_setting_that_may_be_wrong(server: JobServer, client: Client, how: str, name: str):
    server.fail(how, "POST")
    assert name in (failure(client, "POST").hint or "")


def test_redirect_is_not_followed_even_to_the_same_host(server: JobServer):
    with serving() as other:
        server.fail(f"{other.endpoint}jobs/", "POST")
        client = client_of(server)
        failure(client, "POST")
        client.close()
        assert other.seen == []


def test_error_does_not_repeat_a_token_that_the_server_repeats(server: JobServer, client: Client):
    server.answer = lambda seen: (403, {"detail": "x" * 280 + f" bad token {TOKEN} {TOKEN}\n\x1b[2J"})  # type: ignore[method-assign]
    message = failure(client, "GET").message
    assert TOKEN[:8] not in message
    assert "\x1b" not in message
    server.answer = lambda seen: (403, {"detail": f"bad token {TOKEN}"})  # type: ignore[method-assign]
    assert MASK in failure(client, "GET").message


@pytest.mark.parametrize("token", ["two words", "lïne", "a\nb"])
def test_token_that_no_header_may_have_is_refused_without_showing_it(server: JobServer, token: str):
    with pytest.raises(ConfigurationError) as caught:
        client_of(server, token)
    assert token not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ([], "without a list of job requests"),
        ({"results": None}, "without a list of job requests"),
        ({"results": {"a": 1}}, "without a list of job requests"),
    ],
)
def test_list_of_another_form_is_an_error(server: JobServer, client: Client, answer: Any, told: str):
    server.answer = lambda seen: (200, answer)  # type: ignore[method-assign]
    assert told in failure(client, "GET").message


def test_confirmation_of_another_form_is_none(server: JobServer, client: Client):
    server.answer = lambda seen: (200, {"status": "queued"})  # type: ignore[method-assign]
    assert "instead of confirming" in failure(client, "POST").message


def test_refused_rows_are_named(server: JobServer, client: Client):
    with pytest.raises(JobsRefusedError) as caught:
        post(client, ROW, ROW | {"status": "odd"}, ROW)
    assert list(caught.value.rows) == [1]
    assert "not a valid choice" in caught.value.rows[1]


@pytest.mark.parametrize("how", [500, "json:400", "json:413"])
def test_refusal_without_rows_says_so(server: JobServer, client: Client, how: int | str):
    server.fail(how, "POST")
    with pytest.raises(JobsRefusedError) as caught:
        post(client)
    assert caught.value.rows == {}


def test_server_that_takes_nothing_is_not_waited_for(server: JobServer):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        client = client_of(server, endpoint=f"http://127.0.0.1:{deaf.getsockname()[1]}/")
        with pytest.raises(JobServerError, match=r"has not taken what it was sent within 0\.3 s"):
            client.post_jobs(b" " * 20 * 2**20, FLAGS)
        client.close()


def test_connection_that_was_idle_for_long_is_not_used_again(server: JobServer):
    client = client_of(server, limits=replace(LIMITS, idle=0.0))
    listed(client)
    listed(client)
    assert server.connections == 2
    client.close()


@pytest.mark.parametrize(
    ("proxy", "told"),
    [
        ("http://user:pr0xyword@127.0.0.1:1", "through the proxy: Connection refused"),
        ("http://user:pr0xyword@", "through the proxy: its address names no host"),
        ("user:pr0xyword@", "through the proxy: its address names no host"),
        ("http://:3128", "through the proxy: its address names no host"),
        ("http://user:pr0xyword@127.0.0.1:99999", f"{MASK}@127.0.0.1:99999"),
    ],
)
def test_proxy_that_does_not_do_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch, proxy: str, told: str):
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, proxy)
    mask = Masker([TOKEN]).mask
    client = Client(endpoint="http://jobs.example.org/", token=TOKEN, backend=BACKEND, mask=mask, limits=LIMITS)
    message = failure(client, "GET").message
    assert told in message
    assert "pr0xyword" not in message
    client.close()


def test_fault_of_ours_is_not_taken_for_one_of_the_proxy(monkeypatch: pytest.MonkeyPatch, client: Client):
    monkeypatch.setenv("http_proxy", "http://user:pr0xyword@")
    monkeypatch.setenv("no_proxy", "localhost,127.0.0.1")
    with pytest.raises(TypeError):
        client.post_jobs(3, FLAGS)  # type: ignore[arg-type]
    assert listed(client) == []


def test_no_server_at_all():
    with serving() as server:
        client = client_of(server)
    assert "cannot be reached: Connection refused" in failure(client, "GET").message
    client.close()


def test_tls_with_an_authority_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    context, authority = certified(tmp_path)
    with serving(context) as server:
        client = client_of(server)
        assert "certificate" in failure(client, "GET").message
        client.close()
        assert server.seen == []
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority))
        client = client_of(server)
        assert listed(client) == []
        client.close()
        assert server.seen[0].headers["authorization"] == TOKEN


def test_netrc_entry_does_not_take_the_place_of_the_token(server: JobServer, client: Client):
    Path("~/.netrc").expanduser().write_text("machine localhost login me password mine\n")
    listed(client)
    assert server.seen[0].headers["authorization"] == TOKEN


def test_no_cookie_is_sent_back(server: JobServer, client: Client):
    listed(client)
    post(client)
    assert "cookie" not in server.seen[-1].headers
