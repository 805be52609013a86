"""The job-server is told what changes: complete sets, nothing twice without need, and nothing is ever lost."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from dataclasses import replace

import pytest

from jobrunner_cli.engine.service.pacing import Pace
from jobrunner_cli.engine.states import StatusCode
from jobrunner_cli.engine.store import changes
from support.job_server import JobServer, Seen
from support.syncing import PACE, C, Place

pytestmark = pytest.mark.slow

OK = {"action0": "succeeded", "action1": "succeeded"}


def told_of(server: JobServer, request_id: str) -> list[Seen]:
    return [seen for seen in server.posts() if request_id in seen.requests]


def test_change_is_told_soon_with_all_jobs_of_its_request_and_of_no_other(place: Place, server: JobServer):
    first, _ = place.add_jobs("r1")
    place.add_jobs("r2")
    with place.syncing(replace(PACE, full=3600.0)):
        server.until(lambda: server.statuses("r1") and server.statuses("r2"), "both requests")
        server.until(lambda: not place.untold(), "the confirmation")
        before = len(server.posts())
        place.move(first, C.PREPARING, C.EXECUTING)
        server.until(lambda: server.statuses("r1")["action0"] == "running", "the change")
        assert server.statuses("r1") == {"action0": "running", "action1": "pending"}
        (only,) = server.posts()[before:]
        assert only.requests == ["r1"]
        assert len(only.body) == 2


def test_change_of_the_message_alone_is_told(place: Place, server: JobServer):
    (job,) = place.add_jobs("r1", 1)
    with place.syncing():
        server.until(lambda: not place.untold(), "the first time")
        place.move(job, message="Waiting for the weather")
        server.until(lambda: server.posts()[-1].body[0]["status_message"] == "Waiting for the weather", "the message")


def test_nothing_is_told_while_nothing_changes(place: Place, server: JobServer):
    place.add_jobs("r1")
    with place.syncing(replace(PACE, full=3600.0)):
        server.until(lambda: not place.untold(), "the first time")
        told, asked = len(server.posts()), len(server.gets())
        server.until(lambda: len(server.gets()) > asked + 5, "some polls")
        assert len(server.posts()) == told


def test_everything_active_is_told_now_and_then(place: Place, server: JobServer):
    place.add_jobs("r1")
    with place.syncing(replace(PACE, full=0.2)):
        server.until(lambda: len(told_of(server, "r1")) >= 4, "full rounds")


def test_jobs_of_one_request_stand_together_however_they_were_stored(place: Place, server: JobServer):
    for round_ in range(3):
        for number in range(5):
            for job in place.add_jobs(f"r{number}", 1) if round_ == 0 else ():
                place.move(job, C.PREPARING)
    place.sync().once()
    (post,) = server.posts()
    order = [row["job_request_id"] for row in post.body]
    assert order == sorted(order, key=order.index)
    assert all(server.statuses(f"r{number}") for number in range(5))


def test_changes_that_follow_closely_are_told_together(place: Place, server: JobServer):
    jobs = place.add_jobs("r1", 20)
    with place.syncing(replace(PACE, gap=0.3)):
        server.until(lambda: not place.untold(), "the first time")
        before, begun = len(server.posts()), time.monotonic()
        for job in jobs:
            place.move(job, C.PREPARING)
        server.until(lambda: set(server.statuses("r1").values()) == {"running"}, "all of them")
        assert len(server.posts()) - before <= 2 + (time.monotonic() - begun) / 0.3


def test_large_rounds_are_divided_between_requests(place: Place, server: JobServer):
    for number in range(8):
        place.add_jobs(f"r{number}", 4, status_message="x" * 200_000)
    place.sync().once()
    posts = server.posts()
    assert len(posts) > 2
    told = [request for seen in posts for request in seen.requests]
    assert len(told) == len(set(told)) == 8
    assert all(len(server.jobs[f"r{number}"]) == 4 for number in range(8))


def test_requests_made_here_are_never_told(place: Place, server: JobServer):
    (job,) = place.add_jobs("mine", 1, origin="add-job")
    place.add_jobs("theirs", 1)
    with place.syncing(replace(PACE, full=0.1)):
        server.until(lambda: len(told_of(server, "theirs")) > 2, "full rounds")
        place.finish(job)
        server.until(lambda: not place.untold(), "nothing left to tell")
    assert told_of(server, "mine") == []


def test_what_jobs_used_goes_with_them(place: Place, server: JobServer):
    place.add_jobs("r1", 2)
    with closing(sqlite3.connect(place.settings.metrics_path)) as conn, conn:
        conn.execute("CREATE TABLE jobs (id TEXT PRIMARY KEY, metrics TEXT)")
        conn.execute("INSERT INTO jobs VALUES ('r1-0', ?)", (json.dumps({"cpu_peak": 9, "mem_mb_mean": float("nan")}),))
        conn.execute("INSERT INTO jobs VALUES ('r1-1', 'no JSON')")
    place.sync().once()
    assert server.jobs["r1"]["r1-0"]["metrics"] == {"cpu_peak": 9, "mem_mb_mean": None}
    assert server.jobs["r1"]["r1-1"]["metrics"] == {}


def test_flags_go_with_every_request(place: Place, server: JobServer):
    place.add_jobs("r1")
    changes.set_flag(place.database.connection, "paused", "true", 1_795_453_361.152366)
    with place.syncing():
        server.until(lambda: server.flags == {"paused": {"v": "true", "ts": "2026-11-23T17:02:41.152366Z"}}, "the flag")
        changes.set_flag(place.database.connection, "mode", "db-maintenance", 1_795_453_361)
        server.until(lambda: server.flags and server.flags.get("mode", {}).get("v") == "db-maintenance", "the mode")


# What goes wrong.

TROUBLE = [500, 502, "json:403", "html", "empty", "cut", "reset", "late", "http://elsewhere.example/"]


@pytest.mark.parametrize("how", TROUBLE)
def test_final_state_is_told_whatever_goes_wrong_in_between(place: Place, server: JobServer, how: int | str):
    first, second = place.add_jobs("r1")
    with place.syncing():
        server.until(lambda: not place.untold(), "the first time")
        server.fail(how, "POST", times=4)
        place.finish(first)
        place.finish(second)
        server.until(lambda: not place.untold(), "the confirmation")
    assert server.statuses("r1") == OK
    assert sorted(server.mails) == [("r1-0", "succeeded"), ("r1-1", "succeeded")]


def test_final_state_survives_a_crash_between_the_table_and_the_server(place: Place, server: JobServer):
    first, second = place.add_jobs("r1")
    place.sync().once()
    place.finish(first)
    place.finish(second)
    server.fail("late", "POST", times=None)
    assert place.sync().once().failures
    server.mend()
    place.sync().once()
    assert server.statuses("r1") == OK
    assert place.untold() == set()


def test_after_an_outage_the_truth_is_restored(place: Place, server: JobServer):
    jobs = [job for number in range(30) for job in place.add_jobs(f"r{number}", 1)]
    with place.syncing(replace(PACE, longest_wait=0.3)):
        server.until(lambda: not place.untold(), "the first time")
        for method in ("GET", "POST"):
            server.fail(500, method, times=None)
        for job in jobs:
            place.finish(job)
        server.until(lambda: len(server.posts()) > 40, "attempts in vain")
        # It comes back with what it had before.
        with server.guard:
            server.jobs["r0"] = {}
        server.mend()
        server.until(lambda: not place.untold(), "the confirmations")
        server.until(
            lambda: all(server.statuses(f"r{number}") == {"action0": "succeeded"} for number in range(30)), "all"
        )


def test_one_request_that_the_server_cannot_take_does_not_hurt_the_others(place: Place, server: JobServer):
    jobs = {f"r{number}": place.add_jobs(f"r{number}", 1)[0] for number in range(20)}
    server.fail(500, "POST", times=None, picks=lambda seen: "r7" in seen.requests)
    with place.syncing() as sync:
        server.until(lambda: all(server.statuses(name) for name in jobs if name != "r7"), "the others")
        for job in jobs.values():
            place.finish(job)
        server.until(lambda: place.untold() == {"r7"}, "their final states")
        server.until(lambda: "r7" in (sync.report.refused or {}), "the report")
        server.mend()
        server.until(lambda: server.statuses("r7") == {"action0": "succeeded"}, "the bad one, later")
        server.until(lambda: not sync.report.refused, "the report without it")


def test_rows_that_are_refused_are_named_and_tried_again(
    place: Place, server: JobServer, caplog: pytest.LogCaptureFixture
):
    for number in range(5):
        place.add_jobs(f"r{number}")
    server.validate = lambda row: {"action": ["Too odd."]} if row["identifier"] == "r2-1" else None
    with place.syncing() as sync:
        server.until(lambda: all(server.statuses(f"r{number}") for number in (0, 1, 3, 4)), "the others")
        assert "r2" not in server.jobs
        server.until(lambda: "Too odd." in (sync.report.refused or {}).get("r2", ""), "the report")
        assert [seen.requests for seen in server.posts()[:2]] == [
            ["r0", "r1", "r2", "r3", "r4"],
            ["r0", "r1", "r3", "r4"],
        ]
        server.validate = lambda row: None
        server.until(lambda: len(server.statuses("r2")) == 2, "the bad one, later")
    assert any("r2" in record.message and "Too odd." in record.message for record in caplog.records)


def test_row_that_cannot_be_read_does_not_hurt_the_others(place: Place, server: JobServer):
    for number in range(4):
        place.add_jobs(f"r{number}")
    conn = place.database.connection
    conn.execute("UPDATE job SET trace_context = 'no JSON' WHERE id = 'r1-0'")
    conn.execute("UPDATE job SET created_at = 1e18 WHERE id = 'r2-1'")
    report = place.sync().once()
    assert {name for name in server.jobs if server.jobs[name]} == {"r0", "r3"}
    assert len(report.failures) == 2
    assert "r1" in report.failures[0] + report.failures[1]


def test_what_the_server_has_wrong_is_put_right(place: Place, server: JobServer):
    """It may have worked off an old POST late, or have been restored from a backup."""
    (job,) = place.add_jobs("r1", 1)
    with place.syncing(replace(PACE, full=3600.0)):
        server.until(lambda: server.statuses("r1"), "the first time")
        place.finish(job)
        server.until(lambda: server.statuses("r1") == {"action0": "succeeded"} and not place.untold(), "the end")
        with server.guard:
            server.jobs["r1"]["r1-0"]["status"] = "running"
        server.until(lambda: server.statuses("r1") == {"action0": "succeeded"}, "the truth")
        with server.guard:
            server.jobs["r1"].clear()
        server.until(lambda: server.statuses("r1") == {"action0": "succeeded"}, "the truth once more")


def test_finished_request_that_the_server_keeps_listing_is_not_told_all_the_time(place: Place, server: JobServer):
    (job,) = place.add_jobs("r1", 1)
    place.finish(job)
    list_of = server._list
    with place.syncing(Pace(look=0.01, gap=0.01, full=3600.0, longest_wait=3600.0)):
        server.until(lambda: not place.untold(), "the first time")
        entry = server.requests["r1"]
        server._list = lambda seen, backend: (200, {"results": [entry], "next": None})  # type: ignore[method-assign]
        asked = len(server.gets())
        server.until(lambda: len(server.gets()) > asked + 40, "many polls")
    server._list = list_of  # type: ignore[method-assign]
    assert 2 <= len(told_of(server, "r1")) < 15


def test_slow_answer_does_not_make_stale_rows_follow_newer_ones(place: Place, server: JobServer):
    (job,) = place.add_jobs("r1", 1)
    with place.syncing(replace(PACE, full=3600.0)):
        server.until(lambda: not place.untold(), "the first time")
        fault = server.fail("hold", "POST")
        job = place.move(job, C.PREPARING)
        assert fault.struck.wait(30)
        place.move(job, C.EXECUTING, C.FINALIZING, StatusCode.SUCCEEDED)
        fault.release.set()
        server.until(lambda: server.statuses("r1") == {"action0": "succeeded"} and not place.untold(), "the end")
        statuses = [seen.body[0]["status"] for seen in server.posts()]
    assert statuses == sorted(statuses, key=["pending", "running", "succeeded"].index)


def test_what_changed_last_is_told_before_leaving(place: Place, server: JobServer):
    (job,) = place.add_jobs("r1", 1)
    with place.syncing(replace(PACE, look=0.5)):
        server.until(lambda: not place.untold(), "the first time")
        place.finish(job)
    assert server.statuses("r1") == {"action0": "succeeded"}
    assert place.untold() == set()


def test_leaving_does_not_wait_for_a_server_that_hangs(place: Place, server: JobServer):
    place.add_jobs("r1", 1)
    for method in ("GET", "POST"):
        server.fail("hold", method, times=None)
    fault = server.faults[-1]
    begun = time.monotonic()
    with place.syncing(replace(PACE, farewell=0.2)):
        assert fault.struck.wait(30)
    assert time.monotonic() - begun < 20
