"""The loop's picture of the table: what it leaves out, what it answers, and what it writes."""

import sqlite3
import time
from contextlib import closing
from dataclasses import replace

import pytest

from jobrunner_cli.engine import settings as settings_module
from jobrunner_cli.engine.endings import ALREADY_FINISHED, ended_by
from jobrunner_cli.engine.running.board import Board
from jobrunner_cli.engine.running.leftovers import ended_with_leftovers
from jobrunner_cli.engine.scheduling import decide
from jobrunner_cli.engine.states import StatusCode
from jobrunner_cli.engine.store import intents
from jobrunner_cli.engine.store.database import Database
from jobrunner_cli.engine.weights import Weights
from jobrunner_cli.engine.work import ContainerState, Decision, EffectKind, IntentKind
from jobrunner_cli.engine.world import Snapshot
from support.store import make_job, make_outcome, new_database

C = StatusCode


@pytest.fixture
def settings(tmp_path):
    return settings_module.load({"WORKDIR": str(tmp_path)}, cwd=tmp_path, config_dir=tmp_path)


@pytest.fixture
def make_board(tmp_path, settings):
    databases = []

    def make(*jobs, **options):
        new_database(tmp_path, *jobs).close()
        database = Database(tmp_path / "db.sqlite")
        databases.append(database)
        return Board(database, settings, Weights(), **options), database.connection

    yield make
    for database in databases:
        database.close()


def ask(conn, kind, job_id):
    return intents.append(conn, kind, job_id, "a test", 1.0)


def damage(path, statement):
    with closing(sqlite3.connect(path)) as conn:
        conn.execute(statement)
        conn.commit()


def test_a_row_that_cannot_be_read_holds_up_no_other(make_board, tmp_path):
    board, _ = make_board(make_job("good"), make_job("bad"))
    damage(tmp_path / "db.sqlite", "UPDATE job SET output_spec = '{oops' WHERE id = 'bad'")
    board.refresh()
    assert list(board.jobs) == ["good"]


def test_a_verdict_that_cannot_be_read_holds_up_no_other_job(make_board, tmp_path):
    board, _ = make_board(make_job("good"), make_job("bad", C.FINALIZING))
    damage(tmp_path / "db.sqlite", "INSERT INTO result VALUES ('bad', '{}', 1)")
    board.refresh()
    assert list(board.jobs) == ["good"]


def test_what_is_wanted_of_an_ended_job_is_answered(make_board):
    board, conn = make_board(make_job("j", C.SUCCEEDED))
    wish = ask(conn, IntentKind.CANCEL, "j")
    board.refresh()
    assert intents.intent_by_id(conn, wish).answer == ALREADY_FINISHED


def test_a_clean_up_is_answered_when_it_is_done_and_not_before(make_board):
    board, conn = make_board(make_job("j", C.KILLED_BY_ADMIN))
    wish = ask(conn, IntentKind.CLEANUP, "j")
    board.refresh()
    assert board.take_cleanups() == ["j"]
    assert intents.intent_by_id(conn, wish).answered_at is None
    board.cleaned_up("j", "removed what it left")
    assert intents.intent_by_id(conn, wish).answer == "removed what it left"


def test_a_cancellation_of_a_job_that_ends_by_itself_is_answered_at_the_next_look(make_board):
    board, conn = make_board(make_job("j", C.PREPARING))
    wish = ask(conn, IntentKind.CANCEL, "j")
    board.refresh()
    board.write([Decision(job_id="j", path=(C.INTERNAL_ERROR,), message="Internal error", cause="it failed")])
    board.refresh()
    assert intents.intent_by_id(conn, wish).answer == ALREADY_FINISHED


def test_a_runner_for_some_jobs_also_ends_others_that_wait_and_are_cancelled(make_board):
    board, conn = make_board(make_job("mine"), make_job("other"), make_job("third"), only=lambda rows: {"mine"})
    ask(conn, IntentKind.CANCEL, "other")
    board.refresh()
    assert set(board.jobs) == {"mine", "other"}
    assert board.view("other").not_before == float("inf")


def test_messages_are_masked(make_board):
    board, _ = make_board(make_job("j"), mask=lambda text: text.replace("s3cret", "xxxx"))
    board.refresh()
    (job,) = board.write(
        [Decision(job_id="j", path=(C.INTERNAL_ERROR,), message="Internal error: s3cret", cause="s3cret")]
    )
    assert "s3cret" not in job.status_message


def test_the_verdict_that_is_published_is_the_one_that_is_stored(make_board):
    board, _conn = make_board(make_job("j", C.FINALIZING))
    board.refresh()
    board.record_verdict("j", make_outcome(exit_code=0))
    stored = board.track("j").outcome
    board.record_verdict("j", make_outcome(exit_code=7))
    assert board.track("j").outcome == stored


def test_jobs_that_ended_before_do_not_count_as_ended_now(make_board):
    board, _ = make_board(make_job("j", C.NONZERO_EXIT))
    board.refresh()
    assert [job.id for job in ended_with_leftovers(board, ["j"])] == ["j"]
    assert board.ended == {}


