"""A disk is full: jobs wait and go on when there is space again, and the runner lives."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.disks import fill
from support.runners import WorkDirectory, until
from support.studies import Action, action, make_study

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk"),
]

#: Bytes of the small disk.
SIZE = 16 * 2**20


class SmallDisk:
    """A file system of its own that can be filled to the last byte."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filling = path / "filling"

    def fill(self) -> None:
        fill(self._filling)

    def free(self) -> None:
        self._filling.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    path = tmp_path / "small"
    path.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(path)], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    yield SmallDisk(path)
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def held(workdir: WorkDirectory, name: str, **more: Any) -> Action:
    script = f"touch busy; while [ ! -e go ]; do sleep 0.05; done; echo {name} > {name}.csv"
    return action(workdir.command(script), f"{name}.csv", **more)


def wait_for_message(workdir: WorkDirectory, job_id: str, text: str) -> None:
    query = "SELECT 1 FROM job WHERE id = ? AND status_message LIKE ?"
    until(lambda: workdir.ask(query, job_id, f"%{text}%"), f"{text!r} in the message of {job_id}: {workdir.messages()}")


def test_full_disk_of_working_copies(make_workdir: Any, executor: str, disk: SmallDisk, tmp_path: Path):
    workdir = make_workdir(executor, {"HIGH_PRIVACY_VOLUME_DIR": str(disk.path / "volumes")})
    study = make_study(
        tmp_path / "study",
        {"a": action(workdir.command("cat data.bin > a.csv"), high=["a.csv"]),
         "b": action(workdir.command("cat a.csv > b.csv"), high=["b.csv"], needs=["a"])},
        {"data.bin": b"x" * 2**20},
    )  # fmt: skip
    jobs = workdir.add(study, "run_all")
    disk.path.joinpath("volumes").mkdir()
    disk.fill()
    runner = workdir.start("run", "--until-idle")
    workdir.wait_for(jobs["a"], "preparing")
    wait_for_message(workdir, jobs["a"], "space")
    assert runner.process.poll() is None
    disk.free()
    assert runner.ends() == 0
    assert workdir.codes() == {"a": "succeeded", "b": "succeeded"}
    assert workdir.starts() == dict.fromkeys(jobs.values(), 1)
    assert workdir.leftovers() == []


@pytest.mark.parametrize("store", ["HIGH_PRIVACY_STORAGE_BASE", "MEDIUM_PRIVACY_STORAGE_BASE"])
def test_full_disk_of_a_store(make_workdir: Any, executor: str, disk: SmallDisk, store: str, tmp_path: Path):
    volumes = tmp_path / "volumes"
    workdir = make_workdir(executor, {store: str(disk.path / "store"), "HIGH_PRIVACY_VOLUME_DIR": str(volumes)})
    after = action(workdir.command("cat a.csv > b.csv"), "b.csv", needs=["a"])
    study = make_study(tmp_path / "study", {"a": held(workdir, "a"), "b": after})
    jobs = workdir.add(study, "run_all")
    runner = workdir.start("run", "--until-idle")
    workdir.wait_for_file(jobs["a"], "busy")
    disk.fill()
    workdir.let_go(jobs["a"])
    workdir.wait_for(jobs["a"], "finalizing")
    wait_for_message(workdir, jobs["a"], "space")
    assert runner.process.poll() is None
    disk.free()
    assert runner.ends() == 0
    assert workdir.codes() == {"a": "succeeded", "b": "succeeded"}
    assert workdir.starts() == dict.fromkeys(jobs.values(), 1)
    assert workdir.leftovers() == []


def test_full_disk_of_the_database(make_workdir: Any, executor: str, disk: SmallDisk, tmp_path: Path):
    stores = {
        "HIGH_PRIVACY_STORAGE_BASE": str(tmp_path / "high"),
        "MEDIUM_PRIVACY_STORAGE_BASE": str(tmp_path / "medium"),
    }
    workdir = make_workdir(executor, {"WORKDIR": str(disk.path / "workdir"), **stores})
    study = make_study(
        tmp_path / "study", {"a": held(workdir, "a"), "b": held(workdir, "b"), "c": held(workdir, "c", needs=["a"])}
    )
    jobs = workdir.add(study, "run_all")
    runner = workdir.start("run", "--until-idle")
    for name in ("a", "b"):
        workdir.wait_for_file(jobs[name], "busy")
        workdir.wait_for(jobs[name], "executing")
    disk.fill()
    workdir.let_go(jobs["a"])
    runner.says("full")
    refused = workdir.cli("jobs", "cancel", jobs["b"], code=1)
    assert "Traceback" not in refused.stderr
    refused = workdir.cli("add-job", str(study.path), "a", code=1)
    assert "Traceback" not in refused.stderr
    assert runner.process.poll() is None
    disk.free()
    workdir.let_go(jobs["b"])
    workdir.wait_for_file(jobs["c"], "busy")
    workdir.let_go(jobs["c"])
    assert runner.ends() == 0
    assert set(workdir.codes().values()) == {"succeeded"}
    assert workdir.starts() == dict.fromkeys(jobs.values(), 1)
    assert workdir.leftovers() == []


def test_job_that_fills_the_disk_can_be_ended_and_the_others_go_on(
    make_workdir: Any, executor: str, disk: SmallDisk, tmp_path: Path
):
    workdir = make_workdir(executor, {"HIGH_PRIVACY_VOLUME_DIR": str(disk.path / "volumes")})
    greedy = "touch busy; while true; do cat /dev/zero >> big.bin; touch full; sleep 0.05; done"
    study = make_study(
        tmp_path / "study",
        {"greedy": action(workdir.command(greedy), high=["big.bin"]),
         "modest": action(workdir.command("echo 1 > m.csv"), "m.csv")},
        {"data.bin": b"x" * 2**16},
    )  # fmt: skip
    jobs = workdir.add(study, "greedy")
    runner = workdir.start("run")
    workdir.wait_for_file(jobs["greedy"], "full")
    jobs |= workdir.add(study, "modest")
    wait_for_message(workdir, jobs["modest"], "space")
    assert "done" in workdir.cli("jobs", "kill", jobs["greedy"], "--cleanup").stdout
    workdir.wait_until_ended([jobs["modest"]])
    runner.signal(signal.SIGTERM)
    assert runner.ends() == 0
    assert workdir.codes() == {"greedy": "killed_by_admin", "modest": "succeeded"}
    assert workdir.leftovers() == []
