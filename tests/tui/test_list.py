"""The list: keys, mouse, marks, filters, and what stays where it is when the table changes."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from textual.color import Color

from jobrunner_cli.engine.states import Legend, StatusCode
from jobrunner_cli.engine.store import changes
from jobrunner_cli.engine.store.database import connect
from jobrunner_cli.engine.store.mapper import insert
from jobrunner_cli.engine.store.queries import job_by_id
from jobrunner_cli.tui.foot import KeyLine
from jobrunner_cli.tui.listing import Grouping, Sorting, group_key
from jobrunner_cli.tui.looks import LEAST_CONTRAST, contrast, looks_of
from support.live_view import View, a_job, settings_at, watching
from support.store import new_database

S = StatusCode


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    """Two workspaces with a few jobs."""
    jobs = [
        a_job("aaaa", S.SUCCEEDED, action="clean"),
        a_job("bbbb", S.NONZERO_EXIT, action="fit", status_message="Job exited with an error: exit code 3"),
        a_job("cccc", S.EXECUTING, action="plot", age=7200),
        a_job("dddd", S.WAITING_ON_WORKERS, action="report", age=7200),
        a_job("eeee", S.CREATED, action="extract", workspace="other", job_request_id="r2", age=7200),
    ]
    new_database(tmp_path, *jobs).close()
    return tmp_path


def test_jobs_are_shown_with_state_name_times_and_message(workdir: Path):
    async def test(view: View) -> None:
        await view.shows("● executing", "plot", "✘ exit error", "◌ no worker", "✔ succeeded", "1h 59m", "3d")
        await view.shows("workspace ws", "4 jobs, 1 pending, 1 running, 1 succeeded, 1 failed, 1 blocked")
        await view.shows("exit code 3")

    watching(settings_at(workdir), test, size=(200, 40))


def test_keys_move_the_cursor_and_the_pane_shows_its_job(workdir: Path):
    async def test(view: View) -> None:
        table = view.main.table
        assert table.cursor == "cccc"
        await view.press("down")
        assert table.cursor == "dddd"
        await view.until(lambda: view.main.pane.facts and view.main.pane.facts.job.id == "dddd", "the job in the pane")
        await view.press("k", "end")
        assert table.cursor == "eeee"
        await view.press("home")
        assert table.cursor == group_key("ws")
        await view.press("pagedown")
        assert table.cursor == "eeee"
        await view.shows("other/extract")

    watching(settings_at(workdir), test)


def test_a_job_can_be_begun_at(workdir: Path):
    async def test(view: View) -> None:
        await view.until(lambda: view.main.pane.facts is not None, "the job in the pane")
        assert view.main.pane.facts.job.id == "bbbb"

    watching(settings_at(workdir), test, first_job="bbbb")


def test_the_filter_follows_what_is_typed_and_escape_takes_it_away(workdir: Path):
    async def test(view: View) -> None:
        await view.press("slash", "f", "i", "t")
        await view.until(lambda: view.listed() == ["bbbb"], "the one that fits")
        await view.shows("1 of 5: “fit”")
        await view.press("enter")
        assert view.main.table.has_focus
        await view.press("escape")
        await view.until(lambda: len(view.listed()) == 5, "all jobs")

    watching(settings_at(workdir), test)


def test_a_filter_that_nothing_fits_leaves_an_empty_list_and_comes_back(workdir: Path):
    async def test(view: View) -> None:
        await view.press("slash", *"zzz")
        await view.until(lambda: not view.listed(), "no job")
        await view.shows("No job is chosen.", "No job matches: “zzz”  (Esc clears)")
        await view.press("escape")
        await view.until(lambda: len(view.listed()) == 5, "all jobs")

    watching(settings_at(workdir), test)


def test_how_the_list_is_narrowed_is_said_on_a_small_screen(workdir: Path):
    async def test(view: View) -> None:
        await view.press("l", "l", "l", "f", "slash", *"ws second")
        await view.shows("0 of 5: only failed, unfinished, “ws second”", "No job matches: only failed, unfinished")

    watching(settings_at(workdir), test, size=(80, 24))


def test_a_field_that_is_typed_in_leaves_other_keys_to_the_foot(workdir: Path):
    async def test(view: View) -> None:
        await view.shows("c Cancel", "? Help")
        await view.press("slash")
        await view.shows("Esc Clear", "Enter To list", "F1 Help")
        await view.press("minus", *"extract")
        await view.until(lambda: "eeee" not in view.listed(), "all but one")
        foot = view.text().splitlines()[-1]
        assert not any(word in foot for word in ("Cancel", "Kill", "Zoom", "Quit", "Legend", "Fold")), foot
        await view.press("escape")
        await view.shows("c Cancel", "? Help")

    watching(settings_at(workdir), test, first_job="cccc")


def test_a_head_has_a_text_about_its_group_in_the_pane(workdir: Path):
    async def test(view: View) -> None:
        await view.press("2", "home")
        await view.shows("keys act on all 4 of it")
        assert view.main.pane.facts is None
        await view.press("A")
        await view.shows("keys act on the 5 marked jobs")
        await view.press("u", "enter")
        await view.shows("it is folded")
        await view.press("enter", "down", "1")
        await view.shows("asked for")

    watching(settings_at(workdir), test)


def test_legend_and_finished_narrow_the_list(workdir: Path):
    async def test(view: View) -> None:
        await view.press("l")
        assert view.main.wanted.legend is Legend.HAPPY
        await view.press("l")
        await view.until(lambda: view.listed() == ["dddd"], "what is blocked")
        await view.press("l")
        await view.until(lambda: view.listed() == ["bbbb"], "what failed")
        await view.press("l", "f")
        await view.until(lambda: view.listed() == ["cccc", "dddd", "eeee"], "what has not ended")
        await view.press("escape")
        await view.until(lambda: len(view.listed()) == 5, "all jobs")

    watching(settings_at(workdir), test)


def test_sorting_and_grouping_go_round(workdir: Path):
    async def test(view: View) -> None:
        for sorting in [*list(Sorting)[1:], Sorting.ACTIVITY]:
            await view.press("s")
            assert view.main.wanted.sorting is sorting
        await view.press("g")
        await view.shows("request r2")
        await view.press("g")
        assert view.main.wanted.grouping is Grouping.FLAT
        await view.shows("other/extract", "5 jobs")
        await view.press("g")
        await view.shows("workspace other")

    watching(settings_at(workdir), test)


def test_enter_folds_a_group_and_unfolds_it(workdir: Path):
    async def test(view: View) -> None:
        await view.press("home", "enter")
        await view.until(lambda: view.listed() == ["eeee"], "a folded group")
        assert view.main.table.cursor == group_key("ws")
        await view.press("enter")
        await view.until(lambda: len(view.listed()) == 5, "an unfolded group")

    watching(settings_at(workdir), test)


def test_marks_are_counted_and_stay_with_their_jobs(workdir: Path):
    async def test(view: View) -> None:
        await view.press("space", "space")
        assert view.main.table.marks == {"cccc", "dddd"}
        await view.shows("2 marked")
        await view.press("s", "g")
        assert {job.id for job in view.main.table.touched()} == {"cccc", "dddd"}
        await view.press("u")
        assert view.main.table.marks == frozenset()
        await view.press("A")
        assert len(view.main.table.marks) == 5
        await view.press("escape")
        assert view.main.table.marks == frozenset()

    watching(settings_at(workdir), test)


def test_a_group_is_marked_at_its_head(workdir: Path):
    async def test(view: View) -> None:
        await view.press("home", "space")
        assert view.main.table.marks == {"aaaa", "bbbb", "cccc", "dddd"}

    watching(settings_at(workdir), test)


def test_the_mouse_moves_marks_and_folds(workdir: Path):
    async def test(view: View) -> None:
        await view.pilot.click("#table", offset=(20, 4))
        assert view.main.table.cursor == view.main.table.listing.keys[3]
        await view.pilot.click("#table", offset=(0, 2))
        assert view.main.table.marks == {view.main.table.listing.keys[1]}
        await view.pilot.click("#table", offset=(5, 1))
        await view.until(lambda: view.listed() == ["eeee"], "a folded group")

    watching(settings_at(workdir), test)


def test_the_cursor_stays_with_its_job_when_others_come_and_jobs_move(workdir: Path):
    async def test(view: View) -> None:
        await view.press("down")
        with closing(connect(workdir / "db.sqlite")) as conn:
            insert(conn, a_job("ffff", S.EXECUTING, action="new_one", age=10))
            job = job_by_id(conn, "dddd")
            changes.advance(
                conn,
                job,
                (S.PREPARING, S.EXECUTING),
                now_ns=job.status_code_updated_at + 1,
                message="Executing",
                cause="",
            )
        await view.shows("new_one")
        await view.until(lambda: view.main.table.current.code is S.EXECUTING, "the new state")
        assert view.main.table.cursor == "dddd"

    watching(settings_at(workdir), test)


def test_the_footer_has_only_keys_that_do_something_now(workdir: Path):
    async def test(view: View) -> None:
        def foot() -> str:
            return view.text().splitlines()[-1]

        await view.shows("c Cancel")
        assert "Retry" not in foot()
        assert "Enter Fold" not in foot()
        await view.press("down", "down")
        assert view.main.table.cursor == "bbbb"
        assert "R Retry" in foot()
        assert "Cancel" not in foot()
        await view.press("home")
        assert "Enter Fold" in foot()

    watching(settings_at(workdir), test)


def test_a_key_of_the_footer_can_be_clicked(workdir: Path):
    async def test(view: View) -> None:
        at = view.text().splitlines()[-1].index("g Group")
        await view.pilot.click("#keys", offset=(at, 0))
        assert view.main.wanted.grouping is Grouping.REQUEST

    watching(settings_at(workdir), test)


def test_keys_of_the_user_replace_those_of_the_program(workdir: Path, tmp_path: Path):
    from jobrunner_cli.tui.preferences import read_preferences

    file = tmp_path / "tui.toml"
    file.write_text('[keys]\nmark = "x"\nsort = "c"\n')

    async def test(view: View) -> None:
        await view.press("x")
        assert view.main.table.marks == {"cccc"}
        await view.press("c")
        assert view.main.wanted.sorting is Sorting.AGE
        await view.press("space")
        assert view.main.table.marks == {"cccc"}

    watching(settings_at(workdir), test, preferences=read_preferences(file))


def test_every_theme_leaves_the_legend_as_it_is(workdir: Path):
    async def test(view: View) -> None:
        for theme in view.app.available_themes:
            view.app.theme = theme
            await view.pilot.pause()
            picture = view.app.export_screenshot()
            for colour in ("#00397a", "#ffdf75", "#b6093d"):
                assert colour in picture, theme

    watching(settings_at(workdir), test)


def test_every_theme_lets_one_read_the_line_under_the_cursor_and_the_keys(workdir: Path):
    async def test(view: View) -> None:
        keys = view.main.query_one(KeyLine)
        for theme in view.app.available_themes:
            view.app.theme = theme
            await view.pilot.pause()
            for style in (looks_of(view.main.table).cursor, keys.rich_style + keys.link_style):
                if style.color is None or style.color.is_default:
                    # The terminal's own text, turned round or on the terminal's own ground.
                    assert style.reverse or style.bgcolor is None or style.bgcolor.is_default, theme
                else:
                    text, ground = (Color.from_rich_color(each) for each in (style.color, style.bgcolor))
                    assert contrast(text, ground) >= LEAST_CONTRAST, (theme, style)

    watching(settings_at(workdir), test)


def test_all_groups_are_folded_and_unfolded_at_once(workdir: Path):
    async def test(view: View) -> None:
        await view.press("minus")
        await view.until(lambda: view.main.table.listing.keys == (group_key("ws"), group_key("other")), "two heads")
        await view.press("minus")
        await view.until(lambda: len(view.listed()) == 5, "all jobs")

    watching(settings_at(workdir), test)


def test_ids_are_copied_to_the_clipboard(workdir: Path):
    async def test(view: View) -> None:
        await view.press("y")
        assert view.app.clipboard == "cccc"
        await view.press("space", "space", "y")
        assert view.app.clipboard == "cccc\ndddd"
        await view.shows("2 ids")

    watching(settings_at(workdir), test)


def test_a_long_workspace_leaves_its_action_to_be_read(tmp_path: Path):
    long = "a-workspace-with-a-name-that-has-no-room-beside-the-action"
    new_database(tmp_path, a_job("aaaa", S.SUCCEEDED, action="fit_model", workspace=long)).close()

    async def test(view: View) -> None:
        await view.press("g", "g")
        await view.shows("…/fit_model")
        await view.press("g", "g")
        await view.shows("request", long)

    watching(settings_at(tmp_path), test, size=(80, 24))


def test_a_narrow_screen_has_all_counts_as_glyphs_and_whole_columns(workdir: Path):
    async def test(view: View) -> None:
        await view.shows("● 1   ○ 1   ◌ 1   ✔ 1   ✘ 1", "TIME  AGE", "1h 59m   2h")

    watching(settings_at(workdir), test, size=(60, 20))


def test_an_empty_list_says_what_makes_jobs_and_its_keys_do_nothing(tmp_path: Path):
    new_database(tmp_path).close()

    async def test(view: View) -> None:
        await view.shows("There are no jobs yet.  (a adds some)")
        assert "Filter" not in view.text().splitlines()[-1]
        assert "Sort" not in view.text().splitlines()[-1]

    watching(settings_at(tmp_path), test)


def test_the_foot_says_how_to_leave_a_filter_or_marks(workdir: Path):
    async def test(view: View) -> None:
        await view.shows("c Cancel")
        assert "Esc" not in view.text().splitlines()[-1]
        await view.press("l")
        await view.shows("Esc Clear")
        await view.press("escape")
        await view.hides("Esc Clear")
        await view.press("space")
        await view.shows("Esc Clear")

    watching(settings_at(workdir), test)


def test_fifty_thousand_jobs_are_shown_and_only_what_is_in_sight_is_drawn(tmp_path: Path):
    codes = [S.SUCCEEDED, S.SUCCEEDED, S.NONZERO_EXIT]
    jobs = [
        a_job(f"{n:08x}", codes[n % 3], action=f"action_{n % 50}", workspace=f"ws{n % 7}", age=1e6 - n)
        for n in range(50_000)
    ]
    new_database(tmp_path, *jobs, a_job("runs", S.EXECUTING, action="plot")).close()

    async def test(view: View) -> None:
        await view.until(lambda: len(view.listed()) == 50_001, "all jobs")
        table = view.main.table
        drawn: set[int] = set()
        draw = table.render_line
        table.render_line = lambda y: (drawn.add(y), draw(y))[1]
        await view.press("end")
        assert table.cursor == table.listing.keys[-1]
        assert max(drawn) < 36
        await view.press("slash", *"action_49")
        await view.until(lambda: view.main.table.listing.shown == 1000, "the jobs of one action")
        await view.press("enter", "A")
        assert len(table.marks) == 1000

    watching(settings_at(tmp_path), test)
