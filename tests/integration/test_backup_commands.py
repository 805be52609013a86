"""`jobrunner backup` and `restore` on the command line: what they say, ask, refuse and exit with."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from support.places import MakeWorkDirectory
from support.runners import WorkDirectory
from support.studies import action, make_study

pytestmark = pytest.mark.slow


@pytest.fixture
def workdir(make_workdir: MakeWorkDirectory, tmp_path: Path) -> WorkDirectory:
    made = make_workdir("process")
    study = make_study(tmp_path / "study", {"one": action(made.command("echo 1 > one.txt"), "one.txt")})
    made.add(study, "one")
    return made


def test_way_there_and_back(workdir: WorkDirectory, tmp_path: Path):
    copy = tmp_path / "copy.sqlite"
    assert f"{copy}: 1 job, level " in workdir.cli("backup", str(copy)).stdout
    workdir.run()
    assert workdir.codes() == {"one": "succeeded"}
    said = workdir.cli("restore", str(copy), "--yes").stdout
    assert workdir.codes() == {"one": "created"}
    aside = re.search(r"is kept in (.*)\.$", said, re.MULTILINE)
    assert aside is not None
    # And back again, from what was kept.
    told = json.loads(workdir.cli("restore", aside[1], "--yes", "--json").stdout)
    assert workdir.codes() == {"one": "succeeded"}
    assert told["jobs"] == 1
    assert Path(told["replaced"]).exists()


def test_nothing_is_replaced_where_nobody_can_be_asked(workdir: WorkDirectory, tmp_path: Path):
    copy = tmp_path / "copy.sqlite"
    told = json.loads(workdir.cli("backup", str(copy), "--json").stdout)
    assert told["backup"] == str(copy)
    assert "--yes" in workdir.cli("restore", str(copy), code=2).stderr
    workdir.cli("backup", str(copy), code=2)
    workdir.cli("restore", str(tmp_path / "none"), "--yes", code=4)


def test_runner_at_work_is_backed_up_and_not_replaced(workdir: WorkDirectory, tmp_path: Path):
    copy = tmp_path / "copy.sqlite"
    runner = workdir.start("run")
    workdir.wait_for_holder(runner)
    workdir.cli("backup", str(copy))
    assert f"process {runner.pid} is at work" in workdir.cli("restore", str(copy), "--yes", code=3).stderr


def test_damaged_copy_is_told_with_what_helps_and_replaces_nothing(workdir: WorkDirectory, tmp_path: Path):
    copy = tmp_path / "copy.sqlite"
    workdir.cli("backup", str(copy))
    copy.write_bytes(copy.read_bytes()[:6000])
    said, hint = workdir.cli("restore", str(copy), "--yes", code=3).stderr.splitlines()
    assert said.startswith(f"jobrunner: the database {copy} is damaged: ")
    assert "take another backup" in hint
    assert workdir.codes() == {"one": "created"}
    assert list(workdir.path.glob("db.sqlite.*")) == []
