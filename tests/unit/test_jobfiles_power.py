"""Power cuts, on file systems whose power is cut for real: what was said to be stored is there when they come back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jobrunner_cli.engine.jobfiles import joblog, manifest, publish
from jobrunner_cli.engine.jobfiles.offload import MANY
from support.disks import Disk, disk_of
from support.jobfiles import Job, files_below

pytestmark = pytest.mark.slow


@pytest.fixture(params=["ext4", "xfs"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    with disk_of(request.param, tmp_path) as disk:
        yield disk


def made(job: Job, count: int) -> dict[str, bytes]:
    """Outputs that a job has made, some in directories of their own."""
    job.lay_out()
    contents = {f"out/{number % 7}/{number}.csv": f"n\n{number}\n".encode() * 500 for number in range(count)}
    for path, content in contents.items():
        job.make(path, content)
    return contents


@pytest.mark.parametrize("count", [1, 5, MANY + 20])
def test_what_is_staged_survives_a_power_cut(disk: Disk, count: int) -> None:
    job = Job(base=disk.path)
    contents = made(job, count)
    outputs = job.stage(moderate="out/*/*.csv")
    disk.cut_power()
    job.put_in_place(outputs)
    assert files_below(job.high) == contents
    assert files_below(job.medium) == contents


@pytest.mark.parametrize("count", [1, 5, MANY + 20])
def test_what_is_published_survives_a_power_cut(disk: Disk, count: int) -> None:
    job = Job(base=disk.path)
    contents = made(job, count)
    outputs = job.stage(moderate="out/*/*.csv")
    publish.publish(outputs, job.stores, job.origin, remove_obsolete=True, force_name=False)
    facts = dict.fromkeys(joblog.KEYS, "known")
    levels = {output.path: output.level for output in outputs}
    log = joblog.compose([b"2020-01-01T00:00:00Z said"], facts, levels, {}, control=job.directory.control)
    said, directory = log.read_bytes(), disk.path / "high/logs/2020-01/os-job-job1"
    described = joblog.metadata(facts, levels, {})
    joblog.place(log, directory=directory, metadata=described, stores=job.stores, action=job.action)
    disk.cut_power()
    assert files_below(job.high) == contents
    assert files_below(job.medium) == contents
    assert manifest.read(job.stores)["outputs"].keys() == contents.keys()
    for place in (directory / "logs.txt", job.high / "metadata/make.log", job.medium / "metadata/make.log"):
        assert place.read_bytes() == said
    assert b"job_definition_id" in (directory / "metadata.json").read_bytes()
