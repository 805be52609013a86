"""How listings look on terminals of any width and kind, and how `jobs ls` understands what it is asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.listing import jobs, listed, workdir
from support.store import make_job, new_database
from support.terminal import jobrunner, on_terminal, without_colours

__all__ = ["jobs", "workdir"]

pytestmark = pytest.mark.slow

# On a terminal.


@pytest.mark.parametrize("columns", [58, 60, 80, 100, 200])
def test_listing_fits_the_terminal_one_line_a_job(jobs: Path, columns: int):
    lines = without_colours(on_terminal("jobs", "ls", columns=columns)).splitlines()
    assert len(lines) == 5
    assert max(map(len, lines)) <= columns
    for line, (glyph, word) in zip(
        lines[1:],
        [("●", "executing"), ("◌", "waiting for a worker"), ("✘", "nonzero exit"), ("✔", "succeeded")],
        strict=True,
    ):
        assert line.startswith(glyph)
        assert word in line


@pytest.mark.parametrize("columns", [34, 40, 50])
def test_very_narrow_terminal_gets_the_beginning_of_everything(jobs: Path, columns: int):
    lines = without_colours(on_terminal("jobs", "ls", columns=columns)).splitlines()
    assert len(lines) == 5
    assert max(map(len, lines)) <= columns
    assert [line.split()[1] for line in lines[1:]] == ["running0", "waiting0", "failed00", "succeede"]
    assert "…" in lines[3]


def test_age_is_there_before_a_long_name_is_whole(workdir: Path):
    new_database(workdir, make_job(workspace="a-workspace-with-a-rather-long-name", action="a" * 30)).close()
    lines = without_colours(on_terminal("jobs", "ls", columns=80)).splitlines()
    assert "AGE" in lines[0].split()
    assert "a-workspace-with…" not in lines[1]
    assert "a-workspace-wit" in lines[1]


def test_shortened_id_on_a_narrow_terminal_still_names_its_job(jobs: Path):
    line = without_colours(on_terminal("jobs", "ls", columns=60)).splitlines()[1]
    shown = line.split()[1]
    assert len(shown) == 8
    assert json.loads(jobrunner("jobs", "show", shown, "--json").stdout)["action"] == "run"


def test_terminal_without_the_glyphs_gets_letters(jobs: Path):
    lines = without_colours(on_terminal("jobs", "ls", columns=60, PYTHONIOENCODING="ascii")).splitlines()
    assert [line[0] for line in lines[1:]] == ["*", "~", "x", "+"]
    assert "..." in lines[3]


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": ""}], ids=str)
@pytest.mark.parametrize("words", [["ls"], ["show", "ws/done"]], ids=" ".join)
def test_no_colours_where_they_are_not_wanted(jobs: Path, environment: dict[str, str], words: list[str]):
    coloured = on_terminal("jobs", *words, columns=100)
    plain = on_terminal("jobs", *words, columns=100, **environment)
    assert "\x1b[" in coloured
    assert "\x1b" not in plain
    assert "✔" in plain


def test_sentences_are_folded_between_words_on_a_terminal_and_whole_in_a_pipe(jobs: Path):
    whole = jobrunner("jobs", "why", "failed00").stdout
    folded = without_colours(on_terminal("jobs", "why", "failed00", columns=50))
    assert max(map(len, folded.splitlines())) <= 50
    assert max(map(len, whole.splitlines())) > 50
    assert folded.split() == whole.split()


# What is asked of it.


@pytest.mark.parametrize("word", ["waiting for a worker", "waiting_on_workers", "Waiting-On-Workers"])
def test_state_may_be_given_as_it_is_shown(jobs: Path, word: str):
    assert [job["action"] for job in listed("--state", word)] == ["wait"]


def test_state_that_is_nearly_one_is_guessed_at(jobs: Path):
    assert "did you mean executing?" in jobrunner("jobs", "ls", "--state", "excuting", code=2).stderr


def test_request_may_be_named_by_part_of_its_id(workdir: Path):
    with new_database(workdir, make_job("a", job_request_id="first1"), make_job("b", job_request_id="second2")) as conn:
        conn.executemany("INSERT INTO job_request (id, original) VALUES (?, '{}')", [("first1",), ("second2",)])
    assert [job["id"] for job in listed("--request", "cond")] == ["b"]
    assert [job["id"] for job in listed("--request", "first1")] == ["a"]
    assert listed("--request", "nosuch") == []
    said = jobrunner("jobs", "ls", "--request", "s", code=4).stderr.splitlines()
    assert said[1:3] == ["  second2", "  first1"]


def test_two_forms_at_once_are_refused(jobs: Path):
    assert "two forms" in jobrunner("jobs", "ls", "--json", "--format", "{id}", code=2).stderr