def test_what_a_killed_job_had_is_kept_unless_it_never_started(make_board):
    board, _ = make_board(make_job("ran", C.KILLED_BY_ADMIN, started_at=5), make_job("waited", C.KILLED_BY_ADMIN))
    board.refresh()
    assert [job.id for job in ended_with_leftovers(board, ["ran", "waited"])] == ["waited"]


def test_of_jobs_made_in_the_same_second_the_first_row_is_the_older_one(make_board):
    names = ["d", "b", "e", "a", "c"]
    board, _ = make_board(*(make_job(name) for name in names))
    for expected in names:
        board.refresh()
        decisions = decide(board.views(), replace(board.world(None, draining=False), max_workers=1, provision_ahead=0))
        started = [each.job_id for each in decisions if each.path == (C.PREPARING,)]
        assert started == [expected]
        board.write([Decision(job_id=expected, path=(C.CANCELLED_BY_USER,))])


def test_a_job_that_lacks_now_workers_and_now_database_workers_waits_for_capacity_all_the_while(make_board):
    board, _ = make_board(make_job("j", C.WAITING_ON_DEPENDENCIES, requires_db=True))
    board.refresh()
    board.write([Decision(job_id="j", path=(C.WAITING_ON_WORKERS,))])
    since = board.view("j").code_since
    for code in (C.WAITING_ON_DB_WORKERS, C.WAITING_ON_WORKERS, C.WAITING_ON_DB_WORKERS):
        board.write([Decision(job_id="j", path=(code,))])
        assert board.view("j").code is code
        assert board.view("j").code_since == since
    board.write([Decision(job_id="j", path=(C.WAITING_PAUSED,))])
    paused_since = board.view("j").code_since
    assert paused_since > since
    board.write([Decision(job_id="j", path=(C.WAITING_ON_WORKERS,))])
    assert board.view("j").code_since > paused_since


def test_a_job_that_is_marked_as_cancelled_is_to_be_ended(make_board):
    board, conn = make_board(make_job("j", C.EXECUTING, cancelled=True), make_job("other", C.EXECUTING))
    wish = ask(conn, IntentKind.KILL, "j")
    board.refresh()
    assert [intent.kind for intent in board.view("j").intents] == [IntentKind.CANCEL, IntentKind.KILL]
    board.write([ended_by(board.view("j"), board.view("j").intents[0], effect=None)])
    assert board.ended == {"j": C.CANCELLED_BY_USER}
    assert intents.intent_by_id(conn, wish).answer == "done"
    assert board.view("other").intents == ()


def test_a_row_whose_state_and_code_are_unknown_is_not_an_active_job(make_board, tmp_path):
    board, _ = make_board(make_job("good"), make_job("odd"))
    damage(tmp_path / "db.sqlite", "UPDATE job SET state = 'sleeping', status_code = 'dreaming' WHERE id = 'odd'")
    board.refresh()
    assert list(board.jobs) == ["good"]


def test_a_job_that_waits_before_it_is_tried_again_is_ended_at_once_when_somebody_wants_that(make_board):
    board, conn = make_board(make_job("j", C.PREPARING), make_job("other", C.PREPARING))
    board.refresh()
    for job_id in ("j", "other"):
        board.track(job_id).not_before = time.monotonic() + 1000
    ask(conn, IntentKind.CANCEL, "j")
    board.forget()
    board.refresh()
    decisions = decide(board.views(), board.world(None, draining=False))
    assert [(each.job_id, each.effect) for each in decisions] == [("j", EffectKind.TERMINATE)]

    # An end that fails waits before it is tried again, too.
    board.track("j").not_before = time.monotonic() + 1000
    board.forget()
    board.refresh()
    assert decide(board.views(), board.world(None, draining=False)) == []


def test_when_what_stood_in_the_way_is_gone_everything_is_tried_again(make_board):
    board, _ = make_board(make_job("j", C.PREPARING), make_job("ended", C.KILLED_BY_ADMIN))
    board.refresh()
    board.track("j").not_before = time.monotonic() + 1000
    board.chores.remove("ended", time.monotonic() + 1000)
    assert decide(board.views(), board.world(None, draining=False)) == []
    board.wait_no_longer()
    assert [each.job_id for each in decide(board.views(), board.world(None, draining=False))] == ["j"]
    assert board.take_cleanups() == ["ended"]


def test_a_job_is_finalized_again_by_what_the_executor_says_after_that_was_wanted(make_board):
    job = make_job("j", C.INTERNAL_ERROR, started_at=1)
    board, conn = make_board(job)
    ask(conn, IntentKind.RETRY, "j")
    board.refresh()
    now = time.monotonic()
    # A list from before knows nothing of a container that was made since.
    before = Snapshot(asked_at=now - 1, containers={})
    assert board.needs_snapshot(before)
    board.retry_ended(before)
    assert board.chores.are_waiting
    after = Snapshot(asked_at=now + 1, containers={"j": ContainerState.EXITED})
    assert not board.needs_snapshot(after)
    board.retry_ended(after)
    assert board.jobs["j"].status_code is C.EXECUTED
    assert not board.chores.are_waiting
