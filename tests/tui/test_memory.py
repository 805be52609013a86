"""What the view remembers from one start to the next, and what it makes of a file that is no good."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobrunner_cli.engine.states import StatusCode
from jobrunner_cli.tui.listing import Grouping, Sorting
from jobrunner_cli.tui.memory import default_path, remember, with_memory
from jobrunner_cli.tui.preferences import Preferences, read_preferences, with_theme
from support.live_view import View, a_job, settings_at, watching
from support.store import new_database

S = StatusCode


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    """One job that waits, one that has ended."""
    new_database(tmp_path, a_job("aaaa", S.SUCCEEDED), a_job("bbbb", S.CREATED, age=100)).close()
    return tmp_path


async def as_it_was_left(view: View) -> None:
    assert (view.main.wanted.grouping, view.main.wanted.sorting) == (Grouping.FLAT, Sorting.AGE)
    assert view.main.wanted.hide_finished
    assert view.app.theme != Preferences().theme
    assert view.listed() == ["bbbb"]


@pytest.mark.parametrize("read_only", [False, True])
def test_what_was_chosen_is_there_at_the_next_start(workdir: Path, read_only: bool):
    async def choose(view: View) -> None:
        await view.press("g", "g", "s", "f", "t")
        await view.until(lambda: view.listed() == ["bbbb"], "the list without what has ended")

    memory = workdir / "state" / "jobrunner" / "tui.json"
    watching(settings_at(workdir), choose, memory=memory, read_only=read_only)
    assert set(json.loads(memory.read_text())) == {"theme", "grouping", "sorting", "hide_finished"}
    assert [path.name for path in memory.parent.iterdir()] == ["tui.json"]
    watching(settings_at(workdir), as_it_was_left, memory=memory)


def test_nothing_is_written_where_nothing_was_chosen(workdir: Path):
    async def look(view: View) -> None:
        await view.press("down", "1")

    memory = workdir / "state" / "tui.json"
    watching(settings_at(workdir), look, memory=memory)
    assert not memory.parent.exists()


def test_what_the_user_has_written_down_wins(workdir: Path, tmp_path: Path):
    memory = tmp_path / "tui.json"
    memory.write_text('{"theme": "nord", "grouping": "flat", "sorting": "age", "hide_finished": true}')
    written = tmp_path / "tui.toml"
    written.write_text('group = "request"\nhide_finished = false\n')
    found = with_memory(read_preferences(written), memory)
    assert (found.grouping, found.hide_finished) == (Grouping.REQUEST, False)
    assert (found.sorting, found.theme) == (Sorting.AGE, "nord")
    assert with_memory(with_theme(Preferences(), "gruvbox"), memory).theme == "gruvbox"


def test_only_what_was_chosen_anew_is_written_over(tmp_path: Path):
    memory = tmp_path / "tui.json"
    memory.write_text('{"theme": "nord", "sorting": "age"}')
    before = Preferences(theme="gruvbox")
    remember(memory, before, Preferences(theme="gruvbox", grouping=Grouping.FLAT))
    assert json.loads(memory.read_text()) == {"theme": "nord", "sorting": "age", "grouping": "flat"}


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "[" * 100_000, '{"theme": "none such", "grouping": 3, "sorting": [], "hide_finished": 1}'],
    ids=["empty", "half", "a list", "null", "deep", "odd values"],
)
def test_a_file_that_is_no_good_is_as_none(tmp_path: Path, text: str):
    memory = tmp_path / "tui.json"
    memory.write_text(text)
    assert with_memory(Preferences(), memory) == Preferences()
    remember(memory, Preferences(), Preferences(sorting=Sorting.NAME))
    assert with_memory(Preferences(), memory).sorting is Sorting.NAME


def test_a_file_with_bytes_that_are_no_text_is_as_none(tmp_path: Path):
    (tmp_path / "tui.json").write_bytes(b'{"theme": "\xff"}')
    assert with_memory(Preferences(), tmp_path / "tui.json") == Preferences()


def test_one_odd_value_does_not_spoil_the_others(tmp_path: Path):
    memory = tmp_path / "tui.json"
    memory.write_text('{"theme": "none such", "sorting": "name"}')
    assert with_memory(Preferences(), memory).sorting is Sorting.NAME


def test_a_place_that_cannot_be_written_is_passed_over(tmp_path: Path):
    (tmp_path / "file").write_text("")
    remember(tmp_path / "file" / "tui.json", Preferences(), Preferences(sorting=Sorting.NAME))


def test_the_file_is_where_state_belongs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_path() == tmp_path / "jobrunner" / "tui.json"
