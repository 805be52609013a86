"""Jobs change only along legal edges, whole steps at a time, with their times, history and cause."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner_cli.engine.errors import IllegalTransitionError, NotFoundError, StaleRowError
from jobrunner_cli.engine.states import TABLE, State, StatusCode, is_legal, state_of
from jobrunner_cli.engine.store import changes, intents, queries
from jobrunner_cli.engine.store.database import connect
from jobrunner_cli.engine.store.models import SavedJobRequest
from jobrunner_cli.engine.store.outcomes import outcome_from_json, outcome_to_json
from jobrunner_cli.engine.work import IntentKind
from support.store import NOW, NOW_NS, make_job, make_outcome, new_database

C = StatusCode


def test_every_pair_of_codes_is_written_if_legal_and_else_raises_and_is_not(tmp_path: Path) -> None:
    pairs = [(before, after) for before in TABLE for after in TABLE]
    jobs = [make_job(f"{before.value}-{after.value}", before) for before, after in pairs]
    with closing(new_database(tmp_path, *jobs)) as conn:
        for job, (before, after) in zip(jobs, pairs, strict=True):
            if is_legal(before, after):
                moved = changes.advance(conn, job, [after], now_ns=NOW_NS + 1, message="m", cause="test")
                assert queries.job_by_id(conn, job.id) == moved
                assert (moved.status_code, moved.state) == (after, state_of(after))
                steps = [(entry.from_code, entry.to_code, entry.cause) for entry in queries.history_of(conn, job.id)]
                assert steps == [(before, after, "test")]
            else:
                with pytest.raises(IllegalTransitionError):
                    changes.advance(conn, job, [after], now_ns=NOW_NS + 1, message="m", cause="test")
                assert queries.job_by_id(conn, job.id) == job
                assert queries.history_of(conn, job.id) == []


def test_a_path_with_one_illegal_edge_writes_nothing_of_it(tmp_path: Path) -> None:
    job = make_job()
    with closing(new_database(tmp_path, job)) as conn:
        with pytest.raises(IllegalTransitionError):
            changes.advance(conn, job, [C.PREPARING, C.PREPARED, C.SUCCEEDED], now_ns=NOW_NS, message=None, cause="x")
        assert queries.job_by_id(conn, job.id) == job


def test_times_follow_the_steps(tmp_path: Path) -> None:
    job = make_job()
    second = 10**9
    with closing(new_database(tmp_path, job)) as conn:
        job = changes.advance(conn, job, [C.PREPARING], now_ns=NOW_NS + 5 * second + 7, message=None, cause="x")
        assert (job.started_at, job.updated_at, job.status_code_updated_at) == (
            NOW + 5,
            NOW + 5,
            NOW_NS + 5 * second + 7,
        )
        job = changes.advance(conn, job, [C.WAITING_ON_REBOOT], now_ns=NOW_NS + 6 * second, message=None, cause="x")
        assert job.started_at is None
        job = changes.advance(conn, job, [C.PREPARING, C.PREPARED], now_ns=NOW_NS + 7 * second, message=None, cause="x")
        job = changes.advance(conn, job, [C.INTERNAL_ERROR], now_ns=NOW_NS + 8 * second, message=None, cause="x")
        assert (job.started_at, job.completed_at, job.state) == (NOW + 7, NOW + 8, State.FAILED)
        job = changes.advance(conn, job, [C.EXECUTED], now_ns=NOW_NS + 9 * second, message=None, cause="retry")
        assert (job.started_at, job.completed_at, job.state) == (NOW + 7, None, State.RUNNING)
        assert queries.job_by_id(conn, job.id) == job
        at = [entry.at for entry in queries.history_of(conn, job.id)]
        assert at == sorted(at)


def test_times_do_not_go_back_with_the_clock(tmp_path: Path) -> None:
    job = make_job()
    with closing(new_database(tmp_path, job)) as conn:
        job = changes.advance(conn, job, [C.PREPARING], now_ns=NOW_NS - 10**12, message=None, cause="x")
        assert (job.status_code_updated_at, job.started_at, job.updated_at) == (NOW_NS, NOW, NOW)
        assert queries.job_by_id(conn, job.id) == job


def test_a_row_that_somebody_else_moved_is_not_overwritten(tmp_path: Path) -> None:
    job = make_job()
    with closing(new_database(tmp_path, job)) as conn:
        moved = changes.advance(conn, job, [C.PREPARING], now_ns=NOW_NS, message="first", cause="x")
        with pytest.raises(StaleRowError):
            changes.advance(conn, job, [C.WAITING_ON_WORKERS], now_ns=NOW_NS, message="second", cause="x")
        with pytest.raises(StaleRowError):
            changes.advance(conn, make_job("gone"), [C.PREPARING], now_ns=NOW_NS, message=None, cause="x")
        assert queries.job_by_id(conn, job.id) == moved
        assert len(queries.history_of(conn, job.id)) == 1


def test_an_unchanged_job_is_touched_at_most_once_a_minute(tmp_path: Path) -> None:
    job = make_job(status_message="waits", updated_at=NOW)
    with closing(new_database(tmp_path, job)) as conn:
        for seconds, expected in [(1, NOW), (59, NOW), (60, NOW + 60), (100, NOW + 60), (121, NOW + 121)]:
            now = NOW_NS + seconds * 10**9
            job = changes.advance(conn, job, [], now_ns=now, message="waits", cause="x")
            stored = queries.job_by_id(conn, job.id)
            assert stored is not None
            assert stored.updated_at == job.updated_at == expected
        assert job.status_code_updated_at == NOW_NS
        changed = changes.advance(conn, job, [], now_ns=NOW_NS + 122 * 10**9, message="waits for more", cause="x")
        assert (changed.status_message, changed.updated_at) == ("waits for more", NOW + 122)
        assert queries.history_of(conn, job.id) == []


def test_other_fields_are_written_with_the_step_and_reserved_ones_refused(tmp_path: Path) -> None:
    job = make_job(code=C.FINALIZED)
    fields = {
        "outputs": {"out/ä.csv": "highly_sensitive"},
        "unmatched_outputs": ("b", "a"),
        "level4_excluded_files": {"x": "too large"},
        "trace_context": {"traceparent": "00"},
        "image_id": "sha256:1",
        "cancelled": True,
        "restarts": 2,
    }
    with closing(new_database(tmp_path, job)) as conn:
        moved = changes.advance(conn, job, [C.SUCCEEDED], now_ns=NOW_NS, message="done", cause="x", changes=fields)
        stored = queries.job_by_id(conn, job.id)
        assert stored == moved
        assert {name: getattr(stored, name) for name in fields} == fields
        for name in ("status_code", "started_at", "status_message", "id"):
            with pytest.raises(ValueError, match=name):
                changes.advance(conn, moved, [], now_ns=NOW_NS, message=None, cause="x", changes={name: None})


def test_a_message_with_a_name_that_is_not_utf8_is_stored_readable(tmp_path: Path) -> None:
    job = make_job()
    with closing(new_database(tmp_path, job)) as conn:
        changes.advance(conn, job, [C.PREPARING], now_ns=NOW_NS, message="no such file: a\udce9\0b ✓", cause="x")
        stored = queries.job_by_id(conn, job.id)
        assert stored is not None
        assert stored.status_message == "no such file: a\\udce9\0b ✓"


def test_request_and_jobs_are_stored_together_or_not_at_all(tmp_path: Path) -> None:
    request = SavedJobRequest(id="req", original={"identifier": "req", "x": [1, None, "ü"]})
    jobs = [make_job("a"), make_job("b", C.INTERNAL_ERROR, action="__error__", run_command=None)]
    with closing(new_database(tmp_path)) as conn:
        changes.insert_request_and_jobs(conn, request, jobs)
        assert queries.saved_request(conn, "req") == request
        assert queries.jobs_of_request(conn, "req") == jobs
        assert [entry.to_code for entry in queries.history_of(conn, "b")] == [C.INTERNAL_ERROR]

        with pytest.raises(Exception, match="UNIQUE"):
            changes.insert_request_and_jobs(conn, SavedJobRequest(id="other", original={}), [make_job("c"), jobs[0]])
        assert queries.saved_request(conn, "other") is None
        assert queries.job_by_id(conn, "c") is None


def test_the_verdict_survives_with_every_field(tmp_path: Path) -> None:
    outcome = make_outcome()
    assert outcome_from_json(outcome_to_json(outcome)) == outcome
    job = make_job(code=C.FINALIZING)
    with closing(new_database(tmp_path, job)) as conn:
        assert changes.record_verdict(conn, job, outcome, NOW_NS)
        assert queries.result_of(conn, job.id) == outcome
        assert queries.results_for(conn, [job.id, "other"]) == {job.id}
        assert queries.result_of(conn, "other") is None


@given(
    code=st.sampled_from([C.SUCCEEDED, C.NONZERO_EXIT, C.UNMATCHED_PATTERNS]),
    message=st.text(),
    advice=st.none() | st.text(),
    names=st.lists(st.text()),
    refused=st.dictionaries(st.text(), st.text()),
)
def test_any_verdict_is_read_back_as_it_was(
    code: StatusCode, message: str, advice: str | None, names: list[str], refused: dict[str, str]
) -> None:
    outcome = make_outcome(
        code=code, message=message, advice=advice, pointer=advice, unmatched_outputs=tuple(names), refused=refused
    )
    assert outcome_from_json(outcome_to_json(outcome)) == outcome


@pytest.mark.parametrize("hint", [None, "look at it"])
def test_verdict_of_an_older_version_keeps_its_hint(hint: str | None) -> None:
    values = outcome_to_json(make_outcome())
    del values["advice"], values["pointer"]
    assert outcome_from_json(values | {"hint": hint}).hint == hint


@pytest.mark.parametrize("kind", [IntentKind.CANCEL, IntentKind.KILL])
def test_no_verdict_is_stored_over_an_open_cancellation_or_kill(tmp_path: Path, kind: IntentKind) -> None:
    job = make_job(code=C.FINALIZING)
    with closing(new_database(tmp_path, job)) as conn:
        intent = intents.append(conn, kind, job.id, "test", NOW)
        assert not changes.record_verdict(conn, job, make_outcome(), NOW_NS)
        assert queries.results_for(conn, [job.id]) == set()
        intents.answer(conn, intent, "withdrawn", NOW)
        assert changes.record_verdict(conn, job, make_outcome(), NOW_NS)


def test_a_verdict_once_stored_stands_whatever_comes_after(tmp_path: Path) -> None:
    job = make_job(code=C.FINALIZING)
    with closing(new_database(tmp_path, job)) as conn:
        assert changes.record_verdict(conn, job, make_outcome(message="first"), NOW_NS)
        intents.append(conn, IntentKind.CANCEL, job.id, "test", NOW)
        assert changes.record_verdict(conn, job, make_outcome(message="second"), NOW_NS)
        stored = queries.result_of(conn, job.id)
        assert stored is not None
        assert stored.message == "first"
        changes.discard_verdict(conn, job.id)
        assert not changes.record_verdict(conn, job, make_outcome(message="third"), NOW_NS)


def test_no_verdict_is_stored_on_a_job_that_has_ended_meanwhile(tmp_path: Path) -> None:
    job = make_job(code=C.FINALIZING)
    with closing(new_database(tmp_path, job)) as conn:
        changes.advance(conn, job, [C.CANCELLED_BY_USER], now_ns=NOW_NS, message=None, cause="x")
        assert not changes.record_verdict(conn, job, make_outcome(), NOW_NS)


def test_the_containers_description_leaves_the_database_once_all_is_published(tmp_path: Path) -> None:
    job = make_job(code=C.FINALIZED)
    outcome = make_outcome()
    with closing(new_database(tmp_path, job)) as conn:
        changes.record_verdict(conn, job, outcome, NOW_NS)
        changes.advance(conn, job, [C.SUCCEEDED], now_ns=NOW_NS, message="done", cause="x")
        assert queries.result_of(conn, job.id) == replace(outcome, container_metadata={})


def test_an_open_wish_is_not_doubled_and_the_first_answer_stands(tmp_path: Path) -> None:
    with closing(new_database(tmp_path, make_job("a"), make_job("b", C.SUCCEEDED))) as conn:
        first = intents.append(conn, IntentKind.CANCEL, "a", "cli", NOW)
        assert intents.append(conn, IntentKind.CANCEL, "a", "job-server", NOW + 1) == first
        second = intents.append(conn, IntentKind.KILL, "a", "cli", NOW)
        third = intents.append(conn, IntentKind.CLEANUP, "b", "cli", NOW)
        found = intents.open_intents(conn)
        assert {job: [intent.id for intent in of] for job, of in found.items()} == {"a": [first, second], "b": [third]}
        assert set(intents.open_intents(conn, ["b"])) == {"b"}

        assert intents.answer(conn, first, "cancelled", NOW + 2)
        assert not intents.answer(conn, first, "too late", NOW + 3)
        row = intents.intent_by_id(conn, first)
        assert row is not None
        assert (row.answer, row.answered_at, row.origin) == ("cancelled", NOW + 2, "cli")
        assert intents.append(conn, IntentKind.CANCEL, "a", "cli", NOW + 4) != first
        assert len(intents.intents_of(conn, "a")) == 3
        with pytest.raises(NotFoundError):
            intents.append(conn, IntentKind.CANCEL, "none", "cli", NOW)


def test_flags_keep_their_time_until_the_value_changes(tmp_path: Path) -> None:
    with closing(new_database(tmp_path)) as conn:
        assert queries.flag(conn, "paused") is None
        changes.set_flag(conn, "paused", "true", NOW + 0.25)
        assert changes.set_flag(conn, "paused", "true", NOW + 9).timestamp == NOW + 0.25
        assert changes.set_flag(conn, "paused", "TRUE", NOW + 10).timestamp == NOW + 10
        assert queries.backend_paused(conn) is not None
        assert changes.set_flag(conn, "paused", "", NOW + 11).value is None
        assert changes.set_flag(conn, "paused", None, NOW + 12).timestamp == NOW + 11
        assert queries.backend_paused(conn) is None
        assert [(flag.id, flag.value) for flag in queries.flags(conn)] == [("paused", None)]


def test_maintenance_is_on_by_mode_or_by_hand(tmp_path: Path) -> None:
    with closing(new_database(tmp_path)) as conn:
        assert queries.in_maintenance(conn) is None
        changes.set_flag(conn, "mode", "something-else", NOW)
        assert queries.in_maintenance(conn) is None
        changes.set_flag(conn, "manual-db-maintenance", "on", NOW + 1)
        by_hand = queries.in_maintenance(conn)
        assert by_hand is not None
        assert by_hand.timestamp == NOW + 1
        changes.set_flag(conn, "mode", "db-maintenance", NOW + 2)
        changes.set_flag(conn, "manual-db-maintenance", None, NOW + 3)
        assert queries.in_maintenance(conn) is not None


def test_pauses_are_set_once_and_ended(tmp_path: Path) -> None:
    with closing(new_database(tmp_path)) as conn:
        assert changes.pause(conn, "workspace", "ws", NOW)
        assert not changes.pause(conn, "workspace", "ws", NOW + 5)
        assert changes.pause(conn, "job", "ws", NOW + 6)
        assert [(pause.scope, pause.name, pause.since) for pause in queries.pauses(conn)] == [
            ("job", "ws", NOW + 6),
            ("workspace", "ws", NOW),
        ]
        assert changes.resume(conn, "workspace", "ws")
        assert not changes.resume(conn, "workspace", "ws")
        with pytest.raises(ValueError, match="planet"):
            changes.pause(conn, "planet", "x", NOW)


def test_the_job_server_is_to_be_told_until_it_confirmed_the_very_last_change(tmp_path: Path) -> None:
    with closing(new_database(tmp_path)) as conn:
        changes.insert_request_and_jobs(conn, SavedJobRequest(id="req", original={}), [job := make_job()])
        told = queries.untold_requests(conn)
        job = changes.advance(conn, job, [C.PREPARING], now_ns=NOW_NS, message=None, cause="x")
        changes.acknowledge(conn, told)
        assert set(queries.untold_requests(conn)) == {"req"}
        changes.acknowledge(conn, queries.changes_of_requests(conn, ["req"]))
        assert queries.untold_requests(conn) == {}
        job = changes.advance(conn, job, [C.INTERNAL_ERROR], now_ns=NOW_NS, message=None, cause="x")
        assert set(queries.untold_requests(conn)) == {"req"}


def test_the_job_server_is_to_be_told_of_a_new_message_and_not_of_a_sign_of_life(tmp_path: Path) -> None:
    with closing(new_database(tmp_path)) as conn:
        changes.insert_request_and_jobs(conn, SavedJobRequest(id="req", original={}), [job := make_job()])
        changes.acknowledge(conn, queries.untold_requests(conn))
        job = changes.advance(conn, job, [], now_ns=NOW_NS + 61 * 10**9, message=job.status_message, cause="")
        assert queries.untold_requests(conn) == {}
        changes.advance(conn, job, [], now_ns=NOW_NS, message="Waiting", cause="")
        assert set(queries.untold_requests(conn)) == {"req"}


def test_changes_of_others_show_in_the_data_version_and_own_ones_do_not(tmp_path: Path) -> None:
    job = make_job()
    with closing(new_database(tmp_path, job)) as conn, closing(connect(tmp_path / "db.sqlite")) as other:
        before = conn.data_version()
        moved = changes.advance(conn, job, [C.PREPARING], now_ns=NOW_NS, message=None, cause="x")
        assert conn.data_version() == before
        changes.advance(other, moved, [C.PREPARED], now_ns=NOW_NS, message=None, cause="x")
        assert conn.data_version() != before
