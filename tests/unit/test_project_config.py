"""An action's `config`: what JSON cannot hold is told in full, each with its place, key and value."""

from __future__ import annotations

import pytest

from jobrunner_cli.engine.study.pipeline import examine
from support.projects import accepted, action, problems, project


def test_everything_that_json_cannot_hold_is_told_at_once() -> None:
    text = project(action(more="    config: {a: 2020-01-01, b: 2020-01-02, c: .inf, true: 3, d: {e: [1, .nan]}}\n"))
    _, found = examine(text.encode())
    assert [(problem.column, problem.key, problem.value) for problem in found] == [
        (17, "config.a", "2020-01-01"),
        (32, "config.b", "2020-01-02"),
        (47, "config.c", "inf"),
        (53, "config.true", "true"),
        (73, "config.d.e.1", "nan"),
    ]
    assert {(problem.line, problem.action) for problem in found} == {(6, "a")}


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ("{since: [2020-01-01]}", "config.since.0: 2020-01-01 is a date, and JSON has none; put it in quotes"),
        ("{a: {b: .nan}}", "config.a.b: nan is not a number that JSON has; put it in quotes"),
        ("{a: -.inf}", "config.a: -inf is not a number that JSON has; put it in quotes"),
        ("{true: 1}", "config.true: the key true is true or false; put it in quotes"),
        ("{~: 1}", "config.null: the key null is null; put it in quotes"),
        ("{.inf: 1}", "config.inf: the key inf is a number; put it in quotes"),
        ("{2020-01-01: 1}", "config.2020-01-01: the key 2020-01-01 is a date; put it in quotes"),
        ("{1: a, '1': b}", 'config.1: the key "1" is there twice, as text and as a number'),
        ("[1]", "config: must be a mapping, not a list"),
    ],
)
def test_what_json_cannot_hold(config: str, problem: str) -> None:
    assert problems(project(action(more=f"    config: {config}\n"))) == [f"line 6, action a, {problem}"]


def test_a_key_with_a_bad_value_is_told_for_both() -> None:
    assert len(problems(project(action(more="    config: {true: .nan}\n")))) == 2


def test_numbers_as_keys_are_text() -> None:
    config = accepted(project(action(more="    config: {1: a, 1.5: {2: b}}\n"))).actions["a"].config
    assert config == {"1": "a", "1.5": {"2": "b"}}


def test_long_keys_around_many_bad_values_stay_short() -> None:
    keys = "".join(f"{{{'k' * 900}{n}: " for n in range(50))
    bad = "[" + ".nan," * 2_000 + "]"
    _, found = examine(project(action(more=f"    config: {keys}{bad}{'}' * 50}\n")).encode())
    assert len(found) == 2_000
    assert all(len(problem.key or "") <= 500 for problem in found)
