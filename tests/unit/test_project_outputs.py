"""The rules of project.yaml for outputs: levels, paths, and what database commands owe to privacy."""

from __future__ import annotations

import pytest

from jobrunner_cli.engine.study.pipeline import examine
from support.projects import ACTION, accepted, action, problems, project


@pytest.mark.parametrize(
    ("outputs", "problem"),
    [
        ("", "must be a mapping with at least one of"),
        ("[a.csv]", "must be a mapping with at least one of"),
        ("{}", "at least one output is needed"),
        ("{highly_sensitive: }", "at least one output is needed"),
        ("{highly_sensitive: , moderately_sensitive: ~}", "at least one output is needed"),
        ("{sensitive: {a: a.csv}}", 'the key "sensitive" is not known here'),
        ("{highly_sensitive: {a: a.csv}, 1: {b: b.csv}}", "the key 1 is a number; keys are text"),
        ("{highly_sensitive: a.csv}", "must be a mapping from ids to paths, not text"),
        ("{highly_sensitive: {a: }}", "must be text, but it is null"),
        ("{highly_sensitive: {a: [a.csv]}}", "must be text, but it is a list"),
        ("{highly_sensitive: {a: 1.5}}", "must be text, but 1.5 is a number"),
        ("{highly_sensitive: {~: a.csv}}", "the key null is null; put it in quotes"),
        ("{highly_sensitive: {1: a.csv, '1': b.csv}}", 'the key "1" is there twice'),
    ],
)
def test_outputs_that_are_none(outputs: str, problem: str) -> None:
    (found,) = problems(project(action(outputs=outputs)))
    assert problem in found


def test_a_level_may_be_given_without_paths() -> None:
    pipeline = accepted(project(action(outputs="{highly_sensitive: {}, moderately_sensitive: }")))
    assert pipeline.actions["a"].outputs == {"highly_sensitive": {}}
    assert pipeline.actions["a"].patterns == ()


def test_levels_come_strictest_first_and_those_that_are_null_not_at_all() -> None:
    text = action(
        outputs="{minimally_sensitive: {c: c.csv}, moderately_sensitive: , highly_sensitive: {1: a.csv, b: b.csv}}"
    )
    outputs = accepted(project(text)).actions["a"].outputs
    assert [(level, list(paths.items())) for level, paths in outputs.items()] == [
        ("highly_sensitive", [("1", "a.csv"), ("b", "b.csv")]),
        ("minimally_sensitive", [("c", "c.csv")]),
    ]


@pytest.mark.parametrize(
    "path",
    [
        "a.csv",
        "output/a.csv",
        "output/*/a-*.feather",
        "*.csv",
        "a.b/c.d",
        "meta/metadata/x.csv",
        "metadata2/a.csv",
        "a b.csv",
        "..a.csv",
        "a..csv",
        ".a.csv",
        "output/a.csv.gz",
        "c/d:e.csv",
        "é.csv",
    ],
)
def test_paths(path: str) -> None:
    assert accepted(project(action(outputs=f"{{highly_sensitive: {{a: '{path}'}}}}"))).actions["a"].patterns == (path,)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("output\\\\a.csv", "holds a back slash"),
        ("output/**/a.csv", "holds `**`"),
        ("output/a?.csv", "holds `?`"),
        ("output/[ab].csv", "holds `[`"),
        ("output/a", "must end in the type of the file"),
        ("output/.csv", "must end in the type of the file"),
        ("output/a.", "must end in the type of the file"),
        ("output/a.*", "must end in the type of the file"),
        ("output/a.csv*", "must end in the type of the file"),
        ("", "is not a path"),
        *((path, "is not in standard form") for path in ("a//b.csv", "./a.csv", "a/./b.csv", "a/../b.csv", "../a.csv")),
        *((path, "is not in standard form") for path in ("a/b.csv/", "../../a.csv", "a/b/../../../c.csv")),
        *(
            (path, "is absolute")
            for path in ("/a.csv", "//a/b.csv", "c:/a.csv", "C:a.csv", "c:x.png", "1:/a.csv", "*:/a.csv")
        ),
        *((path, "is in `metadata`") for path in ("metadata/a.csv", "metadata/a/b.csv")),
        *((path, "holds a NUL or a line break") for path in ("a\\0.csv", "a\\n.csv", "a\\r.csv")),
    ],
)
def test_paths_that_are_refused(path: str, problem: str) -> None:
    found = problems(project(action(outputs=f'{{highly_sensitive: {{a: "{path}"}}}}')))
    assert len(found) == 1
    assert problem in found[0]


