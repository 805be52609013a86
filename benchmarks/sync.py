"""What keeping step with a job-server costs, beside `json.dumps` of the same jobs in the same run.

    python benchmarks/sync.py [--seconds 10] [--requests 500] [--jobs 50]

A `jobrunner sync` with many active requests of which nothing changes: its CPU per poll. The same when it tells
everything: once every few minutes. Then 50 new requests for one study of 118 actions: seconds, how often its commit was
fetched and its file parsed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.job_server import JobServer, serving
from support.repositories import StudyRepository
from support.syncing import C, Place

ACTIONS = 118
NEW = 50


def cpu_of(pid: int) -> float:
    """User and system seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def dump_seconds(server: JobServer) -> float:
    """CPU seconds of one `json.dumps` of everything that the server was told."""
    rows = [row for jobs in server.jobs.values() for row in jobs.values()]
    figures = []
    for _ in range(5):
        begun = time.process_time()
        json.dumps(rows)
        figures.append(time.process_time() - begun)
    return statistics.median(figures)


def nothing_changes(base: Path, seconds: float, requests: int, jobs: int) -> None:
    """The CPU of polls without news, and of a full round."""
    with serving() as server:
        place = Place(base, server, POLL_INTERVAL="1")
        with place.database.transaction():
            for number in range(requests):
                place.add_jobs(f"r{number}", jobs, code=C.EXECUTING, status_message="Running")
        place.database.close()
        command = [str(Path(sys.executable).with_name("jobrunner")), "sync"]
        environment = {**os.environ, **place.environment}
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
            try:
                server.until(server.gets, "the first poll", 60)
                started = cpu_of(process.pid)
                server.until(lambda: sum(map(len, server.jobs.values())) == requests * jobs, "the full round", 60)
                time.sleep(3)
                full = cpu_of(process.pid) - started
                before, polls = cpu_of(process.pid), len(server.gets())
                told = len(server.posts())
                time.sleep(seconds)
                used, polls = cpu_of(process.pid) - before, len(server.gets()) - polls
                told = len(server.posts()) - told
            finally:
                process.terminate()
        pages = -(-requests // 100)
        dump = dump_seconds(server)
    idle = used / (polls / pages)
    print(f"{requests} active requests of {jobs} jobs, {told} POSTs while nothing changed")
    print(f"{'':<28} {'CPU ms':>8} {'ratio':>6}")
    for name, value in (("json.dumps of all", dump), ("a poll without news", idle), ("the first, full round", full)):
        print(f"{name:<28} {value * 1000:>8.1f} {value / dump:>6.2f}")


@contextmanager
def counted_git(base: Path) -> Iterator[Path]:
    """The file that gets a line for every git that is started inside."""
    called, wrapper = base / "called", base / "bin" / "git"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\necho "$*" >> {called}\nexec {shutil.which("git")} "$@"\n')
    wrapper.chmod(0o755)
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{wrapper.parent}:{before}"
    try:
        yield called
    finally:
        os.environ["PATH"] = before


def large_study(base: Path) -> tuple[StudyRepository, str]:
    """A study of many actions, each of which needs the one before."""
    study = StudyRepository(base / "large")
    actions = {
        f"action_{number}": {
            "run": f"python:v2 python analysis/step.py --number {number} --output output/{number}.csv",
            "needs": [f"action_{number - 1}"] if number else [],
            "outputs": {"highly_sensitive": {"table": f"output/{number}.csv", "extra": f"output/{number}_*.csv"}},
        }
        for number in range(ACTIONS)
    }
    study.project(json.dumps({"version": "4.0", "actions": actions}, indent=2))
    return study, study.commit()


def counted_calls(module: ModuleType, name: str) -> list[object]:
    """Something is added to the list at each call of the module's function from now on."""
    calls: list[object] = []
    real = getattr(module, name)

    def counted(*given: object) -> object:
        calls.append(None)
        return real(*given)

    setattr(module, name, counted)
    return calls


def many_new(base: Path) -> None:
    """The time that new requests for one study take."""
    from jobrunner_cli.engine.study import pipeline

    study, head = large_study(base)
    with serving() as server, counted_git(base) as called:
        place = Place(base, server)
        begun = time.perf_counter()
        pipeline.read_pipeline((study.path / "project.yaml").read_bytes())
        parse = time.perf_counter() - begun
        parsed = counted_calls(pipeline, "examine")
        for number in range(NEW):
            server.add(f"n{number}", str(study.path), head, ["run_all"], workspace={"name": f"ws{number}"})
        begun = time.perf_counter()
        report = place.sync().once()
        took = time.perf_counter() - begun
        place.database.close()
        fetched = sum(" fetch " in f" {line} " for line in called.read_text().splitlines())
    assert report.taken == NEW
    assert report.told_jobs == NEW * ACTIONS
    print(f"{NEW} new requests for a study of {ACTIONS} actions: {took:.2f} s, of which parsing once is {parse:.2f} s;")
    print(
        f"fetched {fetched} times, parsed {len(parsed)} times; {NEW * ACTIONS} jobs told in {len(server.posts())} POSTs"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--jobs", type=int, default=50)
    wanted = parser.parse_args()
    for measure in (lambda base: nothing_changes(base, wanted.seconds, wanted.requests, wanted.jobs), many_new):
        with tempfile.TemporaryDirectory() as base:
            measure(Path(base))


if __name__ == "__main__":
    main()
