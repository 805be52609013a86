"""The form for new jobs: it reads the study, shows the plan, and submits what was planned."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from textual import events
from textual.widgets import Input, SelectionList

from jobrunner_cli.engine.store.database import connect
from jobrunner_cli.tui.adding import AddJob
from support.live_view import View, settings_at, watching
from support.repositories import StudyRepository
from support.store import new_database
from support.studies import action, change_study, make_study, shell


@pytest.fixture
def study(tmp_path: Path) -> StudyRepository:
    """Two actions, one of which needs the other."""
    new_database(tmp_path).close()
    return make_study(
        tmp_path / "study",
        {
            "extract": action(shell("echo 1 > a.csv"), high=["a.csv"]),
            "report": action(shell("echo 2 > b.txt"), "b.txt", needs=["extract"]),
        },
    )


def jobs(workdir: Path) -> list[tuple[str, str]]:
    with closing(connect(workdir / "db.sqlite", readonly=True)) as conn:
        return [
            (row["workspace"], row["action"]) for row in conn.execute("SELECT * FROM job ORDER BY rowid").fetchall()
        ]


async def form(view: View, repo: Path | str) -> AddJob:
    await view.press("a")
    await view.until(lambda: isinstance(view.app.screen, AddJob), "the form")
    screen = view.app.screen
    assert isinstance(screen, AddJob)
    screen.query_one("#repo", Input).value = str(repo)
    return screen


def test_what_is_typed_ahead_is_planned(tmp_path: Path, study: StudyRepository):
    async def test(view: View) -> None:
        screen = await form(view, study.path)
        await view.shows("[ ] run_all", "[ ] extract", "[ ] report", "[ ] Run what they need again, too")
        screen.query_one(SelectionList).focus()
        for key in ("down", "space", "ctrl+s"):
            view.app.post_message(events.Key(key, " " if key == "space" else None))
        await view.shows("1 new job in workspace test", "[x] extract", "[ ] report")

    watching(settings_at(tmp_path), test)


def test_boxes_are_ticked_by_key_and_by_mouse(tmp_path: Path, study: StudyRepository):
    async def test(view: View) -> None:
        screen = await form(view, study.path)
        await view.shows("[ ] extract", "[ ] report", "[ ] Run what they need again, too")
        choice = screen.query_one(SelectionList)
        line = next(n for n in range(choice.option_count) if choice.get_option_at_index(n).value == "extract")
        await view.pilot.click("#actions", offset=(1, line))
        await view.shows("[x] extract", "[ ] report")
        await view.press("space")
        await view.shows("[ ] extract", "[ ] report")
        await view.pilot.click("#force", offset=(1, 0))
        await view.shows("[x] Run what they need again, too")
        await view.press("space")
        await view.shows("[ ] Run what they need again, too")

    watching(settings_at(tmp_path), test, size=(120, 40))


def test_actions_are_read_planned_and_submitted(tmp_path: Path, study: StudyRepository):
    async def test(view: View) -> None:
        screen = await form(view, study.path)
        await view.shows("2 actions at commit", "run_all: what has not succeeded yet", "extract", "report")
        screen.query_one("#workspace", Input).value = "mine"
        screen.query_one(SelectionList).select("report")
        await view.press("ctrl+s")
        await view.shows("2 new jobs in workspace mine", "run   extract", "run   report")
        assert jobs(tmp_path) == []
        await view.press("ctrl+s")
        await view.until(lambda: view.app.screen is view.main, "the list")
        await view.shows("workspace mine", "report")

    watching(settings_at(tmp_path), test, size=(120, 40))
    assert jobs(tmp_path) == [("mine", "extract"), ("mine", "report")]


def test_a_change_after_the_plan_needs_another_plan(tmp_path: Path, study: StudyRepository):
    async def test(view: View) -> None:
        screen = await form(view, study.path)
        await view.shows("2 actions at commit")
        screen.query_one(SelectionList).select("extract")
        await view.press("ctrl+s")
        await view.shows("1 new job in workspace")
        screen.query_one("#workspace", Input).value = "other"
        await view.hides("run   extract")
        await view.press("ctrl+s")
        await view.shows("1 new job in workspace other")
        await view.press("escape")

    watching(settings_at(tmp_path), test)
    assert jobs(tmp_path) == []


def test_another_branch_has_other_actions(tmp_path: Path, study: StudyRepository):
    study.git("checkout", "-q", "-b", "trial")
    change_study(study, {"only_here": action(shell("true"), "x.txt")})

    async def test(view: View) -> None:
        screen = await form(view, study.path)
        await view.shows("2 actions at commit")
        screen.query_one("#branch", Input).value = "trial"
        await view.shows("only_here")

    watching(settings_at(tmp_path), test)


def test_mistakes_are_told_in_the_form(tmp_path: Path, study: StudyRepository):
    async def test(view: View) -> None:
        screen = await form(view, tmp_path / "nowhere")
        await view.until(lambda: "nowhere" in view.text() and "Reading" not in view.text(), "what is wrong")
        screen.query_one("#repo", Input).value = str(study.path)
        await view.shows("2 actions at commit")
        await view.press("ctrl+s")
        await view.shows("Choose at least one action first")
        screen.query_one("#workspace", Input).value = "not a name!"
        screen.query_one(SelectionList).select("extract")
        await view.press("ctrl+s")
        await view.shows("is not a name of letters")
        await view.press("escape")
        await view.until(lambda: view.app.screen is view.main, "the list")

    watching(settings_at(tmp_path), test)


def test_a_broken_project_file_is_told_with_its_line(tmp_path: Path, study: StudyRepository):
    study.project("version: '4.0'\nactions:\n  a: {run: 'python:v2 x'}\n")
    study.commit()

    async def test(view: View) -> None:
        await form(view, study.path)
        await view.until(lambda: "outputs" in view.text(), "what is wrong with the file")

    watching(settings_at(tmp_path), test)
