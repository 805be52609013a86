"""Which jobs a filter lets through, in which order, in databases of every age."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from jobrunner_cli.engine.states import ACTIVE_CODES, TABLE, State, StatusCode, state_of
from jobrunner_cli.engine.store.filtering import JobFilter, filtered_ids, filtered_jobs
from jobrunner_cli.engine.store.models import Job
from support.store import make_job, new_database

FAILED = frozenset(code for code in TABLE if state_of(code) is State.FAILED)

jobs = st.lists(
    st.builds(
        lambda code, workspace, action, request, age: (code, workspace, action, request, age),
        st.sampled_from(list(TABLE)),
        st.sampled_from("vw"),
        st.sampled_from("ab"),
        st.sampled_from("qr"),
        st.integers(0, 3),
    ),
    max_size=12,
)
filters = st.builds(
    JobFilter,
    workspace=st.sampled_from([None, "v", "w"]),
    action=st.sampled_from([None, "a"]),
    request=st.sampled_from([None, "q"]),
    codes=st.one_of(st.none(), st.just(FAILED), st.just(ACTIVE_CODES), st.frozensets(st.sampled_from(list(TABLE)))),
    since=st.sampled_from([None, 1002]),
)


def lets_through(wanted: JobFilter, job: Job) -> bool:
    return (
        wanted.workspace in {None, job.workspace}
        and wanted.action in {None, job.action}
        and wanted.request in {None, job.job_request_id}
        and (wanted.codes is None or job.status_code in wanted.codes)
        and (wanted.since is None or job.created_at >= wanted.since)
    )


def liveliness(job: Job) -> int:
    """What runs comes before what waits, and that before what has ended."""
    return {State.RUNNING: 2, State.PENDING: 1}.get(state_of(job.status_code), 0)


@settings(max_examples=60, deadline=None)
@given(made=jobs, wanted=filters, limit=st.sampled_from([None, 0, 1, 3]))
def test_filter_lets_through_just_what_it_says(
    tmp_path_factory, made: list[tuple[StatusCode, str, str, str, int]], wanted: JobFilter, limit: int | None
):
    rows = [
        make_job(f"j{n}", code, workspace=ws, action=action, job_request_id=request, created_at=1000 + age)
        for n, (code, ws, action, request, age) in enumerate(made)
    ]
    conn = new_database(tmp_path_factory.mktemp("table"), *rows)
    order = {job.id: (liveliness(job), job.created_at, n) for n, job in enumerate(rows)}
    expected = sorted((job.id for job in rows if lets_through(wanted, job)), key=order.__getitem__, reverse=True)
    assert filtered_ids(conn, wanted, limit=limit) == expected[:limit]
    conn.close()


def test_finished_rows_without_a_code_are_found_by_their_state(tmp_path: Path):
    conn = new_database(tmp_path, make_job("old", StatusCode.NONZERO_EXIT), make_job("new"))
    conn.execute("UPDATE job SET status_code = NULL WHERE id = 'old'")
    assert [job.id for job in filtered_jobs(conn, JobFilter(codes=FAILED))] == ["old"]
    assert filtered_ids(conn, JobFilter(codes=ACTIVE_CODES)) == ["new"]
    conn.close()


def test_unfinished_jobs_are_found_through_the_index_of_unfinished_ones(tmp_path: Path):
    conn = new_database(tmp_path, make_job("new"))
    asked: list[str] = []
    conn.set_trace_callback(asked.append)
    filtered_ids(conn, JobFilter(codes=ACTIVE_CODES, workspace="ws"))
    conn.set_trace_callback(None)
    (query,) = [statement for statement in asked if "FROM job" in statement]
    plan = [row["detail"] for row in conn.execute(f"EXPLAIN QUERY PLAN {query}")]
    assert not any(step.startswith("SCAN job") and "INDEX" not in step for step in plan), plan
    conn.close()
