"""How long it takes from a wish to end a job to SIGTERM in its container, beside a bare stop through the engine's API.

    python benchmarks/intents.py [--rounds 9]

A runner is at work, all jobs run, and one after the other is cancelled: the time goes from before the intent is written
until the command's trap has left its mark in the working copy. In turn with that, a container of the same image with
the same command is stopped by one call of the API, timed in the same way. Needs a Docker engine with the small images
of `just engine`, at a Unix socket or with the directory below which it runs shared.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from threading import Thread

import docker

sys.path.insert(0, str(Path(__file__).parent))
from pipeline import IMAGE

from jobrunner_cli.engine import operations
from jobrunner_cli.engine.operations import Operation
from jobrunner_cli.engine.store import queries
from jobrunner_cli.engine.store.database import Database

#: The shell only obeys a trap at once while it waits for a child in the background.
SCRIPT = "trap 'touch ended; exit 0' TERM; touch begun; while true; do sleep 5 & wait $!; done"
_PATIENCE = 60.0


def until_there(path: Path) -> float:
    """Wait for a file; returns the monotonic seconds at which it was seen."""
    deadline = time.monotonic() + _PATIENCE
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(path)
        time.sleep(0.0005)
    return time.monotonic()


def make_study(path: Path, count: int) -> None:
    """A repository with so many actions that run until they are ended."""
    actions = {
        f"a{n}": {"run": f'python:v2 sh -c "{SCRIPT}" a{n}', "outputs": {"highly_sensitive": {"out": f"{n}.txt"}}}
        for n in range(count)
    }
    path.mkdir()
    (path / "project.yaml").write_text(json.dumps({"version": "4.0", "actions": actions}))
    git = ["git", "-C", str(path), "-c", "user.name=b", "-c", "user.email=b@localhost"]
    subprocess.run([*git, "init", "-q", "-b", "main"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "study"], check=True)


def raw(client: docker.api.client.APIClient, base: Path) -> float:
    """Seconds from a call of the API to the mark of the trap."""
    base.mkdir()
    base.chmod(0o777)
    limits = client.create_host_config(binds=[f"{base}:/workspace"], init=True, network_mode="none")
    made = client.create_container(
        IMAGE, ["sh", "-c", SCRIPT], working_dir="/workspace", user="10000:10000", host_config=limits
    )
    try:
        client.start(made)
        until_there(base / "begun")
        begin = time.monotonic()
        # The call returns when the container has ended, which is not what is measured.
        stopping = Thread(target=client.stop, args=(made,), kwargs={"timeout": 10})
        stopping.start()
        took = until_there(base / "ended") - begin
        stopping.join()
        return took
    finally:
        client.remove_container(made, force=True)


def ours(database: Database, job_id: str, work: Path) -> float:
    """Seconds from before the intent is written to the mark of the trap."""
    until_there(work / "begun")
    job = queries.job_by_id(database.connection, job_id)
    assert job is not None
    begin = time.monotonic()
    operations.end(database, Operation.CANCEL, [job], origin="benchmark")
    # The directory goes with the job, so that its going counts, too, where the mark was too short to be seen.
    deadline = begin + _PATIENCE
    while work.exists() and not (work / "ended").exists():
        if time.monotonic() > deadline:
            raise TimeoutError(work)
        time.sleep(0.0005)
    return time.monotonic() - begin


def main() -> None:
    """Both ways in turn, and the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        base.chmod(0o755)
        make_study(base / "study", rounds)
        settings = {"WORKDIR": f"{base}/workdir", "EXECUTOR": "docker", "MAX_WORKERS": str(rounds)}
        environment = {
            **os.environ,
            **settings,
            "DEFAULT_JOB_MEMORY_LIMIT": "64m",
            "HIGH_PRIVACY_FREE_SPACE_FLOOR": "0",
        }
        command = [sys.executable, "-m", "jobrunner_cli"]

        def call(*words: str) -> str:
            return subprocess.run(
                [*command, *words], env=environment, check=True, stdout=subprocess.PIPE, text=True
            ).stdout

        call("migrate")
        jobs = json.loads(call("add-job", str(base / "study"), "run_all", "--json"))
        runner = subprocess.Popen([*command, "run"], env=environment, stderr=subprocess.DEVNULL)
        client = docker.from_env().api
        measured = []
        try:
            with Database(base / "workdir/db.sqlite") as database:
                volumes = base / "workdir/high_privacy/volumes"
                for number, job in enumerate(jobs):
                    work = volumes / f"os-job-{job['id']}/work"
                    measured.append((raw(client, base / f"raw{number}"), ours(database, job["id"], work)))
        finally:
            runner.terminate()
            runner.wait()
    stop, intent = (statistics.median(column) for column in zip(*measured, strict=True))
    print(f"{'bare stop ms':>13} {'intent ms':>10} {'ratio':>6}")
    print(f"{stop * 1000:>13.1f} {intent * 1000:>10.1f} {intent / stop:>6.2f}")


if __name__ == "__main__":
    main()
