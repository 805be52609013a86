"""Jobs of one workspace that finish at the same moment, and one that runs again while its dependant waits: none is torn."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from jobrunner_cli.engine.jobfiles import layout, manifest, publish
from support.jobfiles import Job, files_below
from support.runners import WorkDirectory
from support.studies import action, make_study

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROUNDS = 25
FILES = 8


def in_children(acts: Sequence[Callable[[], None]]) -> None:
    """Do several things at the same time, each in a process of its own; what fails there fails here."""
    gate, go = os.pipe()
    children = []
    for act in acts:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.close(go)
                os.read(gate, 1)
                act()
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        children.append(child)
    os.close(gate)
    os.close(go)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * len(children)


def finish(job: Job) -> None:
    """What the runner does when a command has ended."""
    outputs = job.stage(moderate=f"{job.action}/*.csv")
    publish.publish(outputs, job.stores, job_id=job.id)
    manifest.record(
        job.stores,
        outputs,
        job_id=job.id,
        job_request_id="r",
        action=job.action,
        repo="repo",
        commit="c",
        remove_obsolete=True,
    )
    publish.discard_staging(job.stores, job.id)
    layout.remove(job.directory)


def made_by(base: Path, action: str, turn: int) -> Job:
    """A job whose command has ended: some files are new, some are gone, one in three is held back."""
    job = Job(base=base, id=f"{action}{turn}", action=action)
    job.lay_out()
    for number in range(FILES):
        header = "patient_id" if (number + turn) % 3 == 0 else "x"
        job.make(f"{action}/{number + turn % 2}.csv", f"{header}\n{action} {turn}\n")
    return job


def look(stores: publish.WorkspaceStores, done: Path) -> None:
    """Read the manifest until told: each action has all the entries of one job in it, and nothing else."""
    looks = 0
    while not done.exists() or looks == 0:
        by_action: dict[str, dict[str, set[str]]] = {}
        for path, entry in manifest.read(stores)["outputs"].items():
            by_action.setdefault(entry["action"], {}).setdefault(entry["job_id"], set()).add(path)
        for by_job in by_action.values():
            assert len(by_job) == 1, f"one action has entries of {sorted(by_job)}"
            [(job_id, paths)] = by_job.items()
            assert len(paths) == FILES, f"{job_id} has {sorted(paths)}"
        looks += 1


def test_jobs_that_finish_at_once_again_and_again_are_whole(tmp_path: Path) -> None:
    actions = ["one", "two", "three", "four"]
    stores = Job(base=tmp_path).stores
    done = tmp_path / "done"

    def rounds(action: str) -> Callable[[], None]:
        def act() -> None:
            for turn in range(ROUNDS):
                finish(made_by(tmp_path, action, turn))

        return act

    reader = os.fork()
    if reader == 0:
        status = 1
        try:
            look(stores, done)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    try:
        in_children([rounds(action) for action in actions])
    finally:
        done.touch()
        _, status = os.waitpid(reader, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    entries = manifest.read(stores)["outputs"]
    high, medium = files_below(stores.high), files_below(stores.medium)
    assert set(entries) == set(high)
    assert {entry["job_id"] for entry in entries.values()} == {f"{action}{ROUNDS - 1}" for action in actions}
    for path, entry in entries.items():
        assert hashlib.sha256(high[path]).hexdigest() == entry["content_hash"]
    held = {path for path, entry in entries.items() if entry["excluded"]}
    assert set(medium) == {f"{path}.txt" if path in held else path for path in entries}
    assert not any(content.startswith(b"patient_id") for content in medium.values())
    for store in (stores.high, stores.medium):
        assert list((store / "metadata/.staging").iterdir()) == []


def test_killed_while_others_finish_the_manifest_stays_whole(tmp_path: Path) -> None:
    """One of two is killed anywhere and goes on afterwards; the other does not notice."""
    stores = Job(base=tmp_path).stores
    for turn in range(ROUNDS):
        first, second = made_by(tmp_path, "one", turn), made_by(tmp_path, "two", turn)
        outputs = first.stage(moderate="one/*.csv")
        child = os.fork()
        if child == 0:
            try:
                publish.publish(outputs, stores, job_id=first.id)
                record_again(first, outputs)
            finally:
                os._exit(0)
        finish(second)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        publish.publish(outputs, stores, job_id=first.id)
        record_again(first, outputs)
        publish.discard_staging(stores, first.id)
        layout.remove(first.directory)
        entries = manifest.read(stores)["outputs"]
        assert {entry["job_id"] for entry in entries.values()} == {first.id, second.id}
        assert set(entries) == set(files_below(stores.high))


def record_again(job: Job, outputs: Sequence[Any]) -> None:
    manifest.record(
        job.stores, outputs, job_id=job.id, job_request_id="r", action=job.action, repo="repo", commit="c",
        remove_obsolete=True,
    )  # fmt: skip


def test_an_action_that_runs_again_while_its_dependant_waits_hands_over_one_run(make_workdir: Any, tmp_path: Path):
    """The dependant compares what it got: files of two runs side by side would end it with an error."""
    workdir: WorkDirectory = make_workdir("process", {"MAX_WORKERS": "4"})
    make = "mkdir -p many; cat /proc/sys/kernel/random/uuid > many/0.txt; n=1; "
    make += "while [ $n -lt 60 ]; do cp many/0.txt many/$n.txt; n=$((n+1)); done"
    compare = (
        "test $(ls many | wc -l) = 60; test $(cat many/*.txt | sort -u | wc -l) = 1; sort -u many/*.txt > same.txt"
    )
    study = make_study(
        tmp_path / "study",
        {
            "make": action(workdir.command(make), high=["many/*.txt"]),
            "compare": action(workdir.command(f"set -e; {compare}"), "same.txt", needs=["make"]),
        },
    )
    workdir.add(study, "run_all")
    runner = workdir.start("run")
    for _ in range(8):
        workdir.cli("add-job", str(study.path), "compare", "--json")
        workdir.cli("add-job", str(study.path), "make", "--json")
    active = [row[0] for row in workdir.ask("SELECT id FROM job")]
    workdir.wait_until_ended(active)
    runner.signal(signal.SIGTERM)
    assert runner.ends() == 0
    assert set(workdir.ask("SELECT DISTINCT status_code FROM job")) == {("succeeded",)}
    assert len(workdir.ask("SELECT id FROM job WHERE action = 'make'")) > 2
    assert workdir.leftovers() == []
    stored = workdir.outputs(workdir.high)
    hashes = {path: hashlib.sha256(content).hexdigest() for path, content in stored.items()}
    assert {path: entry["content_hash"] for path, entry in workdir.manifest().items()} == hashes
