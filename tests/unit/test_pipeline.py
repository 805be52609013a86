"""What follows from a checked pipeline: commands, images, orders."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex

import pytest

from jobrunner_cli.engine.study.pipeline import (
    Action,
    Pipeline,
    is_database_command,
    output_directories,
    read_pipeline,
    split_reference,
)


def action(run: str, *, name: str = "a", needs: str = "[]", more: str = "", outputs: str = "{o: output/%s.csv}") -> str:
    files = outputs % name if "%s" in outputs else outputs
    return f"  {name}:\n    run: {run}\n    needs: {needs}\n{more}    outputs:\n      highly_sensitive: {files}\n"


def pipeline_of(*actions: str, version: int = 4) -> Pipeline:
    expectations = "expectations: {population_size: 70}\n" if version == 3 else ""
    return read_pipeline(f"version: {version}\n{expectations}actions:\n{''.join(actions)}".encode())


def only(*actions: str, version: int = 4) -> Action:
    (single,) = pipeline_of(*actions, version=version).actions.values()
    return single


def test_an_action_has_its_words() -> None:
    single = only(action("\"python:v2  python 'a b.py' --x\""))
    assert (single.run, single.words) == ("python:v2  python 'a b.py' --x", ("python:v2", "python", "a b.py", "--x"))
    assert (single.image, single.version, single.image_and_tag) == ("python", "v2", "python:v2")
    assert single.args == ("python", "a b.py", "--x")
    assert not single.is_database_action


def test_a_command_is_split_like_a_shell_would_without_comments_and_expansion() -> None:
    single = only(action("'python:v2 a\\ b \"c''d\" $HOME *.csv `x` # e'"))
    assert single.args == ("a b", "c'd", "$HOME", "*.csv", "`x`", "#", "e")
    assert shlex.split(single.command(dummy_data=False)) == list(single.words)


def test_the_config_is_json_in_the_order_of_the_file() -> None:
    config = "    config: {z: \"it's\", a: [1_000, 1e3, true, ~, é], 1: {b: '\"'}, 1.5: x}\n"
    words = shlex.split(only(action("python:v2 x", more=config)).command(dummy_data=False))
    assert words[2:] == [
        "--config",
        '{"z": "it\\u0027s", "a": [1000, 1000.0, true, null, "\\u00e9"], "1": {"b": "\\""}, "1.5": "x"}',
    ]


@pytest.mark.parametrize("config", ["", "    config:\n", "    config: {}\n"])
def test_an_empty_config_is_not_passed_on(config: str) -> None:
    assert only(action("python:v2 x", more=config)).command(dummy_data=False) == "python:v2 x"


def test_a_cohort_is_made_up_on_dummy_data() -> None:
    single = only(action("cohortextractor:v1 generate_cohort", more="    config: {a: 1}\n"), version=3)
    start = "cohortextractor:v1 generate_cohort --config '{\"a\": 1}'"
    assert single.command(dummy_data=False) == f"{start} --output-dir=output"
    assert single.command(dummy_data=True) == f"{start} --expectations-population=70 --output-dir=output"


def test_a_dummy_data_file_stands_in_for_a_cohort() -> None:
    more = "    dummy_data_file: dummy\\data.csv\n"
    single = only(action("cohortextractor:v1 generate_cohort", more=more), version=2)
    assert single.command(dummy_data=True).endswith(" --dummy-data-file=dummy/data.csv --output-dir=output")
    assert "dummy" not in single.command(dummy_data=False)
    other = only(action("python:v2 x", more=more), version=2)
    assert other.command(dummy_data=True) == "python:v2 x"


def test_before_version_3_a_cohort_has_a_thousand_patients() -> None:
    command = only(action("cohortextractor:v1 generate_cohort"), version=1).command(dummy_data=True)
    assert "--expectations-population=1000" in shlex.split(command)


def test_a_cohort_in_several_directories_gets_no_output_directory() -> None:
    run = "cohortextractor:v1 generate_cohort --output-dir x"
    single = only(action(run, outputs="{a: x/a.csv, b: x/y/b.csv}"), version=2)
    assert single.command(dummy_data=False) == run
    top = only(action("cohortextractor:v1 generate_cohort", outputs="{a: a.csv}"), version=2)
    assert top.command(dummy_data=False).endswith(" --output-dir=.")


@pytest.mark.parametrize(
    "command",
    [
        "ehrql:v1 generate-dataset x",
        "ehrql:v1 generate-measures x",
        "databuilder:v0 generate-dataset x",
        "sqlrunner:v1",
        "cohortextractor:v1 generate_cohort",
        "cohortextractor:latest generate_codelist_report",
        "sqlrunner:v1 x.sql",
    ],
)
def test_commands_that_read_the_database(command: str) -> None:
    assert is_database_command(shlex.split(command))


@pytest.mark.parametrize(
    "command",
    [
        "ehrql:v1 test-connection",
        "ehrql:v1",
        "ehrql:v1 x generate-dataset",
        "cohortextractor:v1 generate_measures",
        "python:v2 generate-dataset",
        "ehrql-x:v1 generate-dataset",
        "databuilder:v0 generate-measures",
        "",
    ],
)
def test_commands_that_do_not(command: str) -> None:
    assert not is_database_command(shlex.split(command))


def test_images_are_each_reported_once_and_latest_as_v1() -> None:
    runs = ["r:latest 1", "r:v1 2", "python:v2 3", "some-action:v1.2 4", "r:v2-pre 5"]
    pipeline = pipeline_of(*(action(run, name=f"a{n}") for n, run in enumerate(runs)))
    assert pipeline.images == ["python:v2", "r:v1", "r:v2-pre", "some-action:v1.2"]
    assert pipeline.actions["a0"].image_and_tag == "r:latest"


def test_run_all_takes_the_order_of_the_file_with_needs_first() -> None:
    names = {"d": "[b, a]", "a": "[]", "c": "[d]", "b": "[a]", "run_all": "[c]", "e": "[run_all]"}
    pipeline = pipeline_of(*(action(f"python:v2 {name}", name=name, needs=needs) for name, needs in names.items()))
    assert pipeline.all_actions == ["d", "a", "c", "b", "e"]
    assert pipeline.run_all_order == ["a", "b", "d", "c", "run_all", "e"]


def test_needs_that_cross_at_every_step_are_walked_once() -> None:
    steps = [action("python:v2 x0", name="x0"), action("python:v2 y0", name="y0")]
    steps += [
        action(f"python:v2 {side}{n}", name=f"{side}{n}", needs=f"[x{n - 1}, y{n - 1}]")
        for n in range(1, 60)
        for side in "xy"
    ]
    pipeline = pipeline_of(*reversed(steps))
    assert sorted(pipeline.run_all_order) == sorted(pipeline.all_actions)
    assert pipeline.run_all_order[:2] in (["x0", "y0"], ["y0", "x0"])


def test_no_actions_at_all() -> None:
    pipeline = read_pipeline(b"version: 4\nactions: {}\n")
    assert (pipeline.all_actions, pipeline.run_all_order, pipeline.images) == ([], [], [])


def test_an_action_cannot_be_changed_and_its_outputs_can_be_stored() -> None:
    single = only(action("python:v2 x"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        single.name = "b"  # type: ignore[misc]
    assert json.loads(json.dumps(single.outputs)) == {"highly_sensitive": {"o": "output/a.csv"}}


def test_references() -> None:
    assert split_reference("some-action:v1.2") == ("some-action", "v1.2")
    for word in ("", "python", ":v1", "python:1", "python:v1\n"):
        with pytest.raises(ValueError, match="^" + re.escape(word)):
            split_reference(word)


def test_directories_of_patterns() -> None:
    assert output_directories(["a.csv", "b/c-*.csv", "b/d.csv", "b/e/f.csv"]) == {".", "b", "b/e"}
