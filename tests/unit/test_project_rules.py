"""The rules of project.yaml, each by a small file that breaks it, and the words in which a user learns of it."""

from __future__ import annotations

import pytest

from jobrunner_cli.engine.errors import ProjectValidationError
from jobrunner_cli.engine.study.pipeline import examine, read_pipeline
from jobrunner_cli.engine.study.problems import Problem
from support.projects import accepted, action, problems, project


def test_all_problems_of_a_file_are_listed_in_its_order_below_a_heading() -> None:
    text = """\
version: 4
actions:
  generate_dataset:
    run: ehrql:v1 generate-dataset analysis/dataset.py
    outputs:
      highly_sensitve:
        a: output/a.csv
  describe:
    run: python:v2 python describe.py
    need: [generate_dataset]
    needs: [generate_datset]
    outputs:
      moderately_sensitive:
        table: output/table.rds
"""
    with pytest.raises(ProjectValidationError) as caught:
        read_pipeline(text.encode())
    assert caught.value.message.split("\n") == [
        "project.yaml has 4 problems:",
        (
            '  line 6, action generate_dataset, outputs: the key "highly_sensitve" is not known here'
            ' (did you mean "highly_sensitive"?)'
        ),
        '  line 10, action describe: the key "need" is not known here (did you mean "needs"?)',
        '  line 11, action describe, needs: "generate_datset" is not an action (did you mean "generate_dataset"?)',
        (
            '  line 14, action describe, outputs.moderately_sensitive.table: "output/table.rds" ends in `.rds`,'
            " and moderately_sensitive outputs may only be"
            " .csv, .jpg, .jpeg, .png, .svg, .svgz, .html, .txt, .log, .json, .md"
        ),
    ]
    assert caught.value.hint is not None
    assert "commit" in caught.value.hint


def test_a_file_may_go_by_another_name() -> None:
    with pytest.raises(ProjectValidationError, match=r"^other\.yaml has 1 problem:\n  the file is empty$"):
        read_pipeline(b"", name="other.yaml")


def test_a_problem_carries_its_parts_for_programs() -> None:
    _, (problem,) = examine(project(action(more="    needs: [b]\n")).encode())
    assert problem == Problem(
        message='"b" is not an action', action="a", key="needs", value='"b"', line=6, column=13, suggestion=None
    )


def test_what_a_message_shows_is_short_and_without_control_characters() -> None:
    (problem,) = problems(project(action(run='"\\e[31m' + "x" * 500 + '"')))
    assert problem.startswith('line 4, action a, run: "\\x1b[31mxxx')
    assert len(problem) < 250


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "a-b",
        "a.b",
        "a_b",
        "a b",
        "a  b",
        "_a",
        "123",
        "1.5",
        "été",
        "e\u0301te\u0301",
        "हिन्दी",
        "run_all",
        "x" * 200,
    ],
)
def test_names(name: str) -> None:
    assert list(accepted(project(action().replace("a:", f"{name}:", 1))).actions) == [name]


@pytest.mark.parametrize(
    "name",
    [
        "''",
        "a/b",
        ".",
        "..",
        "__error__",
        "__a",
        "'a '",
        "' a'",
        '"a\\tb"',
        '"a\\n"',
        "a@b",
        "a:b",
        "'*'",
        "x" * 201,
        "é" * 101,
        "~",
        "true",
        "2020-01-01",
        '"a\\0"',
        "a\\b",
        "\u0301a",
        "a \u0301b",
        "a\ufe0f",
    ],
)
def test_names_that_could_not_be_file_names_are_refused(name: str) -> None:
    (problem,) = problems(project(action().replace("a:", f"{name}:", 1)))
    assert problem.startswith("line 3")


def test_a_name_that_is_a_number_and_the_same_text_are_one() -> None:
    text = project(action().replace("a:", "12:", 1) + action("python:v2 y").replace("a:", "'12':", 1))
    assert 'line 6, actions: the name "12" is on line 3 and again here' in problems(text)