def test_the_metadata_directory_itself_is_refused() -> None:
    found = problems(project(action(outputs="{highly_sensitive: {a: metadata}}")))
    assert any("is in `metadata`" in problem for problem in found)


def test_several_things_may_be_wrong_with_one_path() -> None:
    assert len(problems(project(action(outputs="{highly_sensitive: {a: '/a/../**'}}")))) == 3


@pytest.mark.parametrize("suffix", ["csv", "jpg", "jpeg", "png", "svg", "svgz", "html", "txt", "log", "json", "md"])
def test_reviewable_suffixes(suffix: str) -> None:
    accepted(project(action(outputs=f"{{moderately_sensitive: {{a: a.{suffix}}}}}")))


@pytest.mark.parametrize("suffix", ["CSV", "csv.gz", "rds", "htm", "arrow", "json5", "xlsx"])
def test_other_suffixes_are_not_for_review(suffix: str) -> None:
    (problem,) = problems(project(action(outputs=f"{{moderately_sensitive: {{a: a.{suffix}}}}}")))
    assert f"ends in `.{suffix.rpartition('.')[2]}`" in problem
    accepted(project(action(outputs=f"{{highly_sensitive: {{a: a.{suffix}}}}}")))


def test_from_version_2_on_a_path_belongs_to_one_output() -> None:
    text = action(outputs="{highly_sensitive: {a: a.csv, b: a.csv}}") + ACTION.replace("output/table.csv", "a.csv")
    assert accepted(project(text, version=1)).version == 1.0
    assert problems(project(text, version=2)) == [
        'line 5, action a, outputs.highly_sensitive.b: "a.csv" is already an output of this action (line 5); a path may be given once',
        (
            'line 10, action describe, outputs.moderately_sensitive.table: "a.csv" is already an output of action "a" (line 5);'
            " a path may be given once"
        ),
    ]


DATASETS = ("ehrql:v1 generate-dataset", "ehrql:v1 generate_dataset", "databuilder:v0 generate-dataset")


@pytest.mark.parametrize("command", DATASETS)
@pytest.mark.parametrize(
    ("options", "outputs"),
    [
        ("d.py --output a.csv", "{highly_sensitive: {a: a.csv}}"),
        ("--output=a.csv d.py", "{highly_sensitive: {a: a.csv, b: b.csv}}"),
        ("d.py --output out/ds:arrow", "{highly_sensitive: {a: out/ds/*.arrow}}"),
        ("d.py --output out/ds/:arrow", "{highly_sensitive: {a: out/ds/a.arrow, b: out/ds/b.arrow}}"),
        ("'d.py' --output 'a.csv' -- --output other.csv", "{highly_sensitive: {a: a.csv}}"),
    ],
)
def test_a_dataset_goes_to_one_of_the_outputs(command: str, options: str, outputs: str) -> None:
    accepted(project(action(f"{command} {options}", outputs=outputs)))


