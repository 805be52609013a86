"""A runner that is killed, by SIGKILL, before any step of publishing: what is done again ends as if nothing had been."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from jobrunner_cli.engine.jobfiles import layout, manifest, publish
from jobrunner_cli.engine.work import StoredOutput
from support.jobfiles import Job, files_below, killed_at

pytestmark = pytest.mark.slow

PATTERNS = {"moderate": "out/*.csv", "high": "deep/*/*.txt"}


def earlier_outputs(base: Path) -> Job:
    """A workspace in which the action has run before, with other outputs."""
    job = Job(base=base, id="before")
    job.lay_out()
    job.make("out/released.csv", "x\n1\n")
    job.make("out/held.csv", "patient_id\n1\n")
    job.make("out/now-held.csv", "x\n1\n")
    job.make("out/obsolete.csv", "x\n1\n")
    job.make("out/obsolete-held.csv", "patient_id\n1\n")
    job.publish(moderate="out/*.csv")
    publish.discard_staging(job.stores, job.id)
    layout.remove(job.directory)
    return job


def new_job(base: Path) -> Job:
    job = Job(base=base)
    job.lay_out()
    job.make("out/released.csv", "x\n2\n")
    job.make("out/held.csv", "x\n2\n")
    job.make("out/now-held.csv", "patient_id\n2\n")
    job.make("deep/new/a.txt", "2")
    return job


def finish(job: Job, outputs: Sequence[StoredOutput]) -> None:
    job.put_in_place(outputs)
    publish.discard_staging(job.stores, job.id)


def check_published(job: Job) -> None:
    assert files_below(job.high) == {
        "deep/new/a.txt": b"2",
        "out/held.csv": b"x\n2\n",
        "out/now-held.csv": b"patient_id\n2\n",
        "out/released.csv": b"x\n2\n",
    }
    medium = files_below(job.medium)
    assert sorted(medium) == ["out/held.csv", "out/now-held.csv.txt", "out/released.csv"]
    assert medium["out/held.csv"] == medium["out/released.csv"] == b"x\n2\n"
    entries = manifest.read(job.stores)["outputs"]
    assert sorted(entries) == sorted(files_below(job.high))
    assert {entry["job_id"] for entry in entries.values()} == {job.id}
    for store in (job.high, job.medium):
        assert list((store / "metadata/.staging").iterdir()) == []


def readable_at_any_time(job: Job) -> None:
    """Each file of the stores is the old one or the new one, and nothing that identifies patients is released."""
    for store in (job.high, job.medium):
        for path, content in files_below(store).items():
            if not path.endswith(".txt") and content not in {b"x\n1\n", b"x\n2\n"}:
                assert content in {b"patient_id\n1\n", b"patient_id\n2\n"}
                assert store == job.high
    manifest.read(job.stores)


def test_killed_before_any_step_of_publishing(tmp_path: Path) -> None:
    killed = 0
    for step in range(1, 1000):
        base = tmp_path / str(step)
        earlier_outputs(base)
        job = new_job(base)
        outputs = job.stage(**PATTERNS)
        was_killed = killed_at(step, functools.partial(finish, job, outputs))
        readable_at_any_time(job)
        finish(job, outputs)
        check_published(job)
        shutil.rmtree(base)
        if not was_killed:
            break
        killed += 1
    assert killed > 40


def test_killed_again_and_again_it_only_goes_forward(tmp_path: Path) -> None:
    earlier_outputs(tmp_path)
    job = new_job(tmp_path)
    outputs = job.stage(**PATTERNS)
    step = 12
    while killed_at(step, lambda: finish(job, outputs)):
        readable_at_any_time(job)
        step += 3
    check_published(job)


def test_killed_before_any_step_of_staging_nothing_has_changed(tmp_path: Path) -> None:
    earlier_outputs(tmp_path)
    job = new_job(tmp_path)
    before = files_below(job.high), files_below(job.medium)
    step = 1
    while killed_at(step, lambda: job.stage(**PATTERNS)):
        assert (files_below(job.high), files_below(job.medium)) == before
        step += 1
    assert step > 20
    outputs = job.stage(**PATTERNS)
    finish(job, outputs)
    check_published(job)


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """Between the steps too: the kernel is stopped wherever it is."""
    for turn in range(15):
        base = tmp_path / str(turn)
        earlier_outputs(base)
        job = new_job(base)
        outputs = job.stage(**PATTERNS)
        child = os.fork()
        if child == 0:
            try:
                finish(job, outputs)
            finally:
                os._exit(0)
        time.sleep(turn * 0.002)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        readable_at_any_time(job)
        finish(job, outputs)
        check_published(job)


def check_agreement(job: Job) -> None:
    """The manifest tells of what is in the stores, and nothing else is in them."""
    entries, high = manifest.read(job.stores)["outputs"], files_below(job.high)
    assert {path: entry["content_hash"] for path, entry in entries.items()} == {
        path: hashlib.sha256(content).hexdigest() for path, content in high.items()
    }
    released = [path for path, entry in entries.items() if entry["level"] == "moderately_sensitive"]
    expected = {f"{path}.txt" if entries[path]["excluded"] else path for path in released}
    assert set(files_below(job.medium)) == expected


@pytest.mark.parametrize("others", ["a.csv", "a.csv/b.csv"])
def test_killed_before_any_step_and_overtaken_by_another_action(tmp_path: Path, others: str) -> None:
    for step in range(1, 1000):
        base = tmp_path / str(step)
        job, other = Job(base=base), Job(base=base, id="other", action="other")
        job.lay_out()
        job.make("a.csv", "patient_id\n1\n")
        job.make("b.csv", "x\n1\n")
        other.lay_out()
        other.make(others, "x\n2\n")
        other.make("b.csv", "patient_id\n2\n")
        outputs = job.stage(moderate="*.csv")
        outputs_of_other = other.stage(high=others, moderate="b.csv")
        was_killed = killed_at(step, functools.partial(finish, job, outputs))
        finish(other, outputs_of_other)
        finish(job, outputs)
        check_agreement(job)
        shutil.rmtree(base)
        if not was_killed:
            break
