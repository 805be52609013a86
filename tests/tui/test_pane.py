"""The pane: details with reasons and timeline, log, graph, outputs."""

from __future__ import annotations

import json
import re
import shlex
import sqlite3
import stat
import time
from contextlib import closing
from pathlib import Path

import pytest
from textual.widgets import Static

from jobrunner_cli.engine.states import Legend, StatusCode
from jobrunner_cli.engine.store import changes
from jobrunner_cli.tui.feed import Feed
from jobrunner_cli.tui.listing import Grouping, group_key
from jobrunner_cli.tui.logfeed import MOST_LINES
from jobrunner_cli.tui.pane import Tab
from support.live_view import View, a_job, settings_at, watching
from support.store import new_database

S = StatusCode


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    """A small pipeline: one ended, one failed, one that waits."""
    clean = a_job("aaaa", S.SUCCEEDED, action="clean")
    fit = a_job("bbbb", S.NONZERO_EXIT, action="fit", requires_outputs_from=("clean",), status_message="exit code 3")
    extract = a_job("cccc", S.WAITING_ON_WORKERS, action="extract", age=7200)
    report = a_job(
        "dddd", S.WAITING_ON_DEPENDENCIES, action="report", age=7200,
        requires_outputs_from=("clean", "extract"), wait_for_job_ids=("cccc",),
    )  # fmt: skip
    with closing(new_database(tmp_path, clean, fit, extract, report)) as conn:
        changes.pause(conn, "job", "cccc", time.time())
    month = time.strftime("%Y-%m", time.gmtime(fit.completed_at))
    log = tmp_path / "high_privacy" / "logs" / month / "os-job-bbbb" / "logs.txt"
    log.parent.mkdir(parents=True)
    stamp = "2026-01-02T03:04:05.000000000Z"
    lines = [f"{stamp} line {n} of the fit {'and so on ' * 30 if n == 7 else ''}" for n in range(1, 301)]
    log.write_text("\n".join([*lines, f"{stamp} \x1b[31mred\x1b[0m \x1b]0;title\x07end", "", "", "exit_code: 3", ""]))
    return tmp_path


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


def test_a_log_is_shown_from_its_end_searched_and_wrapped(workdir: Path):
    async def test(view: View) -> None:
        log = view.main.pane.log_pane
        await view.press("2")
        await view.shows(r"red \x1b]0;title\x07end")
        assert log.lines[0] == "line 1 of the fit "
        await view.press("ctrl+f", *"line 7 of")
        await view.shows("line 7 of the fit and so on", "hit 1/1")
        assert not log.follows
        wrapped = log.virtual_size.height
        await view.press("escape", "w")
        assert log.virtual_size.height < wrapped
        await view.press("F")
        assert log.follows
        await view.shows("exit_code: 3")

    watching(settings_at(workdir), test, first_job="bbbb", size=(100, 40))


def test_hits_are_counted_and_those_far_to_the_right_are_brought_into_sight(workdir: Path):
    async def test(view: View) -> None:
        log = view.main.pane.log_pane
        await view.press("2")
        await view.until(lambda: log.lines, "the log")
        await view.press("w", "tab", "home", "ctrl+f", *"line 2")
        await view.shows("hit 1/111")
        await view.press("enter", "enter")
        await view.shows("hit 3/111")
        # Each letter narrows it down from where the search began.
        await view.press("escape", "end", *["pageup"] * 3, "ctrl+f", "l")
        await view.until(lambda: log.found[0] > 1, "a hit in the middle")
        first = log.found[0]
        await view.press(*"ine")
        await view.until(lambda: log.needle == "line", "all of the word")
        assert log.found[0] == first
        await view.press("escape", "ctrl+f", *"nowhere")
        await view.shows("no hit")
        log.extend(["x" * 300 + "far away"])
        log.search("far away")
        await view.shows("far away", "hit 1/1")

    watching(settings_at(workdir), test, first_job="bbbb", size=(100, 40))


