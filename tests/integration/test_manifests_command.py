"""Manifests that are absent, older or damaged: completed by the runner before it looks for obsolete outputs, and by
`jobrunner manifests backfill`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.places import MakeWorkDirectory
from support.runners import WorkDirectory
from support.studies import action, change_study, make_study, shell

pytestmark = [pytest.mark.slow]


def makes(*names: str, needs: tuple[str, ...] = (), then: str = "true") -> Any:
    """An action that makes these files, and promises whatever begins with the same letter."""
    script = "; ".join(f"printf 'x,y\\n1,2\\n' > {name}" for name in names)
    return action(shell(f"{script}; {then}"), f"{names[0][0]}*.csv", needs=needs)


def manifest_file(workdir: WorkDirectory, workspace: str = "test") -> Path:
    return workdir.medium / "workspaces" / workspace / "metadata/manifest.json"


def test_an_absent_manifest_is_completed_before_obsolete_outputs_are_found(workdir: WorkDirectory, tmp_path: Path):
    study = make_study(
        tmp_path / "study",
        {"a": makes("a1.csv", "a2.csv"), "b": makes("b1.csv"), "fails": makes("f1.csv", then="exit 1")},
    )
    workdir.add(study, "run_all")
    workdir.run(code=1)
    before = workdir.manifest()
    assert sorted(before) == ["a1.csv", "a2.csv", "b1.csv", "f1.csv"]
    manifest_file(workdir).unlink()

    change_study(study, {"a": makes("a1.csv"), "b": makes("b1.csv"), "fails": makes("f1.csv")})
    jobs = workdir.add(study, "a")
    workdir.run()
    assert sorted(workdir.outputs(workdir.high)) == sorted(workdir.outputs(workdir.medium))
    assert sorted(workdir.outputs(workdir.high)) == ["a1.csv", "b1.csv", "f1.csv"]
    after = workdir.manifest()
    assert after["a1.csv"]["job_id"] == jobs["a"]
    assert (after["b1.csv"], after["f1.csv"]) == (before["b1.csv"], before["f1.csv"])
    assert sorted(after) == ["a1.csv", "b1.csv", "f1.csv"]


def test_an_older_manifest_is_completed_too_and_a_failure_removes_nothing(
    make_workdir: MakeWorkDirectory, tmp_path: Path
):
    workdir = make_workdir("process")
    study = make_study(tmp_path / "study", {"a": makes("a1.csv", "a2.csv"), "b": makes("b1.csv")})
    workdir.add(study, "run_all")
    workdir.run()
    text = json.loads(manifest_file(workdir).read_text())
    del text["outputs"]["a1.csv"], text["outputs"]["a2.csv"]
    manifest_file(workdir).write_text(json.dumps(text))

    change_study(study, {"a": makes("a1.csv", then="exit 1"), "b": makes("b1.csv")})
    workdir.add(study, "a")
    workdir.run(code=1)
    assert sorted(workdir.outputs(workdir.high)) == ["a1.csv", "a2.csv", "b1.csv"]
    assert sorted(workdir.manifest()) == ["a1.csv", "a2.csv", "b1.csv"]

    change_study(study, {"a": makes("a1.csv"), "b": makes("b1.csv")})
    workdir.add(study, "a")
    workdir.run()
    assert sorted(workdir.outputs(workdir.high)) == ["a1.csv", "b1.csv"]


def test_an_output_that_moved_to_another_action_stays_when_the_manifest_is_lost(
    make_workdir: MakeWorkDirectory, tmp_path: Path
):
    workdir = make_workdir("process")
    study = make_study(tmp_path / "study", {"first": makes("x1.csv", "x2.csv")})
    workdir.add(study, "run_all")
    workdir.run()
    change_study(study, {"first": action(shell("echo > y1.csv"), "y1.csv"), "second": makes("x1.csv")})
    workdir.add(study, "second")
    workdir.run()
    manifest_file(workdir).unlink()
    workdir.add(study, "first")
    workdir.run()
    assert sorted(workdir.outputs(workdir.high)) == ["x1.csv", "y1.csv"]
    assert {path: entry["action"] for path, entry in workdir.manifest().items()} == {
        "x1.csv": "second",
        "y1.csv": "first",
    }


def test_backfill_makes_what_the_runner_would_have_made(make_workdir: MakeWorkDirectory, tmp_path: Path):
    workdir = make_workdir("process")
    secret = action(shell("printf 'patient_id\\n1\\n' > s.csv"), "s.csv")
    study = make_study(tmp_path / "study", {"a": makes("a1.csv", "a2.csv"), "secret": secret})
    workdir.add(study, "run_all")
    workdir.add(study, "a", "--workspace", "other")
    workdir.run()
    before = {name: workdir.manifest(name) for name in ("test", "other")}
    for name in before:
        manifest_file(workdir, name).unlink()
    (workdir.high / "workspaces/test/a2.csv").unlink()

    said = json.loads(workdir.cli("manifests", "backfill", "--dry-run", "--json").stdout)
    assert [(row["workspace"], row["added"], row["gone"]) for row in said] == [
        ("other", ["a1.csv", "a2.csv"], 0),
        ("test", ["a1.csv", "s.csv"], 1),
    ]
    assert not manifest_file(workdir).exists()

    assert "test" not in workdir.cli("manifests", "backfill", "--workspace", "other").stdout
    assert not manifest_file(workdir).exists()
    workdir.cli("manifests", "backfill")
    del before["test"]["a2.csv"]
    assert {name: workdir.manifest(name) for name in before} == before

    content = manifest_file(workdir).read_bytes()
    said = json.loads(workdir.cli("manifests", "backfill", "--json").stdout)
    assert [row["added"] for row in said] == [[], []]
    assert manifest_file(workdir).read_bytes() == content


def test_backfill_names_a_damaged_manifest_leaves_it_and_does_the_others(
    make_workdir: MakeWorkDirectory, tmp_path: Path
):
    workdir = make_workdir("process")
    study = make_study(tmp_path / "study", {"a": makes("a1.csv")})
    workdir.add(study, "a")
    workdir.add(study, "a", "--workspace", "other")
    workdir.run()
    manifest_file(workdir, "other").write_text('{"workspace": "oth')
    manifest_file(workdir).unlink()
    done = workdir.cli("manifests", "backfill", code=1)
    assert f"{manifest_file(workdir, 'other')} is damaged" in done.stderr
    assert "restore it from a backup, or move it away" in done.stderr
    assert manifest_file(workdir, "other").read_text() == '{"workspace": "oth'
    assert sorted(workdir.manifest()) == ["a1.csv"]
    assert "Traceback" not in done.stderr
    workdir.cli("manifests", "backfill", "--workspace", "nobody", code=4)


def test_backfill_beside_a_runner_loses_nothing(make_workdir: MakeWorkDirectory, tmp_path: Path):
    workdir = make_workdir("process")
    actions = {name: makes(f"{name}1.csv", f"{name}2.csv") for name in "abcdef"}
    study = make_study(tmp_path / "study", actions)
    workdir.add(study, "run_all")
    workdir.run()
    workdir.add(study, "run_all", "-f")
    manifest_file(workdir).unlink()
    runner = workdir.start("run", "--until-idle")
    while runner.process.poll() is None:
        workdir.cli("manifests", "backfill")
    assert runner.ends() == 0
    assert len(workdir.manifest()) == 12
    ids = {row[0] for row in workdir.ask("SELECT id FROM job ORDER BY created_at DESC, rowid DESC LIMIT 6")}
    assert {entry["job_id"] for entry in workdir.manifest().values()} == ids
