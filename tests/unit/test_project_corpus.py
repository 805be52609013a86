"""Every file of the corpus gives what was recorded for it, and where it does not, a reason says why."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jobrunner_cli.engine.errors import ProjectValidationError
from jobrunner_cli.engine.study.pipeline import Pipeline, read_pipeline

CORPUS = Path(__file__).parents[1] / "corpus"
FILES = sorted(CORPUS.glob("*/*.yaml"))


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What we do with a file in place of what was recorded."""

    reason: str
    #: part of the message, if we refuse what was accepted
    refused: str | None = None
    #: what the result has in place of the recorded values
    accepted: dict[str, Any] | None = None


NEWEST = "version 5 is newer than the parser that was recorded, and real studies use it"
DIFFERENCES = {
    "an_numeric.yaml": Difference(
        reason="a number that names an action is text wherever the name is given",
        accepted={"all_actions": ["generate_dataset", "123"], "run_all_order": ["generate_dataset", "123"]},
    ),
    "n_circular.yaml": Difference(
        reason="needs that go round in a circle can never run",
        refused="generate_dataset -> generate_report -> generate_dataset",
    ),
    "o_traversal.yaml": Difference(
        reason="an output outside of the working copy is never one, even where the path is in normal form",
        refused='"../report.png" is not in standard form',
    ),
    "v_float35.yaml": Difference(reason="versions are whole numbers", refused="3.5 is not a version"),
    "v_zero.yaml": Difference(reason="versions begin at 1", refused="0 is not a version"),
    "y_recursive_config.yaml": Difference(
        reason="JSON cannot hold a value that contains itself, nor a date, nor a number that is not finite",
        refused="something that contains it",
    ),
    "v_five.yaml": Difference(
        reason=NEWEST,
        accepted={"ok": True, "version": 5.0, "all_actions": ["generate_dataset", "generate_report"]},
    ),
    "AdlCruz__opensafely-getting-started.yaml": Difference(
        reason=NEWEST,
        accepted={"ok": True, "version": 5.0, "all_actions": ["generate_dataset", "generate_report"]},
    ),
    "RachelS99__opensafely-getting-started.yaml": Difference(
        reason=NEWEST, accepted={"ok": True, "version": 5.0, "all_actions": ["generate_dataset"]}
    ),
    "opensafely__migrant-health-in-os.yaml": Difference(
        reason=NEWEST, accepted={"ok": True, "version": 5.0, "all_actions": ["diabetes_prev"]}
    ),
}


def result_of(pipeline: Pipeline) -> dict[str, Any]:
    """A pipeline in the shape of the recorded results."""
    actions: dict[str, Any] = {}
    for name, action in pipeline.actions.items():
        real, dummy = (shlex.split(action.command(dummy_data=dummy)) for dummy in (False, True))
        actions[name] = {
            "run": real,
            "needs": list(action.needs),
            "outputs": {level: dict(patterns) for level, patterns in action.outputs.items()},
            "is_database_action": action.is_database_action,
        }
        if dummy != real:
            actions[name]["run_dummy"] = dummy
    return {
        "ok": True,
        "version": pipeline.version,
        "population_size": pipeline.population_size,
        "actions": actions,
        "images": pipeline.images,
        "all_actions": pipeline.all_actions,
        "run_all_order": pipeline.run_all_order,
    }


def recorded_for(file: Path) -> dict[str, Any]:
    recorded = json.loads(file.with_suffix(".json").read_text())
    # A note of the recorder about its own types, not a result.
    recorded.pop("non_string_action_names", None)
    assert isinstance(recorded, dict)
    return recorded


def ours(file: Path) -> dict[str, Any]:
    """What we make of a file, a refusal reduced to `ok: false` and the message."""
    try:
        return result_of(read_pipeline(file.read_bytes()))
    except ProjectValidationError as error:
        return {"ok": False, "error": error.message}


