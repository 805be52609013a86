"""The log in the pane: shown from its end, followed, searched, in the pager."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from jobrunner_cli.tui.logfeed import MOST_LINES
from jobrunner_cli.tui.pane import Tab
from support.live_view import View, settings_at, watching
from support.small_pipeline import workdir

__all__ = ["workdir"]


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
