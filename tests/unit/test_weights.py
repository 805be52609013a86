"""The weights of jobs: whole names, first match, exact sums, and clear words for what does not fit."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from jobrunner_cli.engine.errors import ConfigurationError
from jobrunner_cli.engine.weights import load_weights


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "weights.ini"
    path.write_text(text)
    return path


def test_without_a_file_every_job_weighs_one(tmp_path: Path) -> None:
    assert load_weights(tmp_path / "none").weight("ws", "action") == 1


def test_the_first_pattern_that_matches_the_whole_name_counts(tmp_path: Path) -> None:
    weights = load_weights(
        write(
            tmp_path,
            """
            # a comment
            [my-workspace]
            some_action = 4
            Some_Action = 5
            pattern[\\d]+ = 2.5
            pattern.* = 3
            (?=x)x=y = 6
            (?:a|b) : 7
            ; another
            [DEFAULT]
            some_action = 9
            [empty]
            """,
        )
    )
    expected = {
        "some_action": 4,
        "Some_Action": 5,
        "SOME_ACTION": 1,
        "pattern12": Fraction(5, 2),
        "pattern12x": 3,
        "xpattern": 1,
        "x=y": 6,
        "a": 7,
        "ab": 1,
    }
    assert {action: weights.weight("my-workspace", action) for action in expected} == expected
    assert weights.weight("other", "some_action") == 1
    assert weights.weight("empty", "some_action") == 1
    assert weights.weight("DEFAULT", "some_action") == 9


def test_sums_are_exact(tmp_path: Path) -> None:
    weights = load_weights(write(tmp_path, "[ws]\na = 0.1\nb = 0.7\n"))
    assert weights.weight("ws", "a") * 3 + weights.weight("ws", "b") == 1


@pytest.mark.parametrize(
    "value", ["0", "-1", "nan", "inf", "1/3", "many", "", "1_0", "0.0", "1e999", "2 # comment", "٣"]
)
def test_a_weight_that_is_no_number_above_0_is_named_with_its_place(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_weights(write(tmp_path, f"[ws]\nfine = 1\naction = {value}\n"))
    assert "line 3, section [ws]: key action: " in str(caught.value)


def test_everything_that_does_not_fit_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_weights(write(tmp_path, "early = 1\n[ws]\nbroken( = 1\nsame = 1\nsame = 2\nno separator\n[ws]\n[]\n"))
    told = str(caught.value).splitlines()
    assert [line.split(":")[0].rpartition("line ")[2] for line in told] == [
        "1",
        "3, section [ws]",
        "5, section [ws]",
        "6, section [ws]",
        "7, section [ws]",
        "8, section [ws]",
    ]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00[")
    for name in ("binary", ""):
        with pytest.raises(ConfigurationError, match=str(tmp_path)):
            load_weights(tmp_path / name)
