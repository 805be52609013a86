"""Jobs of one workspace that finish at the same moment, and one that runs again while its dependant waits: none is torn."""

from __future__ import annotations

import functools
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
from support.jobfiles import Job, files_below, killed_at
from support.runners import WorkDirectory
from support.studies import action, make_study

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROUNDS = 25
FILES = 8


def in_children(acts: Sequence[Callable[[], object]]) -> None:
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
    job.put_in_place(outputs)
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
                first.put_in_place(outputs)
            finally:
                os._exit(0)
        finish(second)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        first.put_in_place(outputs)
        publish.discard_staging(stores, first.id)
        layout.remove(first.directory)
        entries = manifest.read(stores)["outputs"]
        assert {entry["job_id"] for entry in entries.values()} == {first.id, second.id}
        assert set(entries) == set(files_below(stores.high))


def rivals_of(base: Path, turn: int, count: int) -> list[Job]:
    """Jobs of several actions that have made the same files, each with other contents; of one action, some are held
    back."""
    jobs = []
    for number in range(count):
        job = Job(base=base, id=f"rival{turn}-{number}", action=f"rival{number}")
        job.lay_out()
        for name in range(FILES):
            header = "patient_id" if number == 0 and name % 2 else "x"
            job.make(f"shared/{name}.csv", f"{header}\n{'1' * (number + 1)}{turn}\n")
        jobs.append(job)
    return jobs


def check_told_of_what_is_there(stores: publish.WorkspaceStores) -> None:
    """The manifest describes the very files that are there, and the medium store has what it says."""
    high, medium = files_below(stores.high), files_below(stores.medium)
    entries = manifest.read(stores)["outputs"]
    assert set(entries) == set(high)
    for path, entry in entries.items():
        assert entry["content_hash"] == hashlib.sha256(high[path]).hexdigest(), (path, entry["job_id"])
        if entry["excluded"]:
            assert path not in medium
            assert path + ".txt" in medium
        else:
            assert medium[path] == high[path]
            assert path + ".txt" not in medium


def test_of_jobs_that_publish_the_same_files_at_once_one_is_told_of(tmp_path: Path) -> None:
    stores = Job(base=tmp_path).stores
    for turn in range(ROUNDS):
        rivals = rivals_of(tmp_path, turn, 3)
        staged = [(job, job.stage(moderate="shared/*.csv")) for job in rivals]
        in_children([functools.partial(job.put_in_place, outputs) for job, outputs in staged])
        check_told_of_what_is_there(stores)
        assert len({entry["job_id"] for entry in manifest.read(stores)["outputs"].values()}) == 1
        for job in rivals:
            publish.discard_staging(stores, job.id)


def test_killed_before_it_was_told_of_a_job_gives_way_to_one_that_came_after(tmp_path: Path) -> None:
    """Whatever the killed one had moved, the other's files are in place, and stay what the manifest tells of."""
    step, killed = 1, True
    while killed:
        base = tmp_path / str(step)
        first, second = rivals_of(base, 0, 2)
        outputs, others = first.stage(moderate="shared/*.csv"), second.stage(moderate="shared/*.csv")
        killed = killed_at(step, functools.partial(first.put_in_place, outputs))
        second.put_in_place(others)
        publish.discard_staging(second.stores, second.id)
        first.put_in_place(outputs)
        publish.discard_staging(first.stores, first.id)
        check_told_of_what_is_there(first.stores)
        step += 2
    assert step > 20


def test_killed_both_before_they_were_told_of_either_goes_on_first(tmp_path: Path) -> None:
    for turn in range(2):
        for step in range(12, 30, 3):
            base = tmp_path / f"{turn}-{step}"
            jobs = [(job, job.stage(moderate="shared/*.csv")) for job in rivals_of(base, 0, 2)]
            for job, outputs in jobs:
                assert killed_at(step, functools.partial(job.put_in_place, outputs))
            for job, outputs in reversed(jobs) if turn else jobs:
                job.put_in_place(outputs)
                publish.discard_staging(job.stores, job.id)
            check_told_of_what_is_there(jobs[0][0].stores)


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
