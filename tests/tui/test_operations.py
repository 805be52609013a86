"""What the view does to jobs and to the backend: each with a dialog that names what is touched, and with a real runner."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from textual.command import CommandPalette
from textual.widgets import Checkbox, OptionList

from jobrunner_cli.engine.operations import Operation
from jobrunner_cli.engine.states import StatusCode
from jobrunner_cli.engine.store import changes, queries
from jobrunner_cli.engine.store.database import connect
from jobrunner_cli.tui.dialogs import Ask, Confirm, Help
from jobrunner_cli.tui.registry import BY_NAME
from support.live_view import View, a_job, settings_at, watching
from support.places import MakeWorkDirectory
from support.runners import WorkDirectory
from support.store import new_database
from support.studies import action, make_study, shell

S = StatusCode


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    """A chain of two that waits, one that failed."""
    jobs = [
        a_job("aaaa", S.NONZERO_EXIT, action="fit"),
        a_job("bbbb", S.CREATED, action="extract", age=100),
        a_job("cccc", S.WAITING_ON_DEPENDENCIES, action="report", age=90, wait_for_job_ids=("bbbb",)),
    ]
    new_database(tmp_path, *jobs).close()
    return tmp_path


def row(workdir: Path, job_id: str):
    with closing(connect(workdir / "db.sqlite", readonly=True)) as conn:
        return queries.job_by_id(conn, job_id)


def code(workdir: Path, job_id: str) -> StatusCode:
    return row(workdir, job_id).status_code


async def dialog(view: View, key: str, kind: type = Confirm) -> None:
    await view.press(key)
    await view.until(lambda: isinstance(view.app.screen, kind), "the dialog")
    await view.pilot.pause()


def test_cancelling_names_the_job_and_what_fails_with_it_and_is_done_where_no_runner_is(workdir: Path):
    async def test(view: View) -> None:
        view.main.table.go_to("bbbb")
        await dialog(view, "c")
        await view.shows("Cancel 1 job?", "ws/extract", "bbbb", "end it before it starts")
        await view.shows("and so these fail (1)", "ws/report")
        await view.press("y")
        await view.until(lambda: code(workdir, "bbbb") is S.CANCELLED_BY_USER, "the cancelled job")
        await view.shows("cancelled")

    watching(settings_at(workdir), test)


@pytest.mark.parametrize("key", ["n", "escape", "enter"])
def test_no_is_what_ends_nothing(workdir: Path, key: str):
    async def test(view: View) -> None:
        view.main.table.go_to("bbbb")
        await dialog(view, "K")
        await view.press(key)
        await view.until(lambda: view.app.screen is view.main, "the list")

    watching(settings_at(workdir), test)
    assert code(workdir, "bbbb") is S.CREATED


def test_several_marked_jobs_are_cancelled_together_and_lose_their_marks(workdir: Path):
    async def test(view: View) -> None:
        await view.press("A")
        await dialog(view, "c")
        await view.shows("Cancel 2 jobs?", "nothing: it has ended")
        await view.press("y")
        await view.until(lambda: code(workdir, "cccc") is S.CANCELLED_BY_USER, "the cancelled jobs")
        assert code(workdir, "bbbb") is S.CANCELLED_BY_USER
        assert view.main.table.marks == {"aaaa"}

    watching(settings_at(workdir), test)
    assert code(workdir, "aaaa") is S.NONZERO_EXIT


def test_killing_can_remove_what_is_left(workdir: Path):
    async def test(view: View) -> None:
        view.main.table.go_to("bbbb")
        await dialog(view, "K")
        await view.shows("Kill 1 job?", "[ ] Remove containers and files, too")
        await view.pilot.click(Checkbox)
        await view.shows("[x] Remove containers and files, too", "Kill 1 job and remove what it leaves?")
        await view.press("y")
        await view.until(lambda: code(workdir, "bbbb") is S.KILLED_BY_ADMIN, "the killed job")

    watching(settings_at(workdir), test)
    with closing(connect(workdir / "db.sqlite", readonly=True)) as conn:
        kinds = [found["kind"] for found in conn.execute("SELECT kind FROM intent ORDER BY id").fetchall()]
    assert kinds == ["kill", "cleanup"]


def test_jobs_are_paused_and_resumed(workdir: Path):
    async def test(view: View) -> None:
        view.main.table.go_to("bbbb")
        await dialog(view, "p")
        await view.shows("Pause 1 job?", "do not start it until it is resumed")
        await view.press("enter")
        await view.shows("extract ‖")
        await dialog(view, "r")
        await view.press("y")
        await view.hides("extract ‖")

    watching(settings_at(workdir), test)


def test_the_backend_is_paused_and_resumed_and_that_cannot_be_overlooked(workdir: Path):
    async def test(view: View) -> None:
        await view.until(lambda: view.main.standing is not None, "the flags")
        await dialog(view, "P", Ask)
        await view.shows("Pause the backend expectations?")
        await view.press("y")
        await view.shows("PAUSED since", "P resumes", "P Resume all")
        await dialog(view, "P", Ask)
        await view.press("y")
        await view.hides("PAUSED since")

    watching(settings_at(workdir), test)


def test_the_workspace_of_a_job_is_paused_and_resumed(workdir: Path):
    async def test(view: View) -> None:
        view.main.table.go_to("bbbb")
        await dialog(view, "W", Ask)
        await view.shows("Pause the workspace ws?", "nor those that it will get", "2 waiting, 0 running")
        await view.shows("ws/extract", "ws/report", "do not start it until the workspace is resumed")
        await view.press("n")
        await dialog(view, "W", Ask)
        await view.press("y")
        await view.shows("PAUSED WORKSPACES: ws", "workspace ws ‖ paused", "W on it resumes", "W Resume workspace")
        await view.press("home")
        assert view.main.table.current is None
        await dialog(view, "W", Ask)
        await view.shows("Resume the workspace ws?", "let it start when its turn has come")
        await view.press("y")
        await view.hides("PAUSED WORKSPACES")
        await view.hides("‖ paused")

    watching(settings_at(workdir), test)
    with closing(connect(workdir / "db.sqlite", readonly=True)) as conn:
        assert queries.pauses(conn) == []


def test_a_group_that_is_no_workspace_cannot_be_paused_as_one(workdir: Path):
    async def test(view: View) -> None:
        await view.press("g", "home")
        await view.shows("▾ request")
        await view.until(lambda: view.main.table.current is None, "the cursor on the head")
        assert not view.main.applies(BY_NAME["pause_workspace"])
        # A dialog of another key would come behind one of this.
        await view.press("W")
        await dialog(view, "P", Ask)
        await view.shows("Pause the backend")
        assert "Pause the workspace" not in view.text()

    watching(settings_at(workdir), test)


def test_flags_that_others_set_are_shown(workdir: Path):
    with closing(connect(workdir / "db.sqlite")) as conn:
        changes.set_flag(conn, "mode", "db-maintenance", 1_795_000_000)
        changes.pause(conn, "workspace", "ws", 1_795_000_000)

    async def test(view: View) -> None:
        await view.shows("DATABASE MAINTENANCE since", "PAUSED WORKSPACES: ws", "‖ paused", "NO SERVICE RUNS HERE")

    watching(settings_at(workdir), test)


def test_a_view_that_only_looks_changes_nothing(workdir: Path):
    async def test(view: View) -> None:
        await view.shows("read only")
        view.main.table.go_to("bbbb")
        await view.press("c", "K", "p", "r", "R", "a", "P", "W")
        assert view.app.screen is view.main
        assert "Cancel" not in view.text()
        await view.press("question_mark")
        assert isinstance(view.app.screen, Help)
        await view.press("escape")

    watching(settings_at(workdir), test, read_only=True)
    assert [code(workdir, job_id) for job_id in ("bbbb", "cccc")] == [S.CREATED, S.WAITING_ON_DEPENDENCIES]


def test_the_palette_does_what_keys_do(workdir: Path):
    async def test(view: View) -> None:
        view.main.table.go_to("bbbb")
        await view.press("ctrl+p")
        await view.until(lambda: isinstance(view.app.screen, CommandPalette), "the palette")
        await view.press(*"Cancel")
        hits = view.app.screen.query_one(OptionList)
        await view.until(lambda: hits.option_count and "Cancel" in str(hits.get_option_at_index(0).prompt), "the hit")
        await view.press("enter")
        await view.until(lambda: isinstance(view.app.screen, Confirm), "the dialog")

    watching(settings_at(workdir), test)


def failing_study(workdir: WorkDirectory) -> None:
    study = make_study(workdir.base / "study", {"fit": action(shell("exit 3"), "model.txt")})
    workdir.add(study, "fit")
    workdir.run(1)


def test_retrying_a_failed_job_makes_a_new_one(make_workdir: MakeWorkDirectory):
    workdir = make_workdir("process")
    failing_study(workdir)

    async def test(view: View) -> None:
        await dialog(view, "R")
        await view.shows("Retry 1 job?", "run it anew")
        await view.press("y")
        await view.until(lambda: len(view.listed()) == 2, "the new job")

    watching(settings_at(workdir.path), test)
    assert [found[0] for found in workdir.ask("SELECT status_code FROM job ORDER BY rowid")] == [
        "nonzero_exit",
        "created",
    ]


def test_a_runner_at_work_ends_the_job_and_the_log_was_followed_until_then(make_workdir: MakeWorkDirectory):
    workdir = make_workdir("process")
    script = workdir.command("echo it has begun; while [ ! -e go ]; do sleep 0.2; done; echo on and on; sleep 600")
    study = make_study(workdir.base / "study", {"long": action(script, "out.txt")})
    job_id = workdir.add(study, "long")["long"]
    command = workdir.start("run")
    workdir.wait_for(job_id, "executing")

    async def test(view: View) -> None:
        await view.shows("● runner", "1/4", "it has begun")
        workdir.let_go(job_id)
        await view.shows("on and on")
        await dialog(view, "c")
        await view.press("y")
        await view.shows("✘ cancelled", "0/4")

    from jobrunner_cli.tui.pane import Tab

    watching(settings_at(workdir.path), test, first_tab=Tab.LOG)
    assert workdir.codes() == {"long": "cancelled_by_user"}
    command.kill()


def test_what_fails_is_told_and_the_view_stays(workdir: Path):
    async def test(view: View) -> None:
        (workdir / "db.sqlite").rename(workdir / "elsewhere.sqlite")
        view.app.deeds.carry_out(Operation.PAUSE, ["bbbb"])
        await view.shows("there is no database")
        assert view.app.is_running

    watching(settings_at(workdir), test)