def test_hits_of_a_log_that_goes_on_are_those_of_the_lines_that_are_still_there(workdir: Path):
    async def test(view: View) -> None:
        log = view.main.pane.log_pane
        await view.press("2")
        await view.until(lambda: log.lines, "the log")
        view.main.close_log()
        log.clear()
        # Every second line is a hit, and there are as many as there may be.
        log.extend([f"{'even' if n % 2 == 0 else 'odd'} {n}" for n in range(MOST_LINES)])
        await view.press("ctrl+f", *"even")
        await view.shows("hit 1/10,000")
        assert log.next_hit(1) == (2, 10_000)
        assert log.next_hit(1) == (3, 10_000)
        for n in range(MOST_LINES, MOST_LINES + 40, 10):
            log.extend([f"{'even' if n < MOST_LINES + 20 else 'nothing'} {m}" for m in range(n, n + 10)])
        # 20 even ones have gone, that at which it was among them, and 20 have come.
        assert len(log.lines) == MOST_LINES
        await view.shows("10,000 hits")
        assert log.found == (0, sum("even" in line for line in log.lines))
        # The one at which it is stays that, and stays in sight.
        assert log.search("even 9000") == 1
        top = log.lines[log.scroll_offset.y]
        log.extend(["even 9000 again"] * 10)
        assert log.found == (1, 11)
        await view.shows("hit 1/11")
        assert log.lines[log.scroll_offset.y] == top
        log.extend([f"even {n}" for n in range(MOST_LINES + 5000)])
        assert (len(log.lines), log.found) == (MOST_LINES, (0, 1))

    watching(settings_at(workdir), test, first_job="bbbb", size=(100, 40))


def test_a_log_that_follows_says_so_and_one_that_is_empty_has_no_keys(workdir: Path):
    async def test(view: View) -> None:
        await view.press("2")
        await view.until(lambda: view.main.pane.log_pane.lines, "the log")
        await view.press("F")
        await view.shows("↓ follows", "F Stay")
        await view.press("F")
        await view.shows("F Follow", "^F Search")
        await view.hides("↓ follows")
        view.main.table.go_to("cccc")
        await view.shows("it has not started yet")
        await view.hides("^F Search")
        assert "F Follow" not in view.text()
        assert "v Pager" not in view.text()

    watching(settings_at(workdir), test, first_job="bbbb", size=(200, 40))


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


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
def test_the_log_of_a_finished_job_opens_at_what_it_printed_last(workdir: Path, size: tuple[int, int]):
    async def test(view: View) -> None:
        log = view.main.pane.log_pane
        await view.press("2")
        await view.until(lambda: "exit_code: 3" in log.lines, "all of the log")
        for keys in ((), ("z",), ("z", "z")):
            await view.press(*keys)
            await view.shows(r"title\x07end")
            assert "exit_code: 3" not in view.text()
            assert log.scroll_offset.y + log.size.height == log._starts[log.lines.index("exit_code: 3") - 2]
        await view.press("tab", "pagedown")
        await view.shows("exit_code: 3")

    watching(settings_at(workdir), test, first_job="bbbb", size=size)


def test_hits_are_gone_through_in_both_directions(workdir: Path):
    async def test(view: View) -> None:
        await view.press("2")
        await view.shows(r"title\x07end")
        await view.press("ctrl+f", *"line 1", "enter", "escape")
        log = view.main.pane.log_pane
        assert log.search("line 20") == 11
        assert log.next_hit(1)[1] == 11
        first = log.next_hit(1)[0]
        assert log.next_hit(-1)[0] == first - 1

    watching(settings_at(workdir), test, first_job="bbbb", size=(100, 40))


def test_a_job_without_a_log_says_why(workdir: Path):
    async def test(view: View) -> None:
        await view.press("2")
        await view.shows("(it has not started yet)")

    watching(settings_at(workdir), test, first_job="cccc")


def test_another_job_has_another_log(workdir: Path):
    async def test(view: View) -> None:
        await view.shows(r"title\x07end")
        view.main.table.go_to("dddd")
        await view.hides(r"title\x07end")
        await view.shows("(it has not started yet)")

    watching(settings_at(workdir), test, first_job="bbbb", first_tab=Tab.LOG)


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


def test_the_pager_gets_the_whole_log(workdir: Path, tmp_path: Path):
    from jobrunner_cli.tui import pager

    script = tmp_path / "pager.sh"
    script.write_text(f"#!/bin/sh\ncat > {tmp_path}/paged\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    assert pager.feed(settings_at(workdir), "bbbb", [str(script)])
    paged = (tmp_path / "paged").read_text().splitlines()
    assert paged[0] == "line 1 of the fit "
    assert paged[300] == r"red \x1b]0;title\x07end"
    assert not pager.feed(settings_at(workdir), "cccc", [str(script)])


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
