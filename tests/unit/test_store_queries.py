"""The named questions answer what the rules say, through indexes."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from jobrunner_cli.engine.errors import ConfigurationError, DatabaseBusyError, DatabaseNotMigratedError, DiskFullError
from jobrunner_cli.engine.states import ACTIVE_CODES, TABLE, State, StatusCode, state_of
from jobrunner_cli.engine.store import changes, queries, told
from jobrunner_cli.engine.store.database import Connection, Database, connect
from jobrunner_cli.engine.store.filtering import JobFilter, filtered_ids, filtered_jobs
from jobrunner_cli.engine.store.mapper import insert, statements
from jobrunner_cli.engine.store.models import SavedJobRequest
from jobrunner_cli.engine.store.overview import Overview
from support.store import NOW, make_job, new_database

C = StatusCode
FAILED_CODES = frozenset(code for code in TABLE if state_of(code) is State.FAILED)


def ids(jobs: object) -> list[str]:
    return [job.id for job in jobs]  # type: ignore[attr-defined]


def test_active_jobs_are_exactly_the_unfinished_ones(tmp_path: Path) -> None:
    jobs = [make_job(code.value, code) for code in TABLE]
    with closing(new_database(tmp_path, *jobs)) as conn:
        assert {job.status_code for job in queries.active_jobs(conn)} == set(ACTIVE_CODES)
        assert queries.codes_of(conn, [*TABLE, "none"]) == {code.value: code for code in TABLE}
        assert queries.active_requests(conn) == {"req"}


def test_latest_jobs_leave_out_cancelled_ones_reports_and_errors(tmp_path: Path) -> None:
    with closing(
        new_database(
            tmp_path,
            make_job("a1", C.SUCCEEDED, action="a", created_at=NOW),
            make_job("a2", C.NONZERO_EXIT, action="a", created_at=NOW + 1),
            make_job("a3", C.SUCCEEDED, action="a", created_at=NOW + 2, run_command=None),
            make_job("a4", C.CANCELLED_BY_USER, action="a", created_at=NOW + 3, cancelled=True),
            make_job("a5", C.SUCCEEDED, action="a", created_at=NOW + 9, workspace="other"),
            make_job("b1", C.EXECUTING, action="b"),
            make_job("c1", C.CREATED, action="c", cancelled=True),
            make_job("e1", C.INTERNAL_ERROR, action="__error__"),
            make_job("k1", C.KILLED_BY_ADMIN, action="k"),
        )
    ) as conn:
        latest = queries.latest_jobs(conn, "ws", ["a", "b", "c", "__error__", "k", "none"])
        assert {action: job.id for action, job in latest.items()} == {"a": "a2", "b": "b1", "k": "k1"}
        # One that is about to be cancelled hides no success before it.
        besides = queries.latest_jobs(conn, "ws", ["a", "b"], besides={"a2", "b1"})
        assert {action: job.id for action, job in besides.items()} == {"a": "a1"}
        succeeded = queries.latest_succeeded(conn, "ws", ["a", "b"])
        assert {action: job.id for action, job in succeeded.items()} == {"a": "a1"}


def test_of_two_jobs_of_one_second_the_later_row_is_the_latest(tmp_path: Path) -> None:
    with closing(
        new_database(
            tmp_path,
            make_job("z", C.SUCCEEDED),
            make_job("m", C.SUCCEEDED),
            make_job("old", C.SUCCEEDED, created_at=NOW - 1),
        )
    ) as conn:
        assert queries.latest_jobs(conn, "ws", ["describe"])["describe"].id == "m"
        assert filtered_ids(conn, JobFilter()) == ["m", "z", "old"]


def test_jobs_are_found_by_part_of_an_id_or_by_workspace_and_action(tmp_path: Path) -> None:
    with closing(
        new_database(
            tmp_path,
            make_job("abc123", C.SUCCEEDED, action="one"),
            make_job("abc1234", C.SUCCEEDED, action="one", created_at=NOW + 1),
            make_job("xbc%_77", action="two words", created_at=NOW + 2),
            make_job("report", C.SUCCEEDED, action="one", run_command=None, created_at=NOW + 3),
            make_job("error", C.INTERNAL_ERROR, action="__error__", run_command=None),
        )
    ) as conn:
        assert ids(queries.find_jobs(conn, "abc123")) == ["abc123"]
        assert ids(queries.find_jobs(conn, "bc1")) == ["abc1234", "abc123"]
        assert ids(queries.find_jobs(conn, " BC1 ")) == ["abc1234", "abc123"]
        assert ids(queries.find_jobs(conn, "%_")) == ["xbc%_77"]
        assert ids(queries.find_jobs(conn, "c_")) == []
        assert ids(queries.find_jobs(conn, "")) == []
        assert ids(queries.find_jobs(conn, "ws/one")) == ["abc1234"]
        assert ids(queries.find_jobs(conn, "ws/two words")) == ["xbc%_77"]
        assert ids(queries.find_jobs(conn, "ws/__error__")) == ["error"]
        assert ids(queries.find_jobs(conn, "other/one")) == []


def test_jobs_of_a_request_keep_their_order(tmp_path: Path) -> None:
    with closing(new_database(tmp_path)) as conn:
        for request in ("r1", "r2"):
            jobs = [make_job(f"{request}{name}", job_request_id=request) for name in "cab"]
            changes.insert_request_and_jobs(conn, SavedJobRequest(id=request, original={"n": request}), jobs)
        assert ids(queries.jobs_of_request(conn, "r1")) == ["r1c", "r1a", "r1b"]
        assert set(queries.saved_requests(conn, ["r1", "none"])) == {"r1"}


def test_workspaces_and_actions_are_known_by_name(tmp_path: Path) -> None:
    with closing(
        new_database(
            tmp_path,
            make_job("1", C.SUCCEEDED, workspace="b", action="y"),
            make_job("2", C.NONZERO_EXIT, workspace="b", action="x", created_at=NOW + 7),
            make_job("3", workspace="a", action="z"),
        )
    ) as conn:
        assert queries.known_workspaces(conn) == ["a", "b"]
        assert queries.known_actions(conn, "b") == ["x", "y"]
        assert queries.known_actions(conn, "none") == []


@pytest.fixture
def planned(tmp_path: Path) -> Iterator[tuple[Connection, list[str]]]:
    """A database of some thousand jobs, and every statement that is run on it from then on."""
    jobs = [
        make_job(
            f"job{number:06d}",
            C.EXECUTING if number % 1000 == 0 else C.NONZERO_EXIT if number % 7 else C.SUCCEEDED,
            workspace=f"ws{number % 20}",
            action=f"action{number % 50}",
            job_request_id=f"req{number // 10}",
            created_at=NOW + number,
        )
        for number in range(4000)
    ]
    seen: list[str] = []
    with closing(new_database(tmp_path, *jobs)) as conn:
        conn.set_trace_callback(seen.append)
        yield conn, seen


HOT = {
    "active_jobs": queries.active_jobs,
    "active_requests": queries.active_requests,
    "filtered_jobs": lambda conn: filtered_jobs(conn, JobFilter(), limit=50),
    "filtered_jobs of a workspace": lambda conn: filtered_jobs(conn, JobFilter(workspace="ws3"), limit=50),
    "filtered_jobs that failed": lambda conn: filtered_jobs(conn, JobFilter(codes=FAILED_CODES), limit=50),
    "filtered_jobs that have not ended": lambda conn: filtered_jobs(
        conn, JobFilter(workspace="ws3", codes=ACTIVE_CODES)
    ),
    "latest_jobs": lambda conn: queries.latest_jobs(conn, "ws3", ["action3", "action13"]),
    "latest_succeeded": lambda conn: queries.latest_succeeded(conn, "ws3", ["action3", "action13"]),
    "jobs_of_request": lambda conn: queries.jobs_of_request(conn, "req7"),
    "codes_of": lambda conn: queries.codes_of(conn, ["job000001"]),
    "workspace/action": lambda conn: queries.find_jobs(conn, "ws3/action13"),
    "known_workspaces": queries.known_workspaces,
    "known_actions": lambda conn: queries.known_actions(conn, "ws3"),
    "untold_requests": queries.untold_requests,
    "told_jobs": lambda conn: told.told_jobs(conn, ["req7", "req8"]),
    "requests_without_jobs": lambda conn: told.requests_without_jobs(conn, ["req7", "none"]),
    "finished_requests": lambda conn: told.finished_requests(conn, ["req7", "req8"]),
    "requests_of_origin": lambda conn: told.requests_of_origin(conn, ["req7"], "add-job"),
    "unfinished_actions": lambda conn: told.unfinished_actions(conn, ["req7"]),
    "history_of": lambda conn: queries.history_of(conn, "job000001"),
}


@pytest.mark.parametrize("question", HOT)
def test_hot_questions_never_read_all_jobs(planned: tuple[Connection, list[str]], question: str) -> None:
    conn, seen = planned
    HOT[question](conn)
    assert_none_reads_all_jobs(conn, seen)


def test_later_looks_of_the_live_view_never_read_all_jobs(planned: tuple[Connection, list[str]]) -> None:
    conn, seen = planned
    overview = Overview()
    overview.look(conn)
    seen.clear()
    overview.look(conn)
    assert_none_reads_all_jobs(conn, seen)


def assert_none_reads_all_jobs(conn: Connection, seen: list[str]) -> None:
    asked = list(seen)
    assert asked
    for statement in asked:
        plan = [row["detail"] for row in conn.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()]
        scans = [line for line in plan if line.startswith(("SCAN job", "SCAN history", "SCAN acknowledgement"))]
        assert all(re.search(r"INDEX (idx_job__state|idx_acknowledgement__open)\b", line) for line in scans), plan


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    new_database(tmp_path, make_job()).close()
    with closing(connect(tmp_path / "db.sqlite", readonly=True)) as conn:
        assert len(queries.active_jobs(conn)) == 1
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            insert(conn, make_job("another"))


def test_there_is_no_connection_to_a_database_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(DatabaseNotMigratedError, match=r"absent\.sqlite"):
        connect(tmp_path / "absent.sqlite")
    assert list(tmp_path.iterdir()) == []


def test_paths_may_have_any_characters(tmp_path: Path) -> None:
    directory = tmp_path / "a?b#c%20 ü'"
    directory.mkdir()
    with closing(new_database(directory, make_job())) as conn:
        assert len(queries.active_jobs(conn)) == 1
    assert (directory / "db.sqlite").exists()


def test_an_error_inside_a_transaction_undoes_all_of_it(tmp_path: Path) -> None:
    with closing(new_database(tmp_path)) as conn:
        with pytest.raises(sqlite3.IntegrityError), conn.transaction():  # noqa: PT012
            insert(conn, make_job("a"))
            with conn.transaction():
                insert(conn, make_job("b"))
            insert(conn, make_job("a"))
        assert queries.active_jobs(conn) == []
        with conn.transaction():
            insert(conn, make_job("c"))
        assert ids(queries.active_jobs(conn)) == ["c"]


def test_a_write_lock_that_is_not_given_back_is_a_clear_error(tmp_path: Path) -> None:
    with (
        closing(new_database(tmp_path)) as holder,
        holder.transaction(),
        Database(tmp_path / "db.sqlite", patience=0.05) as database,
    ):
        with pytest.raises(DatabaseBusyError, match="locked"), database.transaction():
            pass
        assert queries.active_jobs(database.connection) == []


def test_without_space_nothing_is_written_and_the_next_try_may_succeed(tmp_path: Path) -> None:
    with closing(new_database(tmp_path)) as conn:
        # The file may not grow: what SQLite then reports is what it reports of a full disk.
        ((pages,),) = conn.execute("PRAGMA page_count").fetchall()
        conn.execute(f"PRAGMA max_page_count = {pages}").fetchall()
        jobs = [make_job(f"job{number}", status_message="x" * 5000) for number in range(20)]
        with pytest.raises(DiskFullError, match=r"db\.sqlite"):
            changes.insert_request_and_jobs(conn, SavedJobRequest(id="req", original={}), jobs)
        assert queries.active_jobs(conn) == []
        conn.execute("PRAGMA max_page_count = 1000000").fetchall()
        changes.insert_request_and_jobs(conn, SavedJobRequest(id="req", original={}), jobs)
        assert queries.active_jobs(conn) == jobs


def test_a_damaged_row_is_named(tmp_path: Path) -> None:
    with closing(new_database(tmp_path, make_job("broken"))) as conn:
        conn.execute("UPDATE job SET outputs = '{\"cut off'")
        with pytest.raises(ConfigurationError, match=r"broken.*outputs"):
            queries.active_jobs(conn)
        conn.execute("UPDATE job SET outputs = '[\"a.csv\"]'")
        with pytest.raises(ConfigurationError, match=r"broken.*outputs"):
            queries.active_jobs(conn)


@pytest.mark.parametrize("empty", [None, "", "null"])
def test_however_an_older_row_has_nothing_it_reads_as_empty(tmp_path: Path, empty: str | None) -> None:
    names = "requires_outputs_from wait_for_job_ids output_spec unmatched_outputs trace_context level4_excluded_files"
    with closing(new_database(tmp_path, make_job("old", StatusCode.SUCCEEDED, outputs={"a.csv": "x"}))) as conn:
        for name in names.split():
            conn.execute(f"UPDATE job SET {name} = ?", (empty,))
        job = queries.job_by_id(conn, "old")
        assert job is not None
        assert (job.requires_outputs_from, job.wait_for_job_ids, job.unmatched_outputs) == ((), (), ())
        assert (job.output_spec, job.level4_excluded_files, job.trace_context) == ({}, {}, None)
        (recorded,) = queries.recorded_outputs(conn, "ws")
        assert (recorded.levels, recorded.held_back) == ({"a.csv": "x"}, {})
        conn.execute("UPDATE job SET outputs = ?", (empty,))
        assert [job.outputs for job in queries.jobs_of_request(conn, "req")] == [{}]
        assert queries.recorded_outputs(conn, "ws") == []


def test_times_of_flags_read_however_they_were_written(tmp_path: Path) -> None:
    with closing(new_database(tmp_path)) as conn:
        times = {"a": "2023-11-14 22:13:20", "b": "2023-11-14T22:13:20.25Z", "c": 1700000000, "d": "once", "e": None}
        conn.executemany("INSERT INTO flags VALUES (?, 'x', ?)", times.items())
        found = {flag.id: flag.timestamp for flag in queries.flags(conn)}
    assert found == {"a": 1700000000.0, "b": 1700000000.25, "c": 1700000000.0, "d": 0.0, "e": 0.0}


def test_flags_that_somebody_set_by_hand_are_read(tmp_path: Path) -> None:
    with closing(new_database(tmp_path)) as conn:
        rows = [("a", 5, 1e20), ("b", b"\xff", -1.0), ("c", None, float("inf")), ("d", "x", 1700000000)]
        conn.executemany("INSERT INTO flags VALUES (?, ?, ?)", rows)
        found = {flag.id: (flag.value, flag.timestamp) for flag in queries.flags(conn)}
    assert found == {"a": ("5", 0.0), "b": ("\ufffd", 0.0), "c": (None, 0.0), "d": ("x", 1700000000.0)}


def test_a_script_is_split_into_its_statements() -> None:
    script = "CREATE TABLE a (x TEXT DEFAULT ';'); -- a comment; with a semicolon\nINSERT INTO a VALUES ('b;c');;  "
    found = statements(script)
    with closing(sqlite3.connect(":memory:")) as conn:
        for statement in found:
            conn.execute(statement)
        assert conn.execute("SELECT x FROM a").fetchall() == [("b;c",)]
