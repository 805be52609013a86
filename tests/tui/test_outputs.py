"""The outputs in the pane: listed, chosen with keys and mouse, copied, opened, with the refusals of `jobs outputs`."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from textual.widgets import Checkbox, Input

from jobrunner_cli.engine.states import StatusCode
from jobrunner_cli.engine.store import changes
from jobrunner_cli.engine.store.database import connect
from jobrunner_cli.engine.store.mapper import insert
from jobrunner_cli.engine.store.models import Result
from jobrunner_cli.engine.store.outcomes import outcome_to_json
from jobrunner_cli.tui.copying import CopyTo
from jobrunner_cli.tui.preferences import Preferences
from jobrunner_cli.tui.registry import resolve
from support.live_view import View, a_job, settings_at, watching
from support.store import make_outcome, new_database

S = StatusCode
PATHS = ["output/ages.csv", "output/deep/patients.csv", "output/plot.png"]


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    """A job with three outputs, one of which was held back."""
    outcome = make_outcome()
    outputs = tuple(replace(outcome.outputs[0], path=path, size=2048, row_count=12, col_count=3) for path in PATHS)
    clean = a_job(
        "aaaa", S.SUCCEEDED, action="clean", outputs=dict.fromkeys(PATHS, "moderately_sensitive"),
        level4_excluded_files={PATHS[1]: "it has a patient_id column"},
    )  # fmt: skip
    with closing(new_database(tmp_path, clean, a_job("bbbb", S.CREATED, action="report", age=100))) as conn:
        verdict = outcome_to_json(replace(outcome, outputs=outputs, unmatched_patterns=("out/*.txt",)))
        insert(conn, Result(job_id="aaaa", outcome=verdict, recorded_at=time.time_ns()))
    for path in PATHS:
        file = tmp_path / "high_privacy/workspaces/ws" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"this is {path}\n")
    return tmp_path


async def in_the_list(view: View) -> None:
    await view.press("4")
    await view.shows("output/ages.csv")
    await view.press("tab")


async def ask_where(view: View, place: Path | str) -> None:
    await view.press("C")
    await view.until(lambda: isinstance(view.app.screen, CopyTo), "the dialog")
    view.app.screen.query_one("#to", Input).value = str(place)
    await view.press("enter")


def test_outputs_name_size_level_and_what_was_held_back(workdir: Path):
    async def test(view: View) -> None:
        await view.press("4")
        await view.shows("output/ages.csv", "2.0 KiB  moderately sensitive  12 × 3")
        await view.shows("held back: it has a patient_id column", "no match for out/*.txt", "a link to the outside")

    watching(settings_at(workdir), test, first_job="aaaa", size=(160, 40))


def test_one_is_chosen_with_keys_and_with_the_mouse(workdir: Path):
    async def test(view: View) -> None:
        pane = view.main.pane.outputs_pane
        await in_the_list(view)
        assert pane.chosen == PATHS[0]
        await view.press("down", "j")
        await view.shows("▸ output/plot.png")
        await view.press("end", "down")
        assert pane.chosen == PATHS[2]
        await view.press("home")
        assert pane.chosen == PATHS[0]
        # The second row of the second output: why it was held back.
        await view.pilot.click(pane, offset=(10, 2))
        assert pane.chosen == PATHS[1]

    watching(settings_at(workdir), test, first_job="aaaa", size=(160, 40))


def test_another_job_has_other_outputs(workdir: Path):
    async def test(view: View) -> None:
        await in_the_list(view)
        await view.press("down", "tab")
        view.main.table.go_to("bbbb")
        await view.shows("It has not stored anything yet.")
        assert view.main.pane.outputs_pane.chosen is None
        assert "Copy" not in view.text()

    watching(settings_at(workdir), test, first_job="aaaa", size=(160, 40))


def test_many_outputs_are_scrolled_through(tmp_path: Path):
    paths = [f"output/{n:03}-{'long-' * 20}.csv" for n in range(200)]
    new_database(
        tmp_path, a_job("aaaa", S.SUCCEEDED, action="clean", outputs=dict.fromkeys(paths, "highly_sensitive"))
    ).close()

    async def test(view: View) -> None:
        await view.press("4")
        await view.shows("000-long")
        await view.press("tab", "end")
        await view.shows("▸ output/199-long", "workspaces/ws")
        await view.press("pageup")
        assert view.main.pane.outputs_pane.chosen not in {paths[0], paths[199]}
        await view.press("home", *["down"] * 20)
        await view.shows("▸ output/020-long")

    watching(settings_at(tmp_path), test, first_job="aaaa", size=(80, 24))


def test_one_is_copied_into_a_directory_for_its_user_alone(workdir: Path, tmp_path: Path):
    place = tmp_path / "copies"
    place.mkdir()

    async def test(view: View) -> None:
        await in_the_list(view)
        await view.press("down")
        await ask_where(view, place)
        await view.until(lambda: view.app.screen is view.main, "the end of the dialog")
        await view.shows("is copied")

    watching(settings_at(workdir), test, first_job="aaaa", size=(160, 40))
    (copy,) = place.iterdir()
    assert copy.name == "patients.csv"
    assert copy.read_text() == "this is output/deep/patients.csv\n"
    assert copy.stat().st_mode & 0o077 == 0


def test_the_chosen_one_is_copied_from_the_list_of_jobs_too(workdir: Path):
    async def test(view: View) -> None:
        await in_the_list(view)
        await view.press("down", "tab")
        assert view.main.table.has_focus
        await view.shows("o Open", "C Copy")
        await view.press("C")
        await view.until(lambda: isinstance(view.app.screen, CopyTo), "the dialog")
        await view.shows("patients.csv")
        await view.press("escape", "1")
        await view.hides("C Copy")

    watching(settings_at(workdir), test, first_job="aaaa", size=(160, 40))


def test_a_file_that_is_there_is_copied_over_only_if_that_is_wanted(workdir: Path, tmp_path: Path):
    mine = tmp_path / "mine.csv"
    mine.write_text("mine")

    async def test(view: View) -> None:
        await in_the_list(view)
        await ask_where(view, mine)
        await view.shows("exists")
        assert mine.read_text() == "mine"
        view.app.screen.query_one(Checkbox).value = True
        await view.press("enter")
        await view.until(lambda: view.app.screen is view.main, "the end of the dialog")

    watching(settings_at(workdir), test, first_job="aaaa")
    assert mine.read_text() == "this is output/ages.csv\n"


@pytest.mark.parametrize(
    ("place", "says"), [("", "Type first where to."), ("/no/such/place/a.csv", "there is no directory /no/such/place")]
)
def test_a_place_that_is_none_is_asked_for_again(workdir: Path, place: str, says: str):
    async def test(view: View) -> None:
        await in_the_list(view)
        await ask_where(view, place)
        await view.shows(says)
        await view.press("escape")
        assert view.app.screen is view.main

    watching(settings_at(workdir), test, first_job="aaaa")


@pytest.mark.parametrize("instead", ["nothing", "a link"])
def test_what_is_gone_or_a_link_is_not_copied(workdir: Path, tmp_path: Path, instead: str):
    file = workdir / "high_privacy/workspaces/ws" / PATHS[0]
    file.unlink()
    if instead == "a link":
        file.symlink_to("/etc/hostname")

    async def test(view: View) -> None:
        await in_the_list(view)
        await ask_where(view, tmp_path / "copy.csv")
        await view.shows("the output is gone")

    watching(settings_at(workdir), test, first_job="aaaa", size=(160, 40))
    assert not (tmp_path / "copy.csv").exists()


def test_that_a_newer_job_may_have_replaced_them_is_said(workdir: Path):
    newer = a_job("cccc", S.SUCCEEDED, action="clean", age=1000, outputs={PATHS[0]: "moderately_sensitive"})
    with closing(connect(workdir / "db.sqlite")) as conn:
        insert(conn, newer)
        insert(conn, Result(job_id="cccc", outcome=outcome_to_json(make_outcome()), recorded_at=time.time_ns()))

    async def test(view: View) -> None:
        await view.press("4")
        await view.shows("A newer job of this action, cccc, may have replaced these files.")

    watching(settings_at(workdir), test, first_job="aaaa", size=(160, 40))


def test_a_view_that_only_looks_copies_nothing(workdir: Path):
    async def test(view: View) -> None:
        await in_the_list(view)
        await view.shows("o Open")
        await view.press("C")
        assert view.app.screen is view.main

    watching(settings_at(workdir), test, first_job="aaaa", read_only=True)


def test_the_keys_are_as_free_as_others(workdir: Path):
    async def test(view: View) -> None:
        await in_the_list(view)
        await view.press("y")
        await view.until(lambda: isinstance(view.app.screen, CopyTo), "the dialog")

    preferences = Preferences(keys=resolve({"copy_output": ("y",)}))
    watching(settings_at(workdir), test, first_job="aaaa", preferences=preferences)


def test_without_a_terminal_nothing_is_opened_and_that_is_said(workdir: Path):
    async def test(view: View) -> None:
        await in_the_list(view)
        await view.press("enter")
        await view.shows("cannot step aside")

    watching(settings_at(workdir), test, first_job="aaaa")


def test_a_second_click_opens_one(workdir: Path):
    async def test(view: View) -> None:
        await view.press("4")
        await view.shows("output/plot.png")
        await view.pilot.click(view.main.pane.outputs_pane, offset=(10, 3), times=2)
        await view.shows("▸ output/plot.png", "cannot step aside")

    watching(settings_at(workdir), test, first_job="aaaa", size=(160, 40))


def test_the_palette_copies_one_too(workdir: Path):
    async def test(view: View) -> None:
        await in_the_list(view)
        await view.press("ctrl+p")
        await view.shows("Copy the chosen output", "Hide or show finished jobs")
        await view.press(*"Copy")
        await view.hides("Hide or show finished jobs")
        await view.press("enter")
        await view.until(lambda: isinstance(view.app.screen, CopyTo), "the dialog")

    watching(settings_at(workdir), test, first_job="aaaa")


def test_the_outputs_of_a_job_change_while_one_looks(workdir: Path):
    async def test(view: View) -> None:
        await in_the_list(view)
        await view.press("down")
        with closing(connect(workdir / "db.sqlite")) as conn:
            changes.pause(conn, "job", "bbbb", time.time())
        await view.shows("report ‖", "▸ output/deep/patients.csv")

    watching(settings_at(workdir), test, first_job="aaaa", size=(160, 40))