def test_run_all_may_be_an_action_only_before_version_5() -> None:
    text = action().replace("a:", "run_all:", 1)
    assert accepted(project(text, version=4)).all_actions == []
    (problem,) = problems(project(text, version=5))
    assert "`run_all` means every action" in problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("  a:\n", "line 3, action a: an action must be a mapping with `run` and `outputs`, it is null"),
        ("  a: [x]\n", "line 3, action a: an action must be a mapping with `run` and `outputs`, it is a list"),
        ("  a: {run: python:v2 x}\n", "line 3, action a, outputs: the key `outputs` is missing"),
        (action(more="    timeout: 3\n"), 'line 6, action a: the key "timeout" is not known here'),
        (action(more="    1: 3\n"), "line 6, action a: the key 1 is a number; keys are text"),
        (
            action(more="    moderately_sensitive: {b: b.csv}\n"),
            'line 6, action a: the key "moderately_sensitive" belongs under `outputs`',
        ),
        (
            "  a:\n    outputs: {highly_sensitive: {a: output/a.csv}}\n",
            "line 3, action a, run: the key `run` is missing",
        ),
        (action(more="    config: [1]\n"), "line 6, action a, config: must be a mapping, not a list"),
        (
            action(more="    dummy_data_file: 3\n"),
            "line 6, action a, dummy_data_file: must be text, but 3 is a number; put it in quotes",
        ),
        (action(more="    dummy_data_file: ''\n"), 'line 6, action a, dummy_data_file: "" is not a path'),
    ],
)
def test_the_keys_of_an_action(text: str, problem: str) -> None:
    assert problems(project(text)) == [problem]


@pytest.mark.parametrize("tag", ["v1", "v1.2.3", "v0", "v5-pre", "v1.2-pre", "dev", "latest", "v.1"])
def test_image_versions(tag: str) -> None:
    assert accepted(project(action(f"python:{tag} x"))).actions["a"].version == tag


@pytest.mark.parametrize(
    "word",
    [
        "python",
        "python:",
        "python:2",
        "python:v",
        "python:v.",
        "python:v1-rc",
        "python:V1",
        "python:v1:v2",
        ":v1",
        "python:v１",
        "python:v1-pre2",
        "python:latest2",
        "'python:v1 x'",
    ],
)
def test_the_first_word_is_an_image_and_its_version(word: str) -> None:
    (problem,) = problems(project(action(f'"{word} x"')))
    assert "must be an image and its version, such as" in problem


def test_a_number_for_a_version_is_recognised() -> None:
    assert problems(project(action("stata-mp:17 x")))[0].endswith('(did you mean "stata-mp:v17"?)')


@pytest.mark.parametrize(
    ("run", "problem"),
    [
        ("''", "the command is empty"),
        ("'   '", "the command is empty"),
        ('"python:v2 \'x"', "cannot be split into words: a quote is opened and never closed"),
        ("'python:v2 x\\'", "cannot be split into words: it ends in a lone `\\`"),
        ('"python:v2 \\0"', "a command cannot hold the character NUL"),
        ("12", "must be text, but 12 is a number; put it in quotes"),
        ("", "must be text, but it is null"),
        ("[python:v2, x]", "must be text, but it is a list"),
    ],
)
def test_commands_that_cannot_be_split(run: str, problem: str) -> None:
    assert problems(project(action(run))) == [f"line 4, action a, run: {problem}"]


def test_latest_and_cohortextractor_go_with_old_versions_only() -> None:
    latest, cohort = action("python:latest x"), action("cohortextractor:v1 generate_measures")
    assert accepted(project(latest, version=4)).actions["a"].image_and_tag == "python:latest"
    assert "`latest` is refused from version 5 on" in problems(project(latest, version=5))[0]
    assert accepted(project(cohort, version=2)).actions["a"].image == "cohortextractor"
    assert "cohortextractor is not supported from version 4 on" in problems(project(cohort, version=4))[0]


@pytest.mark.parametrize("image", ["cohortextractor", "cohortextractor-v2", "cohortextractor2"])
@pytest.mark.parametrize("version", [4, 5])
def test_every_image_of_the_cohortextractor_goes_with_old_versions_only(image: str, version: int) -> None:
    text = action(f"{image}:v1 generate_dataset", outputs="{moderately_sensitive: {a: a.csv}}")
    assert accepted(project(text, version=2)).actions["a"].image == image
    assert problems(project(text, version=version)) == [
        f"line 4, action a, run: {image} is not supported from version 4 on; use ehrql"
    ]


def test_needs_keep_order_and_repetitions() -> None:
    text = "".join(
        f"  {name}:\n    run: python:v2 {name}\n    needs: {needs}\n    outputs: {{highly_sensitive: {{a: {name}.csv}}}}\n"
        for name, needs in (("a", "[c, b, c]"), ("b", "~"), ("c", "[]"))
    )
    assert accepted(project(text)).actions["a"].needs == ("c", "b", "c")


@pytest.mark.parametrize(("name", "need"), [("123", "123"), ("123", "'123'"), ("'123'", "123"), ("1.50", "1.5")])
def test_a_need_that_is_a_number_is_the_action_of_that_name(name: str, need: str) -> None:
    text = action().replace("a:", f"{name}:", 1) + action(
        "python:v2 y", outputs="{highly_sensitive: {b: b.csv}}", more=f"    needs: [{need}]\n"
    ).replace("a:", "b:", 1)
    pipeline = accepted(project(text))
    first, second = pipeline.actions.values()
    assert second.needs == (first.name,)
    assert pipeline.run_all_order == [first.name, "b"]


