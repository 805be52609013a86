"""The registry of what a user can do, and the file with a user's preferences."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jobrunner_cli.engine.errors import ConfigurationError
from jobrunner_cli.tui.acts import ACTS
from jobrunner_cli.tui.conditions import CONDITIONS
from jobrunner_cli.tui.dialogs import help_text
from jobrunner_cli.tui.listing import Grouping, Sorting
from jobrunner_cli.tui.preferences import Preferences, read_preferences
from jobrunner_cli.tui.registry import BY_NAME, ENTRIES, resolve, shown_key


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "tui.toml"
    path.write_text(text)
    return path


def test_everything_in_the_registry_can_be_done_and_nothing_else():
    assert set(ACTS) == set(BY_NAME)
    assert set(CONDITIONS) <= set(BY_NAME)


def test_the_help_names_every_entry_with_its_keys():
    text = help_text(resolve({}), read_only=False).plain
    for entry in ENTRIES:
        assert entry.help in text
        assert shown_key(entry.keys[0]) in text


def test_the_page_names_everything_that_a_key_can_be_given_to():
    page = (Path(__file__).parents[2] / "docs" / "tui.md").read_text(encoding="utf-8")
    (names,) = re.findall(r"Names: (.*?)\.\n\n", page, re.DOTALL)
    assert re.findall(r"`(\w+)`", names) == [entry.name for entry in ENTRIES]


def test_the_help_of_a_view_that_only_looks_has_no_actions_that_change():
    text = help_text(resolve({}), read_only=True).plain
    assert not [entry.name for entry in ENTRIES if entry.changes and entry.help in text]


def test_without_a_file_the_defaults_hold(tmp_path: Path):
    assert read_preferences(tmp_path / "absent.toml") == Preferences()


def test_a_file_sets_keys_theme_group_and_sort(tmp_path: Path):
    path = written(
        tmp_path, 'theme = "nord"\ngroup = "flat"\nsort = "age"\n[keys]\ncancel = ["x", "delete"]\nhelp = "h"\n'
    )
    found = read_preferences(path)
    assert (found.theme, found.grouping, found.sorting) == ("nord", Grouping.FLAT, Sorting.AGE)
    assert found.keys.of["cancel"] == ("x", "delete")
    assert found.keys.shown("help") == "h"


def test_a_key_that_is_taken_over_leaves_where_it_was(tmp_path: Path):
    keys = read_preferences(written(tmp_path, '[keys]\nkill = "c"\nfilter = "?"\n')).keys
    assert keys.of["cancel"] == ()
    assert keys.of["help"] == ("f1",)
    assert keys.of["filter"] == ("question_mark",)


@pytest.mark.parametrize("place", ["backend", "workspace"])
def test_a_pause_and_its_end_may_have_the_same_key(place: str):
    keys = resolve({f"pause_{place}": ("x",), f"resume_{place}": ("x",)})
    assert keys.of[f"pause_{place}"] == keys.of[f"resume_{place}"] == ("x",)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[keys]\nfly = 'x'\n", "'fly'"),
        ("[keys]\ncancel = 'x'\nkill = 'x'\n", "'x' is given to cancel and to kill"),
        ("[keys]\ncancel = 3\n", "keys.cancel"),
        ("keys = 3\n", "keys is a table"),
        ("theme = 'none such'\n", "theme is one of"),
        ("group = 'colour'\n", "group is one of"),
        ("them = 'nord'\n", "'them'"),
        ("hide_finished = 'yes'\n", "hide_finished is true or false"),
        ("theme = \n", "cannot be read"),
    ],
)
def test_what_is_wrong_with_a_file_is_named_with_the_file(tmp_path: Path, text: str, named: str):
    path = written(tmp_path, text)
    with pytest.raises(ConfigurationError) as refusal:
        read_preferences(path)
    assert named in refusal.value.message
    assert str(path) in refusal.value.message
