"""The pane: details with reasons and timeline, graph, the way to what holds a job up."""

from __future__ import annotations

import json
import re
import shlex
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from textual.widgets import Static

from jobrunner_cli.engine.states import Legend, StatusCode
from jobrunner_cli.engine.store import changes
from jobrunner_cli.tui.feed import Feed
from jobrunner_cli.tui.listing import Grouping, group_key
from support.live_view import View, a_job, settings_at, watching
from support.small_pipeline import workdir

__all__ = ["workdir"]

S = StatusCode


def test_details_say_why_a_job_waits_and_for_whom(workdir: Path):
    async def test(view: View) -> None:
        await view.shows("it needs extract (cccc), which waits: ", "waits for", "no runner is at work")

    watching(settings_at(workdir), test, first_job="dddd", size=(200, 50))


def test_details_name_the_failure_at_the_end_of_the_chain(workdir: Path):
    from jobrunner_cli.engine.store.database import connect
    from jobrunner_cli.engine.store.mapper import insert

    with closing(connect(workdir / "db.sqlite")) as conn:
        insert(conn, a_job("eeee", S.DEPENDENCY_FAILED, action="plot", wait_for_job_ids=("bbbb",)))
        insert(conn, a_job("ffff", S.DEPENDENCY_FAILED, action="paper", wait_for_job_ids=("eeee",)))

    async def test(view: View) -> None:
        await view.shows(
            "it needs plot (eeee), which needs fit (bbbb), which failed: exit code 3", "jobs why bbbb", r"title\x07end"
        )

    watching(settings_at(workdir), test, first_job="ffff", size=(220, 50))


def test_times_of_what_is_waited_for_go_on_while_nothing_is_written(workdir: Path):
    from jobrunner_cli.engine.store.database import connect
    from jobrunner_cli.engine.store.mapper import insert

    with closing(connect(workdir / "db.sqlite")) as conn:
        insert(conn, a_job("eeee", S.EXECUTING, action="busy", age=1, status_code_updated_at=time.time_ns()))
        insert(conn, a_job("ffff", S.WAITING_ON_DEPENDENCIES, action="paper", wait_for_job_ids=("eeee",)))

    async def test(view: View) -> None:
        def seconds() -> int:
            found = re.search(r"which is executing, for (\d+)s", view.text())
            return int(found[1]) if found else -1

        await view.until(lambda: seconds() >= 0, "for how long it runs")
        before = seconds()
        await view.until(lambda: seconds() > before + 1, "a later time")

    watching(settings_at(workdir), test, first_job="ffff", size=(200, 50))


def test_the_command_is_shown_as_people_write_it(workdir: Path):
    from jobrunner_cli.engine.store.database import connect
    from jobrunner_cli.engine.store.mapper import insert

    with closing(connect(workdir / "db.sqlite")) as conn:
        command = shlex.join(["python:v2", "sh", "-c", "echo 'hello'"])
        insert(conn, a_job("eeee", S.SUCCEEDED, action="greet", run_command=command))

    async def test(view: View) -> None:
        await view.shows("""python:v2 sh -c "echo 'hello'\"""")

    watching(settings_at(workdir), test, first_job="eeee", size=(200, 50))


def test_a_paused_job_is_marked_and_says_so(workdir: Path):
    async def test(view: View) -> None:
        await view.shows("extract ‖", "is paused since")

    watching(settings_at(workdir), test, first_job="cccc", size=(200, 50))


def test_the_timeline_grows_while_one_looks(workdir: Path):
    from jobrunner_cli.engine.store.database import connect
    from jobrunner_cli.engine.store.queries import job_by_id

    async def test(view: View) -> None:
        await view.shows("ws/extract")
        with closing(connect(workdir / "db.sqlite")) as conn:
            job = job_by_id(conn, "cccc")
            changes.advance(conn, job, (S.PREPARING,), now_ns=time.time_ns(), message="Preparing", cause="its turn")
        await view.shows("● preparing", "its turn", "has run for")

    watching(settings_at(workdir), test, first_job="cccc", size=(200, 50))


def test_samples_of_a_running_job_are_shown(workdir: Path):
    with closing(sqlite3.connect(workdir / "metrics.sqlite")) as metrics:
        metrics.execute("CREATE TABLE jobs (id TEXT PRIMARY KEY, metrics TEXT)")
        sample = {"cpu_sample": 87.4, "cpu_mean": 50, "cpu_peak": 99, "mem_mb_sample": 512.2, "mem_mb_peak": 800}
        metrics.execute("INSERT INTO jobs VALUES ('eeee', ?)", (json.dumps(sample),))
        metrics.commit()
    from jobrunner_cli.engine.store.database import connect
    from jobrunner_cli.engine.store.mapper import insert

    with closing(connect(workdir / "db.sqlite")) as conn:
        insert(conn, a_job("eeee", S.EXECUTING, action="busy", age=100))

    async def test(view: View) -> None:
        await view.shows("CPU", "87%", "512M", "now 87 %, mean 50 %, peak 99 %", "peak 800 MiB")

    watching(settings_at(workdir), test, first_job="eeee", size=(160, 40))


def test_the_graph_has_what_a_job_needs_and_what_needs_it(workdir: Path):
    async def test(view: View) -> None:
        await view.press("3")
        await view.shows("✔ succeeded", "report", "waiting ◂")
        graph = view.main.pane.query_one("#graph", Static).render().plain
        assert "extract" in graph
        assert "fit" not in graph

    watching(settings_at(workdir), test, first_job="dddd", size=(160, 40))


