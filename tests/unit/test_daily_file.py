"""The debug log: a new file each day, several writers, and trouble that costs lines and nothing else."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobrunner_cli.engine.running.daily_file import DailyFile
from support.disks import disk_of, fill

DAY = 86_400.0
#: midnight of 2026-11-24
MIDNIGHT = 1_795_478_400.0


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock(MIDNIGHT - 60)


@pytest.fixture
def make_file(clock: Clock) -> Iterator[Callable[..., DailyFile]]:
    made: list[DailyFile] = []

    def make(path: Path, kept: int = 14) -> DailyFile:
        made.append(DailyFile(path, kept=kept, clock=clock))
        return made[-1]

    yield make
    for file in made:
        file.close()


def say(file: DailyFile, text: str) -> None:
    file.emit(logging.LogRecord("test", logging.INFO, "", 0, text, (), None))


def contents(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.iterdir()}


def test_each_day_has_a_file_and_the_oldest_go(make_file: Callable[..., DailyFile], clock: Clock, tmp_path: Path):
    file = make_file(tmp_path / "debug.log", kept=2)
    for day in range(4):
        say(file, f"day {day}")
        clock.now += DAY
    say(file, "last")
    assert contents(tmp_path) == {
        "debug.log": "last\n",
        "debug.log.2026-11-25": "day 2\n",
        "debug.log.2026-11-26": "day 3\n",
    }


def test_what_an_earlier_process_wrote_yesterday_is_put_aside(
    make_file: Callable[..., DailyFile], clock: Clock, tmp_path: Path
):
    path = tmp_path / "debug.log"
    path.write_text("earlier\n")
    os.utime(path, (MIDNIGHT - DAY / 2, MIDNIGHT - DAY / 2))
    clock.now = MIDNIGHT + 60
    say(make_file(path), "now")
    assert contents(tmp_path) == {"debug.log": "now\n", "debug.log.2026-11-23": "earlier\n"}


def test_several_writers_share_each_days_file(make_file: Callable[..., DailyFile], clock: Clock, tmp_path: Path):
    files = [make_file(tmp_path / "debug.log") for _ in range(3)]
    for day in range(2):
        for number, file in enumerate(files):
            say(file, f"{day}{number}")
        clock.now += DAY
    assert contents(tmp_path) == {"debug.log": "10\n11\n12\n", "debug.log.2026-11-23": "00\n01\n02\n"}


def write_over_midnights(path: Path, name: str) -> None:
    clock = Clock(MIDNIGHT - 60)
    file = DailyFile(path, kept=14, clock=clock)
    for number in range(500):
        clock.now = MIDNIGHT - 60 + number // 100 * DAY
        say(file, f"{name} {number}")


def test_no_line_is_lost_when_processes_change_files_at_once(tmp_path: Path):
    names = [f"writer{number}" for number in range(4)]
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_over_midnights, args=(tmp_path / "debug.log", name)) for name in names]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    lines = "".join(contents(tmp_path).values()).splitlines()
    assert sorted(lines) == sorted(f"{name} {number}" for name in names for number in range(500))


def test_clock_that_is_set_back_and_forth_costs_no_line(
    make_file: Callable[..., DailyFile], clock: Clock, tmp_path: Path
):
    file = make_file(tmp_path / "debug.log")
    for day in (0, 1, 0, 1, -5, 1):
        clock.now = MIDNIGHT - 60 + day * DAY
        say(file, str(day))
    assert sorted("".join(contents(tmp_path).values()).split()) == ["-5", "0", "0", "1", "1", "1"]


def test_file_that_was_moved_away_is_made_anew(make_file: Callable[..., DailyFile], tmp_path: Path):
    file = make_file(tmp_path / "debug.log")
    say(file, "before")
    (tmp_path / "debug.log").rename(tmp_path / "rotated")
    say(file, "after")
    assert contents(tmp_path) == {"rotated": "before\n", "debug.log": "after\n"}


def test_place_that_is_gone_is_told_once_and_used_when_it_is_back(
    make_file: Callable[..., DailyFile], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    directory = tmp_path / "logs"
    directory.mkdir()
    file = make_file(directory / "debug.log")
    shutil.rmtree(directory)
    for _ in range(3):
        say(file, "lost")
    assert [record.getMessage() for record in caplog.records] == [
        f"{directory}/debug.log cannot be written: No such file or directory"
    ]
    directory.mkdir()
    say(make_file(directory / "debug.log"), "of another process")
    say(file, "found")
    assert contents(directory) == {"debug.log": "of another process\nfound\n"}


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_midnight_on_a_full_disk_costs_nothing_that_was_written(
    make_file: Callable[..., DailyFile], clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    with disk_of("ext4", tmp_path, 8) as disk:
        file = make_file(disk.path / "debug.log")
        say(file, "yesterday")
        fill(disk.path / "filler")
        clock.now += DAY
        for _ in range(3):
            say(file, "x" * 10_000)
        assert len(caplog.records) == 1
        assert "No space left" in caplog.text
        assert (disk.path / "debug.log.2026-11-23").read_text() == "yesterday\n"
        (disk.path / "filler").unlink()
        say(file, "today")
        assert (disk.path / "debug.log").read_text().endswith("today\n")
        file.close()