def test_the_corpus_is_complete() -> None:
    counts = {folder: len(list((CORPUS / folder).glob("*.yaml"))) for folder in ("valid", "mutants")}
    assert counts == {"valid": 60, "mutants": 50}
    assert all(file.with_suffix(".json").is_file() for file in FILES)
    assert set(DIFFERENCES) <= {file.name for file in FILES}


def test_every_difference_is_in_the_list_that_users_read() -> None:
    page = (CORPUS.parents[1] / "docs" / "studies.md").read_text()
    listed = page.partition("## Differences")[2].partition("\n## ")[0]
    reasons = {line.split("|")[2].strip() for line in listed.splitlines() if line.startswith("| ")}
    assert {difference.reason for difference in DIFFERENCES.values()} <= reasons


def test_crashes_and_hangs_of_the_original_are_errors_here() -> None:
    broken = [file for file in FILES if recorded_for(file).get("kind") in {"crash", "hang"}]
    assert len(broken) == 11
    accepted = [file.name for file in broken if ours(file)["ok"]]
    assert all(DIFFERENCES[name].reason == NEWEST for name in accepted)
    for file in (file for file in broken if file.name not in accepted):
        result = ours(file)
        assert result["ok"] is False
        assert result["error"].startswith("project.yaml has ")


@pytest.mark.parametrize("file", [f for f in FILES if f.name not in DIFFERENCES], ids=lambda file: file.stem)
def test_gives_the_recorded_result(file: Path) -> None:
    recorded, got = recorded_for(file), ours(file)
    if recorded["ok"]:
        assert got == recorded
        assert list(got["actions"]) == list(recorded["actions"])
    else:
        assert not got["ok"]
        assert got["error"].startswith("project.yaml has ")


@pytest.mark.parametrize("name", DIFFERENCES)
def test_differs_from_the_recorded_result_as_the_table_says(name: str) -> None:
    (file,) = (file for file in FILES if file.name == name)
    difference, recorded, got = DIFFERENCES[name], recorded_for(file), ours(file)
    assert difference.reason
    if difference.refused is not None:
        assert recorded["ok"], "the table has an entry that is not needed"
        assert not got["ok"]
        assert difference.refused in got["error"]
        return
    assert difference.accepted is not None
    changed = {key: value for key, value in got.items() if recorded.get(key) != value}
    assert changed, "the table has an entry that is not needed"
    if recorded["ok"]:
        assert changed == difference.accepted
    else:
        assert difference.accepted.items() <= changed.items()


@pytest.mark.parametrize("file", [f for f in FILES if DIFFERENCES.get(f.name, Difference(reason="")).reason == NEWEST])
def test_a_file_of_version_5_means_what_it_would_in_version_4(file: Path) -> None:
    newer = file.read_bytes()
    older = newer.replace(b"version: '5.0'", b"version: 4").replace(b'version: "5.0"', b"version: 4")
    older = older.replace(b"version: 5", b"version: 4")
    assert result_of(read_pipeline(newer)) == {**result_of(read_pipeline(older)), "version": 5.0}


def test_the_results_do_not_hang_on_libyaml() -> None:
    program = """
import sys
sys.modules["yaml._yaml"] = None
import yaml
assert not yaml.__with_libyaml__
import json
from pathlib import Path
from jobrunner_cli.engine.errors import ProjectValidationError
from jobrunner_cli.engine.study.pipeline import read_pipeline
results = {}
for file in sys.argv[1:]:
    try:
        pipeline = read_pipeline(Path(file).read_bytes())
        results[file] = [a.command(dummy_data=True) for a in pipeline.actions.values()]
    except ProjectValidationError:
        results[file] = None
print(json.dumps(results))
"""
    command = [sys.executable, "-c", program, *map(str, FILES)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0, done.stderr
    without = json.loads(done.stdout)
    for file in FILES:
        try:
            pipeline = read_pipeline(file.read_bytes())
        except ProjectValidationError:
            assert without[str(file)] is None
        else:
            assert without[str(file)] == [a.command(dummy_data=True) for a in pipeline.actions.values()]