@pytest.mark.parametrize("narrowed", [False, True])
def test_one_key_goes_to_the_job_that_holds_it_up(workdir: Path, narrowed: bool):
    async def test(view: View) -> None:
        await view.until(lambda: view.main.pane.facts, "the job in the pane")
        if narrowed:
            await view.press("slash", *"report", "enter")
            await view.until(lambda: view.listed() == ["dddd"], "the one that fits")
        await view.shows("b Blocker")
        await view.press("b")
        await view.until(lambda: view.main.table.cursor == "cccc", "the cursor at the blocker")
        await view.shows("ws/extract", "is paused since")

    watching(settings_at(workdir), test, first_job="dddd", size=(200, 50))


@pytest.mark.parametrize("hides", ["filter", "fold"])
def test_only_what_hides_the_blocker_is_undone(workdir: Path, hides: str):
    from jobrunner_cli.engine.store.database import connect
    from jobrunner_cli.engine.store.mapper import insert

    with closing(connect(workdir / "db.sqlite")) as conn:
        insert(conn, a_job("eeee", S.CREATED, action="first", job_request_id="r1", age=50))
        insert(conn, a_job("ffff", S.CREATED, action="second", job_request_id="r2", age=40, wait_for_job_ids=("eeee",)))

    async def test(view: View) -> None:
        table = view.main.table
        await view.press("g", "f")
        await view.shows("request r1")
        if hides == "fold":
            table.go_to(group_key("r1"))
            await view.press("enter")
            table.go_to("ffff")
        else:
            await view.press("slash", *"second", "enter")
        await view.until(lambda: "eeee" not in view.listed(), "a list without the blocker")
        await view.until(lambda: view.main.pane.facts and view.main.pane.facts.cause == "eeee", "the blocker")
        await view.press("b")
        await view.until(lambda: table.cursor == "eeee", "the cursor at the blocker")
        wanted = view.main.wanted
        assert (wanted.hide_finished, wanted.grouping, wanted.text) == (True, Grouping.REQUEST, "")
        assert not view.main.query_one("#filter").display

    watching(settings_at(workdir), test, first_job="ffff", size=(200, 50))


def test_a_blocker_that_the_list_does_not_have_is_said_to_be_absent(workdir: Path, monkeypatch: pytest.MonkeyPatch):
    from jobrunner_cli.engine.store.database import connect
    from jobrunner_cli.engine.store.mapper import insert

    # As where there are more than a hundred thousand newer ones.
    monkeypatch.setitem(Feed.__init__.__kwdefaults__, "most_finished", 1)
    with closing(connect(workdir / "db.sqlite")) as conn:
        insert(conn, a_job("eeee", S.DEPENDENCY_FAILED, action="plot", age=60, wait_for_job_ids=("bbbb",)))

    async def test(view: View) -> None:
        await view.shows("it needs fit (bbbb), which failed", "b Blocker")
        assert "bbbb" not in view.listed()
        await view.press(*"lllb")
        await view.shows("bbbb is not in the list")
        assert view.main.wanted.legend is Legend.ERROR

    watching(settings_at(workdir), test, first_job="eeee", size=(200, 50))


def test_the_cursor_goes_nowhere_by_itself_once_the_user_has_moved_it(workdir: Path):
    async def test(view: View) -> None:
        table = view.main.table
        await view.press("slash", *"report", "enter")
        await view.until(lambda: view.listed() == ["dddd"], "the one that fits")
        table.go_to_soon("cccc")
        await view.press("down", "escape")
        await view.until(lambda: "cccc" in view.listed(), "all jobs")
        assert table.cursor == "dddd"

    watching(settings_at(workdir), test, first_job="dddd", size=(200, 50))


def test_what_has_no_room_in_a_line_goes_on_in_its_column(workdir: Path):
    async def test(view: View) -> None:
        await view.shows("why       no runner is at work on", "it needs extract (cccc)")
        lines = view.text().splitlines()
        first = next(n for n, line in enumerate(lines) if line.startswith(" why "))
        assert lines[first + 1].startswith(" " * 11)
        assert lines[first + 1][11] != " "

    watching(settings_at(workdir), test, first_job="dddd", size=(60, 30))


def test_the_pane_can_have_the_whole_screen(workdir: Path):
    async def test(view: View) -> None:
        await view.press("z")
        assert not view.main.table.display or view.main.has_class("only-pane")
        await view.hides("workspace ws")
        await view.press("z")
        await view.shows("workspace ws")
        await view.hides("1 Details")
        await view.press("z")
        await view.shows("workspace ws", "1 Details")

    watching(settings_at(workdir), test, size=(80, 24))


def test_tab_goes_from_the_list_to_the_pane_and_back(workdir: Path):
    async def test(view: View) -> None:
        await view.press("tab")
        assert view.main.pane.has_focus_within
        await view.press("tab")
        assert view.main.table.has_focus
        await view.hides("Esc")
        await view.press("tab", "l")
        await view.shows("Esc Clear")
        await view.press("escape")
        await view.shows("Esc To list")
        assert view.main.pane.has_focus_within
        await view.press("escape")
        assert view.main.table.has_focus

    watching(settings_at(workdir), test)