@pytest.mark.parametrize(
    ("needs", "problem"),
    [
        ("other", 'must be a list of actions, not text (did you mean "[other]"?)'),
        ("{other: 1}", "must be a list of actions, not a mapping"),
        ("[~]", "must be text, but it is null"),
        ("[1]", '"1" is not an action'),
        ("[true]", "must be text, but true is true or false; put it in quotes"),
        ("[[other]]", "must be text, but it is a list"),
        ("[other another]", '"other another" is one name; put commas between names: [other, another]'),
        ("[otter]", '"otter" is not an action'),
        ("[a]", "an action cannot need itself"),
    ],
)
def test_needs_that_name_no_other_action(needs: str, problem: str) -> None:
    assert problems(project(action(more=f"    needs: {needs}\n"))) == [f"line 6, action a, needs: {problem}"]


def test_an_action_whose_name_has_a_space_cannot_be_needed() -> None:
    text = action().replace("a:", "a b:", 1) + action("python:v2 y", outputs="{highly_sensitive: {b: b.csv}}").replace(
        "a:", "c:", 1
    )
    assert problems(project(text + "    needs: [a b]\n")) == [
        'line 9, action c, needs: "a b" cannot be needed, because its name has a space; give that action another'
    ]


def test_what_the_reader_finds_is_told_with_action_and_key() -> None:
    text = action(more="    run: python:v2 y\n    config:\n      k: [{m: 1, m: 2}]\n      d: !!binary eA==\n")
    assert problems(project(text)) == [
        'line 6, action a: the key "run" is on line 4 and again on line 6',
        'line 8, action a, config.k: the key "m" is on line 8 and again on line 8',
        "line 9, action a, config.d: the tag !!binary is not allowed",
    ]
    assert problems(project(action() * 2))[0] == 'line 6, actions: the key "a" is on line 3 and again on line 6'
    assert problems(project(action(more="    needs: [*b]\n")))[0].startswith("line 6, action a, needs: nothing before")


def test_every_circle_of_needs_is_shown_once() -> None:
    needs = {"a": "b", "b": "c, d", "c": "a", "d": "e", "e": "d", "f": "a"}
    text = "".join(
        f"  {name}: {{run: python:v2 {name}, needs: [{need}], outputs: {{highly_sensitive: {{o: {name}.csv}}}}}}\n"
        for name, need in needs.items()
    )
    assert problems(project(text)) == [
        "line 5, action c, needs: the needs go round in a circle: a -> b -> c -> a",
        "line 7, action e, needs: the needs go round in a circle: d -> e -> d",
    ]


def test_a_chain_of_thousands_of_needs_is_walked() -> None:
    count = 5000
    text = "".join(
        f"  a{n}: {{run: python:v2 {n}, needs: [{f'a{n + 1}' if n < count else ''}], outputs: {{highly_sensitive: {{o: {n}.csv}}}}}}\n"
        for n in range(count + 1)
    )
    assert accepted(project(text)).run_all_order == [f"a{n}" for n in range(count, -1, -1)]


def two(run: str, other: str, config: str = "", other_config: str = "") -> str:
    first = f"  a:\n    run: {run}\n{config}    outputs: {{highly_sensitive: {{a: a.csv}}}}\n"
    return first + f"  b:\n    run: {other}\n{other_config}    outputs: {{highly_sensitive: {{b: b.csv}}}}\n"


def test_a_command_may_be_given_once_unless_its_config_differs() -> None:
    same = "python:v2 x"
    one, another = "    config: {n: 1}\n", "    config: {n: 2}\n"
    assert problems(project(two(same, same))) == ['line 7, action b, run: the same command as action "a" (line 3)']
    assert problems(project(two(same, same, one, one)))[0].endswith('"a" (line 3), with the same config')
    assert problems(project(two(same, same, "    config: {}\n"))) != []
    assert problems(project(two(same, same, "    config: {n: 1, m: 2}\n", "    config: {m: 2, n: 1}\n"))) != []
    accepted(project(two(same, same, one, another)))
    accepted(project(two(same, same, one)))
    accepted(project(two(same, "python:v2  x")))


def test_a_short_action_by_merge_keys() -> None:
    text = "  a: &a\n    run: python:v2 x\n    outputs: {highly_sensitive: {a: a.csv}}\n"
    text += "  b:\n    <<: *a\n    run: python:v2 y\n    outputs: {highly_sensitive: {b: b.csv}}\n"
    assert accepted(project(text)).actions["b"].run == "python:v2 y"
