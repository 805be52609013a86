"""Which jobs the list shows, in which order and groups."""

from __future__ import annotations

import pytest

from jobrunner_cli.engine.states import Legend, State, StatusCode
from jobrunner_cli.engine.store.overview import CODES, Brief
from jobrunner_cli.tui.listing import Grouping, Listing, Sorting, Wanted, group_key, is_group, make_listing

S = StatusCode
FLAT = Grouping.FLAT


def brief(job_id: str, code: StatusCode, row: int, **fields) -> Brief:
    values = {
        "request": "req",
        "workspace": "ws",
        "action": job_id,
        "requires_db": False,
        "created_at": row,
        "started_at": None,
        "completed_at": None,
        "message": "",
    }
    return Brief(id=job_id, place=CODES.index(code), row=row, **(values | fields))


JOBS = {
    job.id: job
    for job in (
        brief("clean", S.SUCCEEDED, 1, started_at=10, completed_at=500),
        brief("fit", S.NONZERO_EXIT, 2, started_at=20, completed_at=30, message="exit code 3"),
        brief("plot", S.EXECUTING, 3, workspace="other", request="r2", started_at=40),
        brief("report", S.WAITING_PAUSED, 4, workspace="other", request="r2"),
        brief("extract", S.CREATED, 5),
    )
}


def listing(usage=None, **wanted) -> Listing:
    return make_listing(JOBS, Wanted(**wanted), usage or {})


def ids(**wanted) -> list[str]:
    return [key for key in listing(grouping=FLAT, **wanted).keys if not is_group(key)]


def test_what_runs_comes_first_then_what_waits_then_the_newest():
    assert ids() == ["plot", "extract", "report", "fit", "clean"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("other/", {"plot", "report"}),
        ("FIT", {"fit"}),
        ("failed", {"fit"}),
        ("executing", {"plot"}),
        ("code 3", {"fit"}),
        ("r2", {"plot", "report"}),
        ("other report", {"report"}),
        ("-other -fit", {"clean", "extract"}),
        ("nothing-like-this", set()),
        ("-", set()),
        ("  ", set(JOBS)),
    ],
)
def test_a_filter_is_words_that_all_have_to_be_there(text: str, found: set[str]):
    assert set(ids(text=text)) == found


def test_the_legend_and_unfinished_jobs_filter_too():
    assert ids(legend=Legend.BLOCKED) == ["report"]
    assert ids(legend=Legend.ERROR) == ["fit"]
    assert set(ids(hide_finished=True)) == {"plot", "report", "extract"}


@pytest.mark.parametrize(
    ("sorting", "order"),
    [
        (Sorting.AGE, ["extract", "report", "plot", "fit", "clean"]),
        (Sorting.TIME, ["plot", "clean", "fit"]),
        (Sorting.NAME, ["plot", "report", "clean", "extract", "fit"]),
        (Sorting.STATE, ["extract", "report", "plot", "clean", "fit"]),
    ],
)
def test_orders(sorting: Sorting, order: list[str]):
    assert ids(sorting=sorting)[: len(order)] == order


def test_order_by_use_of_memory_takes_the_samples():
    jobs = {name: brief(name, S.EXECUTING, row) for row, name in enumerate("abc")}
    usage = {"a": {"mem_mb_sample": 5}, "b": {"mem_mb_sample": 50.5}, "c": {"mem_mb_sample": None}}
    found = make_listing(jobs, Wanted(grouping=FLAT, sorting=Sorting.MEMORY), usage)
    assert found.keys == ("b", "a", "c")


def test_groups_with_something_running_come_first_and_heads_count():
    found = listing()
    assert found.keys == (group_key("other"), "plot", "report", group_key("ws"), "extract", "fit", "clean")
    head = found.heads[group_key("other")]
    assert (head.counts, head.blocked) == ({State.RUNNING: 1, State.PENDING: 1}, 1)
    assert listing(grouping=Grouping.REQUEST).keys[0] == group_key("r2")


def test_a_folded_group_is_its_head_and_still_counts():
    found = listing(folded=frozenset({"ws"}))
    assert found.keys == (group_key("other"), "plot", "report", group_key("ws"))
    assert found.shown == len(JOBS)


def test_counts_are_of_all_jobs_whatever_is_filtered():
    found = listing(text="nothing-like-this")
    assert (found.shown, found.total) == (0, 5)
    assert found.states[State.FAILED] == 1
    assert found.legend[Legend.BLOCKED] == 1
