"""The top of a project.yaml: its keys, its version, and what each version wants of the population."""

from __future__ import annotations

import pytest

from support.projects import accepted, action, problems, project


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "the file is empty"),
        ("~", "line 1: the file is empty"),
        ("---\n  ", "line 2: the file is empty"),
        ("word", "line 1: the file must be a mapping with `version` and `actions`, not text"),
        ("- a", "line 1: the file must be a mapping with `version` and `actions`, not a list"),
        ("version: 4", "actions: the key `actions` is missing"),
        ("actions: {}", 'version: the key `version` is missing; 5 is current: version: "5.0"'),
        (project("") + "1: x\n", "line 3: the key 1 is a number; keys are text"),
        (project("  {}\n") + "author: me\n", 'line 4: the key "author" is not known here'),
        (project("  {}\n") + "versoin: 4\n", 'line 4: the key "versoin" is not known here (did you mean "version"?)'),
    ],
)
def test_the_top_of_the_file(content: str, problem: str) -> None:
    assert problem in problems(content)


def test_an_action_that_is_indented_like_a_section_is_recognised() -> None:
    assert problems(project() + "late:\n  run: python:v2 x\n  outputs: {}\n") == [
        'line 8: the key "late" does not belong here; if it is an action, indent it like the others'
    ]


@pytest.mark.parametrize(
    "version", ["1", "2", "'1.0'", "2.0", '"2"', "' 2 '", "4", "4.0", "'4.0'", "5", "'5.0'", "0x4"]
)
def test_versions(version: str) -> None:
    assert accepted(project(version=version)).version in {1.0, 2.0, 4.0, 5.0}


@pytest.mark.parametrize(
    ("version", "problem"),
    [
        *((text, "is not a version of the format") for text in ("0", "-1", "3.5", ".nan", "'nan'", "v4", "four", "''")),
        *((text, "is not a version of the format") for text in ("~", "true", "[4]", "2020-01-01", "'4.0.0'")),
        *((text, "is newer than this runner") for text in ("6", "'5.1'", ".inf", "1e400", "9" * 999, "'1e999'")),
    ],
)
def test_what_is_no_version(version: str, problem: str) -> None:
    (found,) = problems(project(version=version))
    assert found.startswith("line 1, version: ")
    assert problem in found


def test_a_version_with_a_v_is_recognised() -> None:
    assert problems(project(version="v4"))[0].endswith('(did you mean "4"?)')


def test_without_a_known_version_the_other_rules_still_hold() -> None:
    assert len(problems(project(action(run="''", more="    needs: [b]\n"), version=9))) == 3


@pytest.mark.parametrize(
    ("expectations", "size"),
    [("1000", 1000), ("'50'", 50), ("1_000", 1000), ("12.7", 12), ("'1_0'", 10)],
)
def test_version_3_takes_any_whole_population(expectations: str, size: int) -> None:
    text = project(version=3, more=f"expectations: {{population_size: {expectations}}}\n")
    assert accepted(text).population_size == size


@pytest.mark.parametrize(
    "expectations",
    ["", "expectations:\n", "expectations: 10\n", "expectations: {}\n", "expectations: {population_size: }\n"]
    + [
        f"expectations: {{population_size: {size}}}\n"
        for size in ("many", "'1.5'", ".inf", ".nan", "[1]", "2020-01-01")
    ]
    + ["expectations: {population_size: 10, seed: 3}\n"],
)
def test_version_3_demands_a_population(expectations: str) -> None:
    found = problems(project(version=3, more=expectations))
    assert len(found) == 1
    assert "expectations" in found[0]


@pytest.mark.parametrize("version", [1, 2])
def test_before_version_3_expectations_are_ignored(version: int) -> None:
    assert accepted(project(version=version, more="expectations: garbage\n")).population_size == 1000


@pytest.mark.parametrize("version", [4, 5])
def test_from_version_4_on_expectations_must_be_absent(version: int) -> None:
    assert accepted(project(version=version, more="expectations: ~\n")).population_size is None
    (problem,) = problems(project(version=version, more="expectations: {population_size: 10}\n"))
    assert problem == "line 2, expectations: `expectations` is not supported from version 4 on; remove it"
