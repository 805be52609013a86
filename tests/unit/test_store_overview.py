"""All jobs in brief: later looks find what is new, what moved and what ended."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from jobrunner_cli.engine.states import StatusCode
from jobrunner_cli.engine.store import changes
from jobrunner_cli.engine.store.mapper import insert
from jobrunner_cli.engine.store.overview import Overview
from jobrunner_cli.engine.store.queries import job_by_id
from support.store import NOW_NS, make_job, new_database

S = StatusCode


def move(conn, job_id, *path, message=None):
    changes.advance(conn, job_by_id(conn, job_id), path, now_ns=NOW_NS + 10**9, message=message, cause="test")


def test_first_look_has_everything(tmp_path: Path):
    with closing(
        new_database(tmp_path, make_job("a", S.SUCCEEDED), make_job("b", S.EXECUTING, requires_db=True))
    ) as conn:
        overview = Overview()
        assert overview.look(conn) == {"a", "b"}
        assert overview.jobs["b"].requires_db
        assert [overview.jobs[job_id].code for job_id in "ab"] == [S.SUCCEEDED, S.EXECUTING]


def test_later_looks_tell_what_is_another_one(tmp_path: Path):
    with closing(new_database(tmp_path, make_job("a", S.EXECUTING), make_job("b", S.SUCCEEDED))) as conn:
        overview = Overview()
        overview.look(conn)
        assert overview.look(conn) == set()
        insert(conn, make_job("c"))
        assert overview.look(conn) == {"c"}
        move(conn, "a", S.FINALIZING, S.SUCCEEDED, message="Completed successfully")
        assert overview.look(conn) == {"a"}
        assert (overview.jobs["a"].code, overview.jobs["a"].message) == (S.SUCCEEDED, "Completed successfully")


def test_a_job_that_came_and_ended_between_two_looks_is_there(tmp_path: Path):
    with closing(new_database(tmp_path, make_job("a", S.SUCCEEDED))) as conn:
        overview = Overview()
        overview.look(conn)
        insert(conn, make_job("b", S.NONZERO_EXIT))
        assert overview.look(conn) == {"b"}


def test_a_retried_job_is_active_again(tmp_path: Path):
    with closing(new_database(tmp_path, make_job("a", S.INTERNAL_ERROR))) as conn:
        overview = Overview()
        overview.look(conn)
        move(conn, "a", S.EXECUTED)
        assert overview.look(conn) == {"a"}
        move(conn, "a", S.FINALIZING, S.SUCCEEDED)
        assert overview.look(conn) == {"a"}


def test_an_active_row_that_is_removed_is_gone(tmp_path: Path):
    with closing(new_database(tmp_path, make_job("a"), make_job("b"))) as conn:
        overview = Overview()
        overview.look(conn)
        conn.execute("DELETE FROM job WHERE id = 'a'")
        assert overview.look(conn) == {"a"}
        assert set(overview.jobs) == {"b"}


def test_what_is_too_old_is_counted_and_active_jobs_are_never_too_old(tmp_path: Path):
    jobs = [make_job("old", S.EXECUTING), *(make_job(f"j{n}", S.SUCCEEDED) for n in range(10))]
    with closing(new_database(tmp_path, *jobs)) as conn:
        overview = Overview(most_finished=3)
        overview.look(conn)
        assert set(overview.jobs) == {"old", "j7", "j8", "j9"}
        assert overview.older == 7