@pytest.mark.parametrize(
    "command", [*DATASETS, "ehrql:v1  generate-dataset", ">\n      ehrql:v1\n        generate-dataset"]
)
@pytest.mark.parametrize(
    ("options", "outputs", "problem"),
    [
        ("d.py --output a.csv", "{moderately_sensitive: {a: a.csv}}", "must be highly_sensitive"),
        (
            "d.py --output a.csv",
            "{highly_sensitive: {a: a.csv}, minimally_sensitive: {b: b.csv}}",
            "must be highly_sensitive",
        ),
        ("d.py", "{highly_sensitive: {a: a.csv}}", "must be given `--output`"),
        ("d.py --output", "{highly_sensitive: {a: a.csv}}", "must be given `--output`"),
        ("d.py --ouput a.csv", "{highly_sensitive: {a: a.csv}}", '(did you mean "--output"?)'),
        ("d.py --outputs=a.csv", "{highly_sensitive: {a: a.csv}}", '(did you mean "--output"?)'),
        ("d.py --output a.csv", "{highly_sensitive: {}}", "is not one of the outputs"),
        ("d.py -- --output a.csv", "{highly_sensitive: {a: a.csv}}", "must be given `--output`"),
        ("d.py --output b.csv", "{highly_sensitive: {a: a.csv}}", "is not one of the outputs"),
        ("d.py --output ./a.csv", "{highly_sensitive: {a: a.csv}}", "is not one of the outputs"),
        ("d.py --output a.csv --output b.csv", "{highly_sensitive: {a: a.csv}}", "is not one of the outputs"),
        ("d.py --output out:csv", "{highly_sensitive: {a: out/*.arrow}}", "all outputs must match"),
        ("d.py --output out:csv", "{highly_sensitive: {a: out/*.csv, b: b.csv}}", "all outputs must match"),
        ("d.py --output out:csv", "{highly_sensitive: {a: out/deeper/*.csv}}", "all outputs must match"),
        ("d.py --output .:csv", "{highly_sensitive: {a: a.csv}}", "must name a directory before the colon"),
        ("d.py --output :csv", "{highly_sensitive: {a: a.csv}}", "must name a directory before the colon"),
        ("d.py --output o/a:b.csv", "{highly_sensitive: {a: 'o/a:b.csv'}}", "all outputs must match"),
    ],
)
def test_a_dataset_that_could_leave_its_level_is_refused(
    command: str, options: str, outputs: str, problem: str
) -> None:
    (found,) = problems(project(action(f"{command} {options}", outputs=outputs)))
    assert problem in found


def test_a_misspelt_output_of_a_dataset_is_recognised() -> None:
    text = action(
        "ehrql:v1 generate-dataset d.py --output output/datasett.csv",
        outputs="{highly_sensitive: {a: output/dataset.csv, b: output/other.csv}}",
    )
    _, (problem,) = examine(project(text).encode())
    assert problem.value == '"output/datasett.csv"'
    assert problem.suggestion == "output/dataset.csv"


def test_every_misspelt_output_of_a_file_is_recognised() -> None:
    text = "".join(
        f"  a{n}:\n    run: ehrql:v1 generate-dataset {n}.py --output out/dataset{n}.cvs\n"
        f"    outputs: {{highly_sensitive: {{a: out/dataset{n}.csv}}}}\n"
        for n in range(30)
    )
    _, found = examine(project(text).encode())
    assert [problem.suggestion for problem in found] == [f"out/dataset{n}.csv" for n in range(30)]


def test_other_commands_of_ehrql_choose_their_level() -> None:
    accepted(project(action("ehrql:v1 generate-measures m.py", outputs="{moderately_sensitive: {a: a.csv}}")))


@pytest.mark.parametrize(
    "command", ["cohortextractor:v1 generate_cohort", ">\n      cohortextractor:v1\n        generate_cohort"]
)
def test_a_cohort_has_one_level_and_one_directory(command: str) -> None:
    levels = "{highly_sensitive: {a: a.csv}, moderately_sensitive: {b: b.csv}}"
    directories = "{moderately_sensitive: {a: x/a.csv, b: y/b.csv}}"
    (found,) = problems(project(action(command, outputs=levels), version=2))
    assert "must have one privacy level" in found
    (found,) = problems(project(action(command, outputs=directories), version=2))
    assert "must lie in one directory, or `--output-dir` must be given" in found
    (found,) = problems(
        project(action(command, outputs="{highly_sensitive: {a: a.csv}, moderately_sensitive: {}}"), version=2)
    )
    assert "must have one privacy level" in found
    (found,) = problems(project(action(command, outputs="{highly_sensitive: {}}"), version=2))
    assert "must lie in one directory" in found
    accepted(project(action(command, outputs="{highly_sensitive: {a: a.csv}, moderately_sensitive: }"), version=2))
    for option in (" --output-dir x", " --output-dir=x"):
        accepted(project(action(command + option, outputs=directories), version=2))
