"""How long large data takes to be laid out and stored, beside cp and sha256sum, and whether other jobs wait for it.

    python benchmarks/files.py [--rounds 3] [--full] [--where DIRECTORY]

The same bytes in one file and in 20,000 (in 2,000 without --full, and 256 MiB instead of 2 GiB). Laying out is beside
`cp -r`; storing (match, copy, hash, publish, manifest, durable at the end) beside `cp -r`, `sha256sum` and, in the
last column, a `sync` of what was copied. Both ways run in turn, and the medians are compared. The aim is 1.2 times.
Figures are steady on a file system that was made for them; on one from which thousands of files were deleted lately,
making files takes either way up to five times as long, by chance.

Then a runner stores the outputs of a job while others are asked for, one after the other, each from its row to its
start; beside the same with a runner that has nothing else to do. Needs no engine: the jobs are processes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from jobrunner_cli.engine import requests
from jobrunner_cli.engine import settings as settings_module
from jobrunner_cli.engine.jobfiles import layout, manifest, matching, publish
from jobrunner_cli.engine.local_requests import local_request
from jobrunner_cli.engine.running.session import make_repositories
from jobrunner_cli.engine.store.database import Database
from jobrunner_cli.engine.store.migrating import migrate
from jobrunner_cli.engine.work import InputFile, TreeEntry

PATTERN = "out/*/*.bin"
MOST_PROBES = 12


class NoCode:
    """The tree of a commit that has no files."""

    commit = "0" * 40

    def read(self) -> Iterator[TreeEntry]:
        """Nothing."""
        return iter(())


def make_files(directory: Path, count: int, size: int) -> None:
    """Files of random bytes, a hundred directories at most, on the disk when this returns."""
    block = os.urandom(1 << 20)
    for number in range(count):
        path = directory / "out" / str(number % 100) / f"{number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            left = size // count
            while left > 0:
                left -= file.write(block[: min(left, len(block))])
    os.sync()


def discard(directory: Path) -> None:
    """Free the blocks and the memory of all files below a directory, which take no part in anything any more.

    Memory that a machine has not used before is slow to fill, and what is freed serves the next. The files themselves
    stay: ext4 passes over the inodes of those that were deleted within the last minute, one by one, whenever it makes
    a file.
    """
    for path in directory.rglob("*"):
        if path.is_file():
            os.truncate(path, 0)


def timed(act: Callable[[], object]) -> float:
    """Seconds that something takes, with nothing left to be written from before."""
    os.sync()
    begin = time.monotonic()
    act()
    return time.monotonic() - begin


def run(*words: str | Path, **options: object) -> None:
    """Run a command that has to succeed."""
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, **options)  # type: ignore[call-overload]


def measure_copies(base: Path, count: int, size: int) -> tuple[float, ...]:
    """Seconds: cp, laying out; cp and sha256sum, sync after them, storing."""
    base.mkdir()
    stop = threading.Event()
    workspace = base / "high/workspaces/test"
    make_files(workspace, count, size)
    items = [InputFile(path=str(path.relative_to(workspace)), action="a") for path in workspace.glob(PATTERN)]
    items.sort(key=lambda item: item.path)
    # Both ways shall write to memory that has been used before.
    run("cp", "-r", workspace / "out", base / "first")
    discard(base / "first")
    copying = timed(lambda: run("cp", "-r", workspace / "out", base / "copied"))
    discard(base / "copied")
    job = layout.JobDirectory.of(base / "volumes", "job")
    layout.lay_out_code(job, NoCode(), owner=None, stop=stop)
    laying_out = timed(lambda: layout.lay_out_inputs(job, workspace, items, owner=None, stop=stop))
    # What a job has made is nobody's record of what was laid out, and much of it not yet on the disk.
    workspace.rename(base / "laid out from")
    discard(base / "laid out from")
    hashing = "find . -type f -print0 | xargs -0 sha256sum > ../sums"

    def copy_and_hash() -> None:
        run("cp", "-r", job.work / "out", base / "stored")
        run("sh", "-c", hashing, cwd=base / "stored")

    storing_raw = timed(copy_and_hash)
    begin = time.monotonic()
    run("sync", "-f", base / "stored")
    syncing = time.monotonic() - begin
    discard(base / "stored")
    stores = publish.WorkspaceStores(workspace="test", high=workspace, medium=base / "medium/workspaces/test")

    def store() -> None:
        matched = matching.match(job, {"highly_sensitive": {"all": PATTERN}}, stop=stop)
        limits = publish.Level4Limits(max_bytes=1 << 24, max_csv_rows=5000)
        outputs = publish.stage(job, matched, stores, job_id="job", limits=limits, stop=stop)
        assert len(outputs) == count, matched
        origin = manifest.Origin(job_id="job", job_request="r", action="a", repo="r", commit=NoCode.commit)
        publish.publish(outputs, stores, origin, remove_obsolete=True)

    storing = timed(store)
    discard(base)
    return copying, laying_out, storing_raw, storing_raw + syncing, storing


@contextlib.contextmanager
def at_work(base: Path, count: int, size: int) -> Iterator[Place]:
    """A runner at work on a place of its own, with a study that makes so many files."""
    source = base / "source"
    make_files(source, count, size)
    study = base / "study"
    study.mkdir()
    # Links to other files are never taken for outputs, so that the job has to copy, too.
    script = f"cp -r {source}/out . && touch made && sleep 1"
    actions = {
        "large": {"run": f"python:v2 sh -c '{script}'", "outputs": {"highly_sensitive": {"all": PATTERN}}},
        "small": {"run": "python:v2 sh -c 'echo 1 > s.txt'", "outputs": {"highly_sensitive": {"all": "s.txt"}}},
    }
    (study / "project.yaml").write_text(json.dumps({"version": "4.0", "actions": actions}))
    git = ["git", "-C", str(study), "-c", "user.name=b", "-c", "user.email=b@localhost"]
    run("git", "init", "-q", "-b", "main", study)
    run(*git, "add", ".")
    run(*git, "commit", "-q", "-m", "study")
    environment = {"WORKDIR": str(base / "workdir"), "EXECUTOR": "process", "MAX_WORKERS": "3"}
    os.environ.update(environment)
    settings = settings_module.load()
    migrate(settings.database_path)
    with (base / "said").open("wb") as said:
        runner = subprocess.Popen([sys.executable, "-m", "jobrunner_cli", "run"], stdout=said, stderr=said)
        try:
            with Database(settings.database_path) as database:
                yield Place(settings, database, study)
        finally:
            runner.terminate()
            runner.wait()


class Place:
    """A work directory with a runner, to ask for jobs."""

    def __init__(self, settings: settings_module.Settings, database: Database, study: Path) -> None:
        self._settings = settings
        self._database = database
        self._repositories = make_repositories(settings)
        self._study = study
        self._asked = 0
        self._looking = sqlite3.connect(f"file:{settings.database_path}?mode=ro", uri=True, isolation_level=None)

    def add(self, action: str) -> str:
        """Ask for an action in a workspace of its own; the job's id."""
        self._asked += 1
        request = local_request(
            self._settings, self._repositories, str(self._study), [action], workspace=f"w{self._asked}"
        )
        submission = requests.create_jobs(self._settings, self._repositories, self._database, request)
        assert submission.error is None, submission.error
        return submission.jobs[0].id

    def code(self, job_id: str) -> str:
        """The code of a job."""
        rows = self._looking.execute("SELECT status_code FROM job WHERE id = ?", (job_id,)).fetchall()
        return str(rows[0][0])

    def wait(self, job_id: str, *codes: str) -> None:
        """Wait until a job has one of these codes."""
        while self.code(job_id) not in codes:
            time.sleep(0.0005)

    def seconds_to_start(self) -> float:
        """From the row of a small job to its start, as the table has it; returns when the job has ended."""
        job_id = self.add("small")
        self.wait(job_id, "succeeded")
        query = "SELECT to_code, at FROM history WHERE job_id = ?"
        steps = dict(self._looking.execute(query, (job_id,)).fetchall())
        return float(steps["executing"] - steps["created"]) / 1e9


