"""What names and `action.yaml` of reusable actions mean."""

from __future__ import annotations

import shlex

import pytest

from jobrunner_cli.engine.errors import ReusableActionError
from jobrunner_cli.engine.study.reusable_actions import ALLOWED_IMAGES, is_reusable, parse_reference, resolve

REPO = "https://github.com/opensafely-actions/some-action"
WORDS = ["some-action:v1.2", "output/a file.csv", "--config", '{"n": "it\\u0027s"}']


@pytest.mark.parametrize("image", sorted(ALLOWED_IMAGES))
def test_allowed_images_are_not_reusable_actions(image: str) -> None:
    assert not is_reusable(image)
    assert not is_reusable(f"{image}:v1")


@pytest.mark.parametrize("image", ["cohort-joiner", "python3", "Python", "r2:v1", "python/x", ""])
def test_every_other_name_is_one(image: str) -> None:
    assert is_reusable(image)


def test_a_reference_is_a_name_and_a_tag() -> None:
    assert parse_reference("some-action:v1.2") == ("some-action", "v1.2")
    assert parse_reference("a.b_c:v0.0.1-pre") == ("a.b_c", "v0.0.1-pre")


@pytest.mark.parametrize(
    "word",
    [
        "some-action",
        "some-action:1",
        "../other:v1",
        "a/b:v1",
        ".:v1",
        "..:v1",
        "-x:v1",
        "a b:v1",
        "x.git:v1",
        ":v1",
        "a?b:v1",
        "a#b:v1",
        "a%2f:v1",
        "é:v1",
        "a\n:v1",
        "x" * 101 + ":v1",
        "user@host:v1",
    ],
)
def test_a_name_that_could_lead_elsewhere_is_refused(word: str) -> None:
    with pytest.raises(ReusableActionError):
        parse_reference(word)


def test_the_command_of_the_action_takes_the_remaining_words() -> None:
    command = resolve("join", WORDS, b"run: python:v2 python 'analysis/the main.py' --flag\n", repo_url=REPO)
    assert shlex.split(command) == [
        "python:v2", "python", "analysis/the main.py", "--flag", "output/a file.csv", "--config", '{"n": "it\\u0027s"}',
    ]  # fmt: skip


def test_other_keys_of_the_file_are_its_own_business() -> None:
    content = b"name: some action\nrun: r:latest Rscript x.R\ninputs: [a]\n"
    assert resolve("join", WORDS[:1], content, repo_url=REPO) == "r:latest Rscript x.R"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "cannot be read"),
        (b"run: [", "cannot be read"),
        (b"run: python:v2 x\nrun: python:v2 y\n", "cannot be read"),
        (b"run: \xff\n", "cannot be read"),
        (b"- run\n", "has no `run`"),
        (b"runs: python:v2 x\n", "has no `run`"),
        (b"run: 12\n", "has no `run`"),
        (b"run:\n", "has no `run`"),
        (b"run: ''\n", "no command with an image"),
        (b"run: python x\n", "no command with an image"),
        (b"run: \"python:v2 'x\"\n", "no command with an image"),
        (b"run: other-action:v1 x\n", "not an allowed image"),
        (b"run: bash:v1 x\n", "not an allowed image"),
        *((f"run: {command}\n".encode(), "reads the database") for command in (
            "ehrql:v1 generate-dataset x", "ehrql:v1  generate_dataset x", "ehrql:v1 generate-measures x",
            "databuilder:v0 generate-dataset", "cohortextractor:v1 generate_cohort", "cohortextractor:v1 generate-cohort",
            "cohortextractor:v1 generate_codelist_report", "sqlrunner:v1 x.sql", "sqlrunner:v1",
        )),
    ],
)  # fmt: skip
def test_an_action_file_that_cannot_be_used_is_named_with_both_actions(content: bytes, reason: str) -> None:
    with pytest.raises(ReusableActionError) as caught:
        resolve("join", WORDS, content, repo_url=REPO)
    where = f'action "join" uses "some-action:v1.2", and the action.yaml of {REPO} at that tag '
    assert caught.value.message.startswith(where)
    assert reason in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("run", "argument"),
    [
        ("ehrql:v1", "generate-dataset"),
        ("ehrql:v1", "generate_measures"),
        ("databuilder:v0", "generate-dataset"),
        ("cohortextractor:v1", "generate_cohort"),
    ],
)
def test_the_study_s_arguments_do_not_turn_it_into_a_command_that_reads_the_database(run: str, argument: str) -> None:
    with pytest.raises(ReusableActionError, match="reads the database"):
        resolve("join", ["some-action:v1.2", argument, "x.py"], f"run: {run}\n".encode(), repo_url=REPO)
    command = resolve("join", ["some-action:v1.2", argument], f"run: {run} version\n".encode(), repo_url=REPO)
    assert shlex.split(command) == [run, "version", argument]
