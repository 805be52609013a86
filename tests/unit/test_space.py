"""Space: how full the stores are, what running jobs take up, and how far copying is."""

from __future__ import annotations

import os
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from jobrunner_cli.engine import settings as settings_module
from jobrunner_cli.engine.jobfiles import layout, overuse, publish
from jobrunner_cli.engine.jobfiles.tally import Tally
from jobrunner_cli.engine.running.space import SpaceWatch, shortages
from jobrunner_cli.engine.running.tracks import Track, progress_of
from jobrunner_cli.engine.running.usage import Overuse, UsageWatch
from jobrunner_cli.engine.work import EffectKind
from support.jobfiles import LIMITS, NEVER, Job, make_deep, small_disk

PATIENCE = 20.0


def load(base: Path, **values: str) -> settings_module.Settings:
    return settings_module.load({"WORKDIR": str(base / "workdir"), **values}, cwd=base, config_dir=base)


def test_a_store_below_its_floor_is_named_and_one_above_is_not(tmp_path: Path) -> None:
    with small_disk(tmp_path, 8) as disk:
        values = {
            "MEDIUM_PRIVACY_STORAGE_BASE": str(disk / "not/yet/there"),
            "HIGH_PRIVACY_FREE_SPACE_FLOOR": "1",
            "MEDIUM_PRIVACY_FREE_SPACE_FLOOR": "4M",
        }
        assert shortages(load(tmp_path, **values)) == ()
        (disk / "filling").write_bytes(bytes(5 << 20))
        (shortage,) = shortages(load(tmp_path, **values))
        assert shortage.place == "the medium privacy store"
        assert shortage.path == str(disk / "not/yet/there")
        assert (shortage.free, shortage.floor) == (3 << 20, 4 << 20)
        assert shortages(load(tmp_path, **{**values, "MEDIUM_PRIVACY_FREE_SPACE_FLOOR": "0"})) == ()


@pytest.mark.parametrize("place", ["HIGH_PRIVACY_STORAGE_BASE", "HIGH_PRIVACY_VOLUME_DIR", "WORKDIR"])
def test_the_floor_of_the_high_privacy_store_is_that_of_jobs_and_work_directory_too(tmp_path: Path, place: str) -> None:
    with small_disk(tmp_path, 8) as disk:
        values = {
            "HIGH_PRIVACY_STORAGE_BASE": str(tmp_path / "high"),
            "MEDIUM_PRIVACY_STORAGE_BASE": str(tmp_path / "medium"),
            "HIGH_PRIVACY_VOLUME_DIR": str(tmp_path / "volumes"),
            "HIGH_PRIVACY_FREE_SPACE_FLOOR": "16M",
            place: str(disk),
        }
        (shortage,) = shortages(load(tmp_path, **values))
        assert shortage.path == str(disk)


def test_one_file_system_is_told_once(tmp_path: Path) -> None:
    with small_disk(tmp_path, 8) as disk:
        assert (
            len(shortages(load(disk, HIGH_PRIVACY_FREE_SPACE_FLOOR="16M", MEDIUM_PRIVACY_FREE_SPACE_FLOOR="16M"))) == 1
        )


def test_the_watch_answers_at_once_and_when_it_is_asked(tmp_path: Path) -> None:
    with small_disk(tmp_path, 8) as disk:
        seen: SimpleQueue[Any] = SimpleQueue()
        floors = {"HIGH_PRIVACY_FREE_SPACE_FLOOR": "4M", "MEDIUM_PRIVACY_FREE_SPACE_FLOOR": "0"}
        watch = SpaceWatch(load(disk, **floors), post=seen.put)
        (disk / "filling").write_bytes(bytes(6 << 20))
        first = watch.start()
        assert len(first.shortages) == 1
        (disk / "filling").unlink()
        watch.ask()
        second = seen.get(timeout=PATIENCE)
        assert second.shortages == ()
        assert second.at > first.at
        watch.stop()


