"""The JSON Schema of project.yaml: whatever the rules accept it accepts, and it refuses a good part of the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import fastjsonschema
import pytest

from jobrunner_cli.engine.study.pipeline import examine
from jobrunner_cli.engine.study.reader import read
from jobrunner_cli.engine.study.schema import project_schema
from support.projects import action, project
from support.schemas import validator, violation_of_schema

CORPUS = Path(__file__).parents[1] / "corpus"
FILES = sorted(CORPUS.glob("*/*.yaml"))
ACCEPTED = [file for file in FILES if examine(file.read_bytes())[0] is not None]
#: Refused by a rule that looks at two places at once, or by more than the shape of a word.
BEYOND_A_SCHEMA = {
    "c_two_levels",
    "e_dir_ext",
    "g_date",
    "n_circular",
    "n_unknown",
    "o_dup_across_v3",
    "r_duplicate_command",
    "r_unclosed_quote",
    "opensafely-actions__kaplan-meier-function@ff6b2ec8",
    "opensafely-core__job-runner~invalid_project_7@fae3649b",
    "opensafely__documentation~ehrql-tutorial-examples@49090f7a",
    "opensafely__research-template@6b1818cd",
}


@pytest.mark.parametrize("file", ACCEPTED, ids=lambda file: file.stem)
def test_accepted_files_pass(file: Path) -> None:
    assert violation_of_schema(file.read_bytes()) is None


def refused_by_a_rule() -> list[Path]:
    """Those that are YAML: of others, editors speak before they look at a schema."""
    refused = [file for file in FILES if file not in ACCEPTED]
    return [file for file in refused if read(file.read_bytes()).problems == ()]


@pytest.mark.parametrize(
    "file", [file for file in refused_by_a_rule() if file.stem not in BEYOND_A_SCHEMA], ids=lambda file: file.stem
)
def test_refused_files_fail(file: Path) -> None:
    assert violation_of_schema(file.read_bytes()) is not None


@pytest.mark.parametrize(
    "text",
    [
        project(action(), version=5),
        project(action(), version="' 4.0 '"),
        project(action(), version="5e0"),
        *(project(action(), version=version) for version in ("'４'", "'0.4e1'", "'50e-1'", "'4.00000000000000000001'")),
        project(action("cohortextractor:v1 x"), version="'１'"),
        project(version=3, more="expectations: {population_size: '１２'}\n"),
        project(
            action().replace("a:", "12:", 1)
            + action("python:v2 y", outputs="{highly_sensitive: {b: b.csv}}", more="    needs: [12]\n").replace(
                "a:", "b:", 1
            )
        ),
        project(action("python:latest x"), version=4),
        project(action("\"'python:v1' x\"")),
        project(action('"\\n python:v1-pre\\tx"')),
        project(action("cohortextractor:v1 generate_measures"), version=2),
        project(action().replace("a:", "run_all:", 1), version=4),
        project(action().replace("a:", "Ä 1.5-x_:", 1), version=5),
        project(action(more="    needs: ~\n    config: ~\n    dummy_data_file: ~\n")),
        project(version=3, more="expectations: {population_size: '1_0'}\n"),
        project(version=1, more="expectations: [x]\n"),
        project(action("ehrql:v1 generate-dataset d.py --output=output/a.csv"), version=5),
        project(action("ehrql:v1 generate-measures d.py", outputs="{moderately_sensitive: {a: b/*/a-*.csv}}")),
        project("  {}\n"),
        project(action(outputs="{highly_sensitive: {}}")),
    ],
)
def test_what_the_rules_accept_passes(text: str) -> None:
    assert examine(text.encode())[1] == ()
    assert violation_of_schema(text.encode()) is None


@pytest.mark.parametrize(
    "text",
    [
        project(action(), version=6),
        project(action(), version=3.5),
        project(action(), version="v4"),
        project(action("python:latest x"), version=5),
        project(action("cohortextractor:v1 x"), version=4),
        project(action("cohortextractor-v2:v1 x"), version=4),
        project(action("python:2 x")),
        project(action("''")),
        project(action().replace("a:", "run_all:", 1), version=5),
        project(action().replace("a:", "__a:", 1)),
        project(action().replace("a:", "'..':", 1)),
        project(action().replace("a:", "a/b:", 1)),
        project(action(more="    needs: a\n")),
        project(action(more="    need: []\n")),
        project(action(outputs="{}")),
        project(action(outputs="{highly_sensitive: }")),
        *(
            project(action(outputs=f'{{highly_sensitive: {{a: "{path}"}}}}'))
            for path in (
                "/a.csv",
                "../a.csv",
                "a//b.csv",
                "a/./b.csv",
                "a.csv/",
                "a",
                ".csv",
                "a.",
                "a.*",
                "a/**/b.csv",
            )
        ),
        *(
            project(action(outputs=f'{{highly_sensitive: {{a: "{path}"}}}}'))
            for path in ("a?.csv", "a[1].csv", "a\\\\b.csv", "c:a.csv", "1:/a.csv", "metadata/a.csv", "a\\nb.csv", "")
        ),
        project(action(outputs="{moderately_sensitive: {a: a.rds}}")),
        project(action(outputs="{moderately_sensitive: {a: a.csv.gz}}")),
        project(version=3),
        project(version=3, more="expectations: {population_size: many}\n"),
        project(version=4, more="expectations: {population_size: 10}\n"),
        project(action("ehrql:v1  generate-dataset d.py")),
        project(action("ehrql:v1 generate_dataset --output a.csv", outputs="{moderately_sensitive: {a: a.csv}}")),
        project() + "more: 1\n",
        "version: 5\n",
        "actions: {}\n",
    ],
)
def test_what_a_schema_can_say_is_refused(text: str) -> None:
    assert examine(text.encode())[1] != ()
    assert violation_of_schema(text.encode()) is not None


def test_the_schema_is_one_that_editors_know() -> None:
    schema = project_schema()
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    properties = schema["definitions"]["action"]["properties"]
    assert {"run", "needs", "outputs", "config", "dummy_data_file"} == properties.keys()
    assert all("description" in found for found in (*schema["properties"].values(), *properties.values()))
    with pytest.raises(fastjsonschema.JsonSchemaException):
        validator()([])


def patterns(schema: object) -> Iterator[str]:
    """Every pattern in a schema."""
    for key, value in (
        schema.items() if isinstance(schema, dict) else enumerate(schema if isinstance(schema, list) else ())
    ):
        if key == "pattern" and isinstance(value, str):
            yield value
        yield from patterns(value)


def test_patterns_are_read_by_validators_that_take_them_as_unicode() -> None:
    """There a back slash stands before what has a meaning, or is one of these letters (ECMA-262, IdentityEscape)."""
    found = list(patterns(project_schema()))
    assert len(found) > 20
    for pattern in found:
        assert re.fullmatch(r"(?:[^\\]|\\[\^$\\.*+?()\[\]{}|/dDwWsSbBfnrtvu])*", pattern), pattern
