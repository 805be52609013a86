"""The view when things are not as they should be: no database, an older one, a locked one, another one, no engine."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from jobrunner_cli.engine.states import StatusCode
from jobrunner_cli.engine.store.migrating import migrate
from support.live_view import View, a_job, screen_text, settings_at, watching
from support.store import new_database, older_database
from support.terminal import jobrunner

S = StatusCode


def test_without_a_database_it_says_so_and_goes_on_when_there_is_one(tmp_path: Path):
    async def test(view: View) -> None:
        await view.shows("there is no database", "jobrunner migrate")
        new_database(tmp_path, a_job("aaaa", S.SUCCEEDED, action="clean")).close()
        await view.shows("clean", "✔ succeeded")
        await view.hides("there is no database")

    watching(settings_at(tmp_path), test, wait=False)


def test_an_older_database_is_refused_until_it_is_migrated(tmp_path: Path):
    older_database(tmp_path / "db.sqlite", 3, [{"id": "aaaa", "state": "succeeded", "workspace": "ws", "action": "old_one",
                                                "status_code": "succeeded", "created_at": 1_700_000_000}])  # fmt: skip

    async def test(view: View) -> None:
        await view.shows("is at level 3")
        migrate(tmp_path / "db.sqlite")
        await view.shows("old_one")

    watching(settings_at(tmp_path), test, wait=False)


def test_a_database_that_is_none_is_told(tmp_path: Path):
    (tmp_path / "db.sqlite").write_text("this is no database, and long enough to be read as a page of one" * 20)

    async def test(view: View) -> None:
        await view.shows("is not a SQLite database")

    watching(settings_at(tmp_path), test, wait=False)


def test_another_database_in_its_place_is_read(tmp_path: Path):
    new_database(tmp_path, a_job("aaaa", S.SUCCEEDED, action="clean")).close()
    other = tmp_path / "other"
    other.mkdir()
    new_database(other, a_job("bbbb", S.SUCCEEDED, action="restored")).close()

    async def test(view: View) -> None:
        await view.shows("clean")
        for left in ("db.sqlite-wal", "db.sqlite-shm"):
            (tmp_path / left).unlink(missing_ok=True)
        (other / "db.sqlite").replace(tmp_path / "db.sqlite")
        await view.shows("restored")
        await view.hides("clean")

    watching(settings_at(tmp_path), test)


def test_a_locked_database_shows_what_was_and_recovers(tmp_path: Path):
    new_database(tmp_path, a_job("aaaa", S.CREATED, action="clean")).close()

    async def test(view: View) -> None:
        await view.shows("clean")
        with closing(sqlite3.connect(tmp_path / "db.sqlite", isolation_level=None)) as holder:
            holder.execute("BEGIN EXCLUSIVE")
            view.app.deeds.pause_backend()
            await view.press("down", "up")
            await view.shows("clean")
            holder.execute("COMMIT")
        await view.shows("PAUSED since")

    watching(settings_at(tmp_path), test)


def test_an_engine_that_does_not_answer_is_told_and_the_list_is_there(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    new_database(tmp_path, a_job("aaaa", S.SUCCEEDED, action="clean")).close()

    async def test(view: View) -> None:
        await view.shows("✘ engine", "clean")

    watching(settings_at(tmp_path, EXECUTOR="docker"), test)


def test_a_damaged_file_of_weights_is_told(tmp_path: Path):
    new_database(tmp_path, a_job("aaaa", S.SUCCEEDED, action="clean")).close()
    weights = tmp_path / "weights.ini"
    weights.write_text("[ws]\nclean = heavy\n")

    async def test(view: View) -> None:
        await view.shows("heavy")

    watching(settings_at(tmp_path, JOB_RESOURCE_WEIGHTS=str(weights)), test, wait=False)


def test_without_a_terminal_it_names_what_scripts_use(tmp_path: Path):
    done = jobrunner("tui", code=2, WORKDIR=str(tmp_path))
    assert "needs a terminal" in done.stderr
    assert "jobs ls --json" in done.stderr


def test_a_picture_is_saved_without_a_terminal(tmp_path: Path):
    new_database(tmp_path, a_job("aaaa", S.SUCCEEDED, action="clean")).close()
    picture = tmp_path / "picture.svg"
    words = ("tui", "--screenshot", str(picture), "--size", "80x24", "--press", "2,slash,x")
    jobrunner(*words, WORKDIR=str(tmp_path), EXECUTOR="process")
    text = picture.read_text()
    assert text.startswith("<svg")
    assert "0 of 1" in screen_text(text)


def test_mistakes_in_the_words_of_the_command_are_named(tmp_path: Path):
    new_database(tmp_path, a_job("aaaa", S.SUCCEEDED, action="clean")).close()
    assert "no tab" in jobrunner("tui", "--tab", "x", code=2, WORKDIR=str(tmp_path)).stderr
    assert "COLUMNSxLINES" in jobrunner("tui", "--size", "wide", code=2, WORKDIR=str(tmp_path)).stderr
    assert "no theme" in jobrunner("tui", "--theme", "x", code=3, WORKDIR=str(tmp_path)).stderr
    assert "no job" in jobrunner("tui", "--job", "zzzz", code=4, WORKDIR=str(tmp_path)).stderr