def test_what_takes_up_disk_is_counted_and_holes_and_other_names_are_not(tmp_path: Path) -> None:
    job = Job(base=tmp_path)
    job.lay_out()
    with (job.work / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    large = job.make("large", os.urandom(4 << 20))
    for number in range(5):
        os.link(large, job.work / f"name{number}")
    (job.work / "link").symlink_to("/")
    assert overuse.excess(job.directory, 5 << 20, stop=NEVER) is None
    assert "more than 3 MiB of disk" in (overuse.excess(job.directory, 3 << 20, stop=NEVER) or "")
    make_deep(job.work, 500)
    (job.directory.tmp / "more").write_bytes(os.urandom(4 << 20))
    assert overuse.excess(job.directory, 7 << 20, stop=NEVER) is not None


def test_nothing_is_hidden_from_the_limit_at_the_end_of_an_endless_path(tmp_path: Path) -> None:
    job = Job(base=tmp_path)
    job.lay_out()
    make_deep(job.work, 400, "d" * 255)
    assert "too deeply" in (overuse.excess(job.directory, 1 << 30, stop=NEVER) or "")
    layout.remove(job.directory)


def test_a_running_job_that_takes_up_too_much_is_told_and_others_are_not(tmp_path: Path) -> None:
    told: SimpleQueue[Overuse] = SimpleQueue()
    settings = load(tmp_path, HIGH_PRIVACY_VOLUME_DIR=str(tmp_path / "volumes"), JOB_DIRECTORY_LIMIT="1M")
    watch = UsageWatch(settings, post=told.put)
    for name in ("modest", "greedy", "waiting"):
        job = Job(base=tmp_path, id=name)
        job.lay_out()
        job.make("file", os.urandom(2 << 20 if name != "modest" else 1000))
    watch.start()
    watch.watch(["modest", "greedy", "not-there"])
    found = told.get(timeout=PATIENCE)
    assert found.job_id == "greedy"
    assert "1 MiB" in found.reason
    watch.stop()


def test_a_job_that_was_being_ended_when_a_runner_died_is_ended_by_the_next(tmp_path: Path) -> None:
    job = Job(base=tmp_path)
    job.lay_out()
    overuse.note(job.directory, "it used too much")
    told: SimpleQueue[Overuse] = SimpleQueue()
    settings = load(tmp_path, HIGH_PRIVACY_VOLUME_DIR=str(tmp_path / "volumes"), JOB_DIRECTORY_LIMIT="1G")
    watch = UsageWatch(settings, post=told.put)
    watch.start()
    watch.watch([job.id])
    assert told.get(timeout=PATIENCE) == Overuse(job_id=job.id, reason="it used too much")
    watch.stop()


def test_progress_is_counted_while_files_are_stored(tmp_path: Path) -> None:
    job = Job(base=tmp_path)
    job.lay_out()
    for number in range(3):
        job.make(f"{number}.bin", os.urandom(3 << 20))
    tally = Tally()
    matched = job.match(high="*.bin")
    assert tally.text() is None
    outputs = publish.stage(job.directory, matched, job.stores, job_id=job.id, limits=LIMITS, stop=NEVER, tally=tally)
    assert tally.text() == "Storing outputs: 9.0 of 9.0 MiB, 3 of 3 files"
    publish.publish(outputs, job.stores, job.origin, remove_obsolete=True, tally=tally)
    assert tally.text() == "Publishing outputs: 3 of 3 files"


@pytest.mark.parametrize(
    ("done", "total", "text"),
    [(0, 5, "1 of 1 file"), (1000, 2000, "1.0 of 2.0 KiB, 1 of 1 file"), (5, 900, "5 of 900 bytes, 1 of 1 file")],
)
def test_progress_is_said_in_units_of_the_whole(done: int, total: int, text: str) -> None:
    tally = Tally()
    tally.begin("Storing outputs", files=1, size=total)
    tally.advance(done)
    tally.finish_file()
    assert tally.text() == f"Storing outputs: {text}"


def test_progress_is_told_only_of_what_takes_long_and_not_too_often() -> None:
    track = Track()
    track.begin(EffectKind.FINALIZE, "", 100.0)
    track.tally.begin("Storing outputs", files=2)
    track.tally.finish_file()
    assert progress_of(track, 101.0) is None
    assert progress_of(track, 103.0) == "Storing outputs: 1 of 2 files"
    assert progress_of(track, 104.0) is None
    track.tally.finish_file()
    assert progress_of(track, 106.0) == "Storing outputs: 2 of 2 files"
    track.begin(EffectKind.START, "", 200.0)
    assert progress_of(track, 300.0) is None