def measure_starts(base: Path, count: int, size: int) -> tuple[float, float, int]:
    """Median seconds to the start of a job while nothing else happens, while a large one is stored, of how many."""
    base.mkdir()
    with at_work(base, count, size) as place:
        place.wait(place.add("small"), "succeeded")
        idle = [place.seconds_to_start() for _ in range(MOST_PROBES)]
        beside: list[float] = []
        while len(beside) < MOST_PROBES:
            large = place.add("large")
            place.wait(large, "finalizing")
            while place.code(large) == "finalizing":
                seconds = place.seconds_to_start()
                if place.code(large) == "finalizing":
                    beside.append(seconds)
            place.wait(large, "succeeded")
    shutil.rmtree(base)
    return statistics.median(idle), statistics.median(beside), len(beside)


def main() -> None:
    """Measure both and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--full", action="store_true", help="2 GiB, in one file and in 20,000")
    parser.add_argument(
        "--where", type=Path, help="a directory on the file system to measure, with room for four times"
    )
    options = parser.parse_args()
    size, many = (2 << 30, 20_000) if options.full else (256 << 20, 2_000)
    print(f"{'files':>7} {'':<9} {'raw s':>7} {'ours s':>7} {'ratio':>6} {'with sync':>10}")
    with tempfile.TemporaryDirectory(dir=options.where) as temporary:
        base = Path(temporary)
        for count in (1, many):
            rounds = [measure_copies(base / f"copies-{count}-{n}", count, size) for n in range(options.rounds)]
            cp, lay, raw, durable, store = (statistics.median(column) for column in zip(*rounds, strict=True))
            print(f"{count:>7} {'lay out':<9} {cp:>7.2f} {lay:>7.2f} {lay / cp:>6.2f}")
            print(f"{count:>7} {'store':<9} {raw:>7.2f} {store:>7.2f} {store / raw:>6.2f} {store / durable:>10.2f}")
            total = (lay + store) / (cp + raw)
            print(f"{count:>7} {'both':<9} {cp + raw:>7.2f} {lay + store:>7.2f} {total:>6.2f}", flush=True)
        print(f"\n{'files':>7} {'start of a job: idle ms':>24} {'beside ms':>10} {'ratio':>6} {'jobs':>5}")
        for count in (1, many):
            idle, beside, jobs = measure_starts(base / f"starts-{count}", count, size)
            print(f"{count:>7} {idle * 1000:>24.1f} {beside * 1000:>10.1f} {beside / idle:>6.2f} {jobs:>5}", flush=True)


if __name__ == "__main__":
    main()
