"""What is legal in a project.yaml and probably wrong: each warning, and what is none."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner_cli.engine.patterns import fits
from jobrunner_cli.engine.study.checking import report_on
from jobrunner_cli.engine.study.overlap import can_overlap
from support.projects import project

CORPUS = Path(__file__).parents[1] / "corpus" / "valid"


def warnings(text: str) -> list[str]:
    report = report_on(text.encode())
    assert report.problems == ()
    return [str(warning) for warning in report.warnings]


def action(name: str, run: str, outputs: str, needs: str = "[]") -> str:
    return f"  {name}:\n    run: {run}\n    needs: {needs}\n    outputs: {{{outputs}}}\n"


def high(*paths: str) -> str:
    return "highly_sensitive: {" + ", ".join(f"h{number}: '{path}'" for number, path in enumerate(paths)) + "}"


def moderate(*paths: str) -> str:
    return "moderately_sensitive: {" + ", ".join(f"m{number}: '{path}'" for number, path in enumerate(paths)) + "}"


def test_a_sound_study_has_none() -> None:
    text = action("a", "python:v2 a.py --output out/a.csv", high("out/a.csv")) + action(
        "b", "python:v2 b.py out/a.csv --output=out/b.csv", moderate("out/b.csv"), "[a]"
    )
    assert warnings(project(text, version=5)) == []


@pytest.mark.parametrize("version", [1, 2, 4])
def test_an_old_version(version: int) -> None:
    assert warnings(project("  {}\n", version=version)) == [f"line 1, version: version {version} is old; 5 is current"]


def test_a_file_that_is_refused_has_its_warnings_too() -> None:
    report = report_on(project("  a: 1\n", version=4).encode())
    assert report.problems
    assert [warning.line for warning in report.warnings] == [1]
    assert report_on(b"[").warnings == ()
    assert report_on(project(version=9).encode()).warnings == ()


@pytest.mark.parametrize("version", [1, 2])
def test_expectations_that_a_version_ignores(version: int) -> None:
    found = warnings(project("  {}\n", version=version, more="expectations: {population_size: 10}\n"))
    assert f"line 2, expectations: not used in version {version}: a made-up cohort has 1000 patients" in found
    assert len(warnings(project("  {}\n", version=version, more="expectations: ~\n"))) == 1


def test_expectations_are_no_noise_where_they_have_to_be() -> None:
    more = "expectations: {population_size: 10}\n"
    for text in (
        action("a", "cohortextractor:v1 generate_cohort", high("a.csv")),
        action("b", "python:v2 x", high("b.csv")),
    ):
        assert [w for w in warnings(project(text, version=3, more=more)) if "expectations" in w] == []


@pytest.mark.parametrize(
    ("image", "meant"),
    [("pyhton", "python"), ("erhql", "ehrql"), ("R", "r"), ("stata", "stata-mp"), ("sql-runner", "sqlrunner")],
)
def test_an_image_that_is_nearly_one(image: str, meant: str) -> None:
    text = action("a", f"{image}:v1 x", high("a.csv")) + action("b", f"{image}:v1 y", high("b.csv"))
    assert warnings(project(text, version=5)) == [
        (
            f'line 4, action a, run: "{image}" is none of the images, and so taken for a reusable action'
            f' (did you mean "{meant}"?)'
        )
    ]


@pytest.mark.parametrize("image", ["ghcr.io/opensafely-core/python", "some.git", "-x"])
def test_an_image_that_is_none_and_no_reusable_action_either(image: str) -> None:
    (warning,) = warnings(project(action("a", f"{image}:v1 x", high("a.csv")), version=5))
    assert f'"{image}" is none of the images, and no reusable action can have that name' in warning


def test_levels_without_a_path() -> None:
    assert warnings(project(action("a", "python:v1 x", "highly_sensitive: {}"), version=5)) == [
        "line 6, action a, outputs: no path is given, so nothing that the action makes is kept"
    ]


@pytest.mark.parametrize(
    "name", ["cohort-joiner", "cohort-report", "matching", "diabetes-algo", "kaplan-meier-function"]
)
def test_reusable_actions_are_not_taken_for_images(name: str) -> None:
    assert warnings(project(action("a", f"{name}:v1 x", high("a.csv")), version=5)) == []


@pytest.mark.parametrize(
    ("run", "meant"),
    [
        ("ehrql:v1 generate-datset d.py --output a.csv", "generate-dataset"),
        ("ehrql:v1 generate_measures d.py --output a.csv", "generate-measures"),
        ("databuilder:v1 generatedataset d.py --output a.csv", "generate-dataset"),
    ],
)
def test_a_command_that_is_nearly_one(run: str, meant: str) -> None:
    (warning,) = warnings(project(action("a", run, high("a.csv")), version=5))
    image = run.partition(":")[0]
    assert warning == f'line 4, action a, run: "{run.split()[1]}" is no command of {image} (did you mean "{meant}"?)'


@pytest.mark.parametrize(
    "run", ["ehrql:v1 generate-measures m.py --output a.csv", "ehrql:v1 dump-example-data", "ehrql:v1"]
)
def test_other_commands_are_left_alone(run: str) -> None:
    assert warnings(project(action("a", run, high("a.csv")), version=5)) == []


def test_latest_is_named_once_for_each_image() -> None:
    text = action("a", "python:latest a.py", high("a.csv")) + action("b", "python:latest b.py", high("b.csv"))
    text += action("c", "r:latest c.R", high("c.csv")) + action("d", "r:v2 d.R", high("d.csv"))
    assert warnings(project(text))[1:] == [
        'line 4, action a, run: "python:latest" (in 2 actions) may be another program tomorrow; name a version, such as v1',
        'line 12, action c, run: "r:latest" may be another program tomorrow; name a version, such as v1',
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("out/*.csv", "out/a.csv"),
        ("out/*.csv", "out/in*.csv"),
        ("*/a.csv", "out/*.csv"),
        ("out/a*b*.csv", "out/*c.csv"),
    ],
)
def test_patterns_of_one_action_with_different_levels_that_meet(one: str, other: str) -> None:
    text = project(action("a", "python:v2 x", f"{high(one)}, {moderate(other)}"), version=5)
    assert warnings(text) == [
        (
            f'line 6, action a, outputs.moderately_sensitive.m0: "{other}" can name the same file as "{one}"'
            " (line 6, highly_sensitive); a file should have one level"
        )
    ]


@pytest.mark.parametrize("needed_first", [True, False])
def test_a_wildcard_that_takes_in_an_input_of_a_stricter_level(needed_first: bool) -> None:
    maker, user = (
        action("a", "python:v2 x", high("out/a.csv")),
        action("b", "python:v2 y", moderate("out/*.csv"), "[a]"),
    )
    text = project(maker + user if needed_first else user + maker, version=5)
    lines = (10, 6) if needed_first else (6, 10)
    assert warnings(text) == [
        (
            f'line {lines[0]}, action b, outputs.moderately_sensitive.m0: "out/*.csv" can name the same file as "out/a.csv"'
            f' of action "a" (line {lines[1]}, highly_sensitive), which it needs; that input would be its output, and'
            " moderately_sensitive"
        )
    ]


@pytest.mark.parametrize(
    ("made", "used", "needs"),
    [
        # Other working copies.
        (high("out/a.csv"), moderate("out/*.csv"), "[]"),
        (high("out/*.csv"), moderate("out/a.csv"), "[]"),
        # It writes that file itself.
        (high("out/*.csv"), moderate("out/a.csv"), "[a]"),
        # No less private.
        (moderate("out/a.csv"), high("out/*.csv"), "[a]"),
        (high("out/a.csv"), high("out/*.csv"), "[a]"),
    ],
)
def test_patterns_of_two_actions_that_do_no_harm(made: str, used: str, needs: str) -> None:
    text = action("a", "python:v2 x", made) + action("b", "python:v2 y", used, needs)
    assert warnings(project(text, version=5)) == []


def test_only_what_is_needed_directly_can_become_an_output() -> None:
    text = action("a", "python:v2 x", high("out/a.csv")) + action("b", "python:v2 y", high("b.csv"), "[a]")
    text += action("c", "python:v2 z", moderate("out/*.csv"), "[b]")
    assert warnings(project(text, version=5)) == []


def test_one_path_with_two_levels_in_version_1() -> None:
    text = action("a", "python:v2 x", f"{high('a.csv')}, {moderate('a.csv')}")
    assert any("a file should have one level" in warning for warning in warnings(project(text, version=1)))


@pytest.mark.parametrize(
    "outputs",
    [
        f"{high('out/*.csv')}, {moderate('out/deeper/a.csv')}",
        f"{high('out/*.rds')}, {moderate('out/*.csv')}",
        f"{high('out/a-*.csv')}, {moderate('out/b-*.csv')}",
        high("out/*.csv", "out/a*.csv"),
    ],
)
def test_patterns_that_do_not_meet_or_have_one_level(outputs: str) -> None:
    assert warnings(project(action("a", "python:v2 x", outputs), version=5)) == []


COMPONENT = st.text(alphabet="ab*", min_size=1, max_size=4).filter(lambda text: "**" not in text)


@given(COMPONENT, COMPONENT)
def test_patterns_meet_if_a_file_could_match_both(one: str, other: str) -> None:
    names = ("".join(letters) for length in range(1, 8) for letters in product("ab", repeat=length))
    meets = any(fits(one.split("*"), name) and fits(other.split("*"), name) for name in names)
    assert can_overlap(one, other) == meets
    assert can_overlap(f"x/{one}", f"x/{other}") == meets
    assert not can_overlap(f"x/{one}", other)


@pytest.mark.parametrize("argument", ["out/a.csv", "--in=out/a.csv", "--in out/a.csv", "./out/a.csv", "'out/*.csv'"])
@pytest.mark.parametrize("pattern", ["out/a.csv", "out/*.csv"])
def test_a_file_of_an_action_that_is_not_needed(argument: str, pattern: str) -> None:
    text = action("a", "python:v2 x", high(pattern)) + action("b", f"python:v2 y.py {argument}", moderate("b.txt"))
    (warning,) = warnings(project(text, version=5))
    assert warning.startswith('line 8, action b, run: its arguments name "out/')
    assert warning.endswith(', an output of action "a"; add that to `needs`')


@pytest.mark.parametrize(
    ("run", "needs"),
    [
        ("python:v2 y.py out/a.csv", "[a]"),
        ("python:v2 y.py out/c.csv", "[]"),
        ("python:v2 y.py out", "[]"),
        ("python:v2 y.py b.txt", "[]"),
        ('python:v2 "print(1); out/a.csv, or so"', "[]"),
    ],
)
def test_arguments_that_need_nothing_more(run: str, needs: str) -> None:
    text = action("a", "python:v2 x", high("out/a.csv")) + action("b", run, moderate("b.txt"), needs)
    assert warnings(project(text, version=5)) == []


@pytest.mark.parametrize("pattern", ["*.txt", "code/*.txt"])
def test_a_wildcard_among_the_study_s_own_files_proves_nothing(pattern: str) -> None:
    word = pattern.replace("*", "notes")
    text = action("a", "r:v2 code/a.R", high(pattern)) + action("b", f"python:v2 b.py {word}", moderate("out/b.txt"))
    assert warnings(project(text, version=5)) == []


@pytest.mark.parametrize(
    "config",
    ["{df: out/a.csv}", "{deep: [1, {in: ./out/a.csv}]}", "{out/b.csv: 1, x: ['no file', out/a.csv, out/a.csv]}"],
)
def test_a_file_in_the_config(config: str) -> None:
    text = action("a", "python:v2 x", high("out/*.csv")) + action("b", "matching:v1", moderate("b.txt"))
    (warning,) = warnings(project(f"{text}    config: {config}\n", version=5))
    assert warning == (
        'line 7, action b, config: its `config` names "out/a.csv", an output of action "a"; add that to `needs`'
    )
    text = text.replace("needs: []\n    outputs: {mod", "needs: [a]\n    outputs: {mod")
    assert warnings(project(f"{text}    config: {config}\n", version=5)) == []


def test_only_what_is_needed_directly_is_there() -> None:
    text = action("a", "python:v2 x", high("a.csv")) + action("b", "python:v2 y", high("b.csv"), "[a]")
    text += action("c", "python:v2 z a.csv b.csv", high("c.csv"), "[b]")
    (warning,) = warnings(project(text, version=5))
    assert '"a.csv", an output of action "a"' in warning


def test_an_action_does_not_read_what_is_made_from_its_own_outputs() -> None:
    text = action("a", "python:v2 x --report report.csv", high("a.csv"))
    text += action("b", "python:v2 y a.csv", moderate("report.csv"), "[a]")
    assert warnings(project(text, version=5)) == []


def test_real_studies_are_not_flooded_with_doubts() -> None:
    doubts = {
        file.stem: [w for w in report_on(file.read_bytes()).warnings if w.key not in {"version", "expectations"}]
        for file in CORPUS.glob("*.yaml")
    }
    named = {stem: len([w for w in found if "latest" not in w.message]) for stem, found in doubts.items()}
    assert {stem: count for stem, count in named.items() if count} == {
        "opensafely-actions__kaplan-meier-function@ff6b2ec8": 1,
    }


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "text",
    [
        "".join(f"  a{n}: {{run: 'python:v1 {n}', outputs: {{highly_sensitive: {{a: 'o/{n}*.csv'}}}}}}\n" for n in range(8000)),
        "  a:\n    run: python:v1\n    outputs:\n      highly_sensitive:\n"
        + "".join(f"        h{n}: 'o/*{n}.csv'\n" for n in range(15_000))
        + "      moderately_sensitive:\n"
        + "".join(f"        m{n}: 'o/{n}*.txt'\n" for n in range(15_000)),
        "  a:\n    run: python:v1 " + " ".join(f"*{n}.csv" for n in range(9_000)) + "\n    outputs:\n      highly_sensitive:\n"
        + "".join(f"        h{n}: 'o/*{n}.csv'\n" for n in range(15_000)),
    ],
    ids=["actions", "patterns", "arguments"],
)  # fmt: skip
def test_large_files_are_looked_through_in_time(text: str) -> None:
    assert report_on(project(text, version=5).encode()).problems == ()
