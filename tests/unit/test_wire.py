"""What goes over the wire: rows of jobs, the header with the flags, and entries of the list, understood or not."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from jobrunner_cli.engine.errors import GitError, JobRequestError
from jobrunner_cli.engine.service.wire import Incoming, flags_header, job_rows, read_listing
from jobrunner_cli.engine.states import StatusCode
from jobrunner_cli.engine.store.models import Flag
from support.store import NOW, make_job

ENTRY: dict[str, Any] = {
    "identifier": "2nepunacds7e22ue",
    "backend": "test",
    "sha": "a" * 40,
    "requested_actions": ["describe"],
    "cancelled_actions": [],
    "force_run_dependencies": False,
    "workspace": {"name": "ws-one", "repo": "https://github.com/opensafely/x", "branch": "main", "new": 1},
    "database_name": "default",
    "codelists_ok": True,
    "created_by": "alice",
    "unknown": {"deep": [1]},
}


def read(entry: object) -> Incoming:
    (incoming,) = read_listing([entry], "test").incoming
    return incoming


def test_row_of_a_running_job():
    job = make_job(
        "job1",
        StatusCode.EXECUTING,
        job_request_id="req",
        status_message="Running",
        started_at=NOW + 60,
        updated_at=NOW + 61,
        trace_context={"traceparent": "00-1"},
        requires_db=True,
    )
    assert job_rows([job], {"job1": {"cpu_mean": 1.5}}, str) == [
        {
            "identifier": "job1",
            "job_request_id": "req",
            "action": "describe",
            "run_command": "python:v2 analysis/describe.py",
            "status": "running",
            "status_code": "executing",
            "status_message": "Running",
            "created_at": "2026-11-18T11:06:40Z",
            "updated_at": "2026-11-18T11:07:41Z",
            "started_at": "2026-11-18T11:07:40Z",
            "completed_at": None,
            "trace_context": {"traceparent": "00-1"},
            "metrics": {"cpu_mean": 1.5},
            "requires_db": True,
        }
    ]


def test_row_of_a_job_that_only_reports_has_no_nulls_that_the_server_refuses():
    (row,) = job_rows([make_job(run_command=None, status_message=None, started_at=None)], {}, str)
    assert row["run_command"] is None
    assert row["status_message"] == ""
    assert row["trace_context"] == row["metrics"] == {}


@pytest.mark.parametrize(
    ("code", "told"),
    [(StatusCode.CANCELLED_BY_USER, "2026-11-18T11:07:40Z"), (StatusCode.EXECUTING, None)],
)
def test_finished_job_has_an_end_even_where_its_row_has_none(code: StatusCode, told: str | None):
    (row,) = job_rows([make_job(code=code, updated_at=NOW + 60, completed_at=None)], {}, str)
    assert row["completed_at"] == told


def test_row_has_nothing_that_the_server_refuses_and_no_secret():
    (row,) = job_rows([make_job(status_message="a\0b s3cret")], {}, lambda text: text.replace("s3cret", "xxxx"))
    assert row["status_message"] == "a�b xxxx"


def test_flags_are_compact_json_with_their_times():
    flags = [
        Flag(id="mode", value=None, timestamp=1_795_453_361.152366),
        Flag(id="paused", value="tr\nüe", timestamp=float("inf")),
    ]
    header = flags_header(flags)
    assert header == (
        '{"mode":{"v":null,"ts":"2026-11-23T17:02:41.152366Z"},'
        '"paused":{"v":"tr\\n\\u00fce","ts":"1970-01-01T00:00:00.000000Z"}}'
    )
    assert flags_header([]) == "{}"
    # A server's own database may take no such character, and would answer nothing.
    assert "\\u0000" not in flags_header([Flag(id="note", value="a\0b", timestamp=0.0)])


def test_entry_becomes_a_request_and_is_kept_whole():
    incoming = read(ENTRY)
    request = incoming.request
    assert incoming.error is None
    assert (request.id, request.commit, request.branch) == ("2nepunacds7e22ue", "a" * 40, "main")
    assert (request.repo_url, request.workspace) == ("https://github.com/opensafely/x", "ws-one")
    assert (request.requested_actions, request.database_name) == (("describe",), "default")
    assert request.codelists_ok
    assert not request.force_run_dependencies
    assert request.original == ENTRY


def test_older_servers_have_the_database_in_the_workspace():
    entry = {key: value for key, value in ENTRY.items() if key not in {"database_name", "codelists_ok"}}
    entry["workspace"] = ENTRY["workspace"] | {"db": "include_t1oo"}
    incoming = read(entry)
    assert incoming.error is None
    assert incoming.request.database_name == "include_t1oo"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"sha": None}, "sha is missing"),
        ({"sha": 12}, "sha is not a text: 12"),
        ({"requested_actions": "describe"}, "requested_actions is not a list of texts"),
        ({"requested_actions": ["a", None]}, "requested_actions is not a list of texts"),
        (
            {"requested_actions": ["a"] * 10_001},
            "requested_actions has more than 10000 names, or one of more than 4096 characters",
        ),
        ({"cancelled_actions": {"a": 1}}, "cancelled_actions is not a list of texts"),
        ({"codelists_ok": "yes"}, "codelists_ok is not true or false"),
        ({"force_run_dependencies": 1}, "force_run_dependencies is not true or false"),
        ({"workspace": None}, "workspace is missing"),
        ({"workspace": {"name": "ws", "branch": "main"}}, "workspace.repo is missing"),
        ({"workspace": {"name": "w" * 5000, "repo": "x", "branch": "main"}}, "workspace.name is not a text of at most"),
        ({"database_name": None}, "database_name is missing"),
    ],
)
def test_entry_that_cannot_be_understood_says_where(change: dict[str, Any], told: str):
    incoming = read(ENTRY | change)
    assert incoming.error is not None
    assert told in incoming.error.message
    assert len(incoming.error.message) < 1000
    assert incoming.request.id == ENTRY["identifier"]


ODD: list[Any] = [
    None, True, 1, -1.5, 10**40, float("nan"), "", "x", [], {}, [1], [None], {"a": 1}, "\ud800", ["\ud800"], "a\0b",
    "\n\x1b[2J", "../../etc", "--upload-pack=x", "~x/y", "x" * 5000, ["x" * 5000], [["a"]],
]  # fmt: skip


@pytest.mark.parametrize("where", ["request", "workspace"])
def test_no_value_of_any_field_hurts_the_other_requests(where: str):
    fields = ENTRY if where == "request" else ENTRY["workspace"] | {"db": "x"}
    entries = []
    for name, value in itertools.product(fields, ODD):
        changed = fields | {name: value}
        entry = changed if where == "request" else ENTRY | {"workspace": changed}
        entries.append(entry if name == "identifier" else entry | {"identifier": f"r{len(entries)}"})
    listing = read_listing([*entries, ENTRY | {"identifier": "good"}], "test")
    assert len(listing.incoming) > len(entries) / 2
    assert (listing.incoming[0].request.id, listing.incoming[0].error) == ("good", None)
    assert not [incoming.fault for incoming in listing.incoming if incoming.fault]


@pytest.mark.parametrize("name", ["sha", "requested_actions", "workspace", "backend", "identifier"])
def test_value_without_end_hurts_no_other_request(name: str):
    endless: Any = {}
    for _ in range(100_000):
        endless = {"a": [endless]}
    listing = read_listing([ENTRY | {"identifier": "r1", name: endless}, ENTRY | {"identifier": "good"}], "test")
    told = [str(incoming.error) for incoming in listing.incoming if incoming.error] + [
        *listing.unusable,
        *listing.foreign,
    ]
    assert listing.incoming[0].request.id == "good"
    assert len(told) == 1


def test_repository_behind_links_in_a_circle_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "circle").symlink_to("circle")
    monkeypatch.chdir(tmp_path)
    incoming = read(ENTRY | {"workspace": ENTRY["workspace"] | {"repo": "circle"}})
    assert incoming.fault is None
    # Whether a path is followed to its end before it is used depends on the version of Python.
    assert isinstance(incoming.error, GitError) or incoming.request.repo_url == str(tmp_path / "circle")


def test_fault_of_ours_is_kept_for_the_log_and_the_user_told_that_there_is_one():
    class Unforeseen(dict[str, Any]):
        def get(self, name: str, default: Any = None) -> Any:
            if name == "sha":
                raise ZeroDivisionError
            return super().get(name, default)

    incoming = read(Unforeseen(ENTRY))
    assert (incoming.request.id, incoming.request.original) == (ENTRY["identifier"], ENTRY)
    assert isinstance(incoming.error, JobRequestError)
    assert incoming.error.message == "Internal error"
    assert isinstance(incoming.fault, ZeroDivisionError)


def test_every_problem_of_an_entry_is_told():
    incoming = read({"identifier": "x1", "backend": "test"})
    assert incoming.error is not None
    assert all(name in incoming.error.message for name in ("workspace", "sha", "requested_actions"))


@pytest.mark.parametrize("identifier", [None, 7, "", " x", "a\nb", "x" * 201, "\ud800"])
def test_entry_without_a_usable_identifier_is_named_and_leaves_the_others(identifier: object):
    listing = read_listing([ENTRY, ENTRY | {"identifier": identifier}, "nonsense", None], "test")
    assert [incoming.request.id for incoming in listing.incoming] == [ENTRY["identifier"]]
    assert len(listing.unusable) == 3
    assert all("without an identifier" in text for text in listing.unusable)


def test_requests_of_other_backends_are_left_alone():
    listing = read_listing([ENTRY | {"backend": "tpp"}, ENTRY | {"identifier": "mine"}], "test")
    assert [incoming.request.id for incoming in listing.incoming] == ["mine"]
    assert len(listing.foreign) == 1
    assert "tpp" in listing.foreign[0]
    assert not listing.unusable


def test_oldest_requests_come_first_and_each_once():
    entries = [ENTRY | {"identifier": name} for name in ("new", "middle", "middle", "old")]
    entries[2] = entries[2] | {"cancelled_actions": ["describe"]}
    listing = read_listing(entries, "test")
    assert [incoming.request.id for incoming in listing.incoming] == ["old", "middle", "new"]
    assert listing.incoming[1].request.cancelled_actions == ("describe",)


def test_server_cannot_say_that_a_request_was_made_here():
    assert "origin" not in read(ENTRY | {"origin": "add-job"}).request.original
    assert read(ENTRY | {"origin": "web"}).request.original["origin"] == "web"


def test_what_json_allows_and_rows_do_not_is_stored_all_the_same():
    entry = json.loads(json.dumps(ENTRY)[:-1] + ', "odd": "\\ud800", "nan": NaN}')
    assert read(entry).error is None
