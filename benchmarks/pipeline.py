"""How long pipelines of trivial containers take, beside the same containers started by raw `docker run --rm`.

    python benchmarks/pipeline.py [--rounds 3] [--quick]

Shapes: a chain of 10, 40 independent actions, a DAG of 60. For each shape and number of workers both ways run in
turn, and the medians are compared. Time ends when every row is final and every container gone. CPU is what the
runner's process and the git processes it started used per job; start-up, which is Python, its imports and reading
the study, is apart. Needs a Docker engine with the small images of `just engine`; the engine's own CPU is not in it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path

IMAGE = "ghcr.io/opensafely-core/python:v2"
#: The directories that a container has of this machine, by their names in it.
PARTS = ("workspace", "tmp")

Shape = Mapping[str, tuple[str, ...]]


def chain(length: int) -> Shape:
    """Each needs the one before."""
    return {f"a{n}": (f"a{n - 1}",) if n else () for n in range(length)}


def independent(count: int) -> Shape:
    """None needs any."""
    return {f"a{n}": () for n in range(count)}


def layers(count: int, width: int) -> Shape:
    """Layers of some width; each action needs two of the layer before."""
    dice = random.Random(60)
    shape: dict[str, tuple[str, ...]] = {}
    for n in range(count):
        layer = n // width
        before = [f"a{m}" for m in range((layer - 1) * width, layer * width)] if layer else []
        shape[f"a{n}"] = tuple(sorted(dice.sample(before, 2))) if before else ()
    return shape


def run_raw(shape: Shape, workers: int) -> float:
    """Seconds that the same containers take, started by the docker command in the order of their needs."""
    with tempfile.TemporaryDirectory() as base:
        for part in PARTS:
            directory = Path(base, part)
            directory.mkdir()
            directory.chmod(0o777)
        done: set[str] = set()
        begun: set[str] = set()
        changed = threading.Condition()

        def next_ready() -> str | None:
            return next((name for name, needs in shape.items() if name not in begun and done.issuperset(needs)), None)

        def work() -> None:
            while True:
                with changed:
                    while (name := next_ready()) is None:
                        if len(begun) == len(shape):
                            return
                        changed.wait()
                    begun.add(name)
                subprocess.run(docker_run(base, name), check=True, stdout=subprocess.DEVNULL)
                with changed:
                    done.add(name)
                    changed.notify_all()

        begin = time.monotonic()
        threads = [threading.Thread(target=work) for _ in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.monotonic() - begin


def docker_run(base: str, name: str) -> list[str]:
    """The command line that makes a container as jobrunner does: the same limits, mounts and log."""
    limits = ["--init", "--network=none", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--read-only"]
    limits += ["--memory=4g", "--memory-swap=4g", "--cpus=2", "--pids-limit=4096", "--user=65534:65534"]
    limits += ["--shm-size=64m", "--oom-score-adj=500", "--ulimit=core=0", "--ipc=private", "--no-healthcheck"]
    limits += ["--log-driver=json-file", "--log-opt=max-size=64m", "--log-opt=max-file=8"]
    mounts = ["--tmpfs=/run:size=16m,mode=1777", "--tmpfs=/var/tmp:size=64m,mode=1777", "--workdir=/workspace"]
    mounts += [f"--mount=type=bind,source={base}/{part},target=/{part}" for part in PARTS]
    environment = ["--env=HOME=/tmp", "--env=OPENSAFELY_BACKEND=expectations"]
    command = ["sh", "-c", f"echo {name} > {name}.txt"]
    return ["docker", "run", "--rm", *limits, *mounts, *environment, IMAGE, *command]


def run_ours(shape: Shape, workers: int) -> tuple[float, float]:
    """Seconds that jobrunner takes for all of them, and the CPU seconds of its process for each."""
    with tempfile.TemporaryDirectory() as base:
        measured = subprocess.run(
            [sys.executable, __file__, "--measure", base, json.dumps(shape)],
            env={**os.environ, "MAX_WORKERS": str(workers), "WORKDIR": f"{base}/workdir", "EXECUTOR": "docker"},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            cwd=base,
        )
        wall, cpu = json.loads(measured.stdout)
        return wall, cpu / len(shape)


def measure(base: Path, shape: Shape) -> None:
    """In a process of its own: make the study, add the jobs, and time the runner."""
    # What every program that talks to an engine imports once belongs to the start-up, as Python itself does.
    import docker  # noqa: F401

    from jobrunner_cli.engine import requests
    from jobrunner_cli.engine import settings as settings_module
    from jobrunner_cli.engine.local_requests import local_request
    from jobrunner_cli.engine.running.session import make_repositories, runner
    from jobrunner_cli.engine.states import StatusCode
    from jobrunner_cli.engine.store.database import Database
    from jobrunner_cli.engine.store.migrating import migrate
    from jobrunner_cli.progress import Progress

    study = make_study(base / "study", shape)
    settings = settings_module.load()
    migrate(settings.database_path)
    repositories = make_repositories(settings)
    request = local_request(settings, repositories, str(study), ["run_all"])
    with Database(settings.database_path) as database:
        submission = requests.create_jobs(settings, repositories, database, request)
    assert len(submission.jobs) == len(shape), submission.error
    with runner(settings, Progress(live=False)) as (controller, board):
        begin, cpu = time.monotonic(), cpu_seconds()
        controller.run(until_idle=True)
        wall, used = time.monotonic() - begin, cpu_seconds() - cpu
        assert set(board.ended.values()) == {StatusCode.SUCCEEDED}, board.ended
    print(json.dumps([wall, used]))


def make_study(path: Path, shape: Shape) -> Path:
    """A git repository with an action for each name; each writes one file."""
    path.mkdir()
    actions = {
        name: {
            "run": f"python:v2 sh -c 'echo {name} > {name}.txt'",
            "needs": list(needs),
            "outputs": {"moderately_sensitive": {"out": f"{name}.txt"}},
        }
        for name, needs in shape.items()
    }
    (path / "project.yaml").write_text(json.dumps({"version": "4.0", "actions": actions}))
    git = ["git", "-C", str(path), "-c", "user.name=b", "-c", "user.email=b@localhost"]
    subprocess.run(["git", "init", "-q", "-b", "main", str(path)], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "study"], check=True)
    return path


def cpu_seconds() -> float:
    """User and system time of this process and of the children it has waited for."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(item.ru_utime + item.ru_stime for item in usage)


def main() -> None:
    """Run every shape both ways and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="only the chain and 10 independent ones")
    parser.add_argument("--measure", nargs=2, metavar=("BASE", "SHAPE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(Path(options.measure[0]), json.loads(options.measure[1]))
        return
    shapes = {"chain of 10": chain(10), "40 independent": independent(40), "DAG of 60": layers(60, 5)}
    if options.quick:
        shapes = {"chain of 10": chain(10), "10 independent": independent(10)}
    print(f"{'shape':<16} {'workers':>7} {'raw s':>7} {'ours s':>7} {'ratio':>6} {'CPU ms/job':>11}")
    for name, shape in shapes.items():
        for workers in (2, 4):
            rounds = [(run_raw(shape, workers), *run_ours(shape, workers)) for _ in range(options.rounds)]
            raw, ours, cpu = (statistics.median(column) for column in zip(*rounds, strict=True))
            print(
                f"{name:<16} {workers:>7} {raw:>7.2f} {ours:>7.2f} {ours / raw:>6.2f} {cpu * 1000:>11.1f}", flush=True
            )


if __name__ == "__main__":
    main()
