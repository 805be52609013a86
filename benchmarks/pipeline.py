"""How long pipelines of trivial containers take, beside the same containers started by raw `docker run --rm`.

    python benchmarks/pipeline.py [--rounds 3] [--quick]

Shapes: a chain of 10, 40 independent actions, a DAG of 60. For each shape and number of workers three ways run in
turn, and the medians are compared: raw, jobrunner, and the engine's API alone, which says what is to be had of this
machine: the next containers are made while others run, the `die` event is awaited, removal is behind, and nothing is
laid out, stored or written down. Time ends when every row is final and every container gone. CPU is what the runner's
process and the git processes it started used per job; start-up, which is Python, its imports and reading the study,
is apart. Needs a Docker engine with the small images of `just engine`; the engine's own CPU is not in it.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docker.api.client import APIClient

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
    with shared_directories() as base:
        begin = time.monotonic()
        in_order(
            shape,
            workers,
            lambda name: subprocess.run(docker_run(base, name), check=True, stdout=subprocess.DEVNULL),
        )
        return time.monotonic() - begin


@contextmanager
def shared_directories() -> Iterator[str]:
    """The directory with those that all containers of a run have."""
    with tempfile.TemporaryDirectory() as base:
        for part in PARTS:
            directory = Path(base, part)
            directory.mkdir()
            directory.chmod(0o777)
        Path(base, "hosts").write_text("127.0.0.1 localhost\n")
        yield base


def in_order(shape: Shape, workers: int, run: Callable[[str], object]) -> None:
    """Run each action when what it needs has run, so many at a time."""
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
            run(name)
            with changed:
                done.add(name)
                changed.notify_all()

    together([work] * workers)


def together(tasks: Sequence[Callable[[], object]]) -> None:
    """Run each in a thread of its own, and return when all are done."""
    threads = [threading.Thread(target=task) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def run_api(shape: Shape, workers: int) -> float:
    """Seconds that the same containers take, by the calls that the engine's API cannot do without."""
    with shared_directories() as base, closing(client()) as api:
        label = f"pipeline={base}"
        filters = {"type": ["container"], "event": ["die"], "label": [label]}
        events = api.events(filters=filters, decode=True)
        made = {name: threading.Event() for name in shape}
        ended = {name: threading.Event() for name in shape}
        ahead = threading.Semaphore(2 * workers)
        exited: SimpleQueue[str | None] = SimpleQueue()

        def make() -> None:
            with closing(client()) as mine:
                for name in shape:
                    ahead.acquire()
                    wanted = configuration(base, name, label)
                    mine.create_container_from_config(wanted, f"pipeline-{name}")  # type: ignore[no-untyped-call]
                    made[name].set()

        def listen() -> None:
            for _, event in zip(shape, events, strict=False):
                ended[event["Actor"]["Attributes"]["name"].removeprefix("pipeline-")].set()

        def run(name: str) -> None:
            made[name].wait()
            ahead.release()
            with closing(client()) as mine:
                mine.start(f"pipeline-{name}")
                ended[name].wait()
                exited.put(name)

        def remove() -> None:
            with closing(client()) as mine:
                while (name := exited.get()) is not None:
                    mine.remove_container(f"pipeline-{name}", v=True, force=True)

        def run_all() -> None:
            in_order(shape, workers, run)
            exited.put(None)

        begin = time.monotonic()
        together([make, listen, run_all, remove])
        return time.monotonic() - begin


def client() -> APIClient:
    """A client of the engine that the environment names, for one thread."""
    from docker.api.client import APIClient

    return APIClient(base_url=os.environ.get("DOCKER_HOST"), version="1.41")


def configuration(base: str, name: str, label: str) -> dict[str, object]:
    """What `docker_run` says, in the words of the API, with which a container is had without a network's set-up."""
    key, _, value = label.partition("=")
    hosts = {"Type": "bind", "Source": f"{base}/hosts", "Target": "/etc/hosts", "ReadOnly": True}
    host = {
        "Mounts": [*({"Type": "bind", "Source": f"{base}/{part}", "Target": f"/{part}"} for part in PARTS), hosts],
        "Tmpfs": {"/run": "size=16m,mode=1777", "/var/tmp": "size=64m,mode=1777"},
        "Init": True,
        "NetworkMode": "none",
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "ReadonlyRootfs": True,
        "Memory": 4 << 30,
        "MemorySwap": 4 << 30,
        "NanoCpus": 2 * 10**9,
        "PidsLimit": 4096,
        "ShmSize": 64 << 20,
        "OomScoreAdj": 500,
        "Ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}],
        "IpcMode": "private",
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "64m", "max-file": "8"}},
    }
    return {
        "Image": IMAGE,
        "Cmd": ["sh", "-c", f"echo {name} > {name}.txt"],
        "Env": ["HOME=/tmp", "OPENSAFELY_BACKEND=expectations"],
        "User": "65534:65534",
        "WorkingDir": "/workspace",
        "Healthcheck": {"Test": ["NONE"]},
        "NetworkDisabled": True,
        "Labels": {key: value},
        "HostConfig": host,
    }


def docker_run(base: str, name: str) -> list[str]:
    """The command line that makes a container as jobrunner does: the same limits, mounts and log.

    But for the network: the command knows the mode `none` alone, and nothing that spares the engine its set-up.
    """
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
    print(
        f"{'shape':<16} {'workers':>7} {'raw s':>7} {'API':>6} {'ours':>6} {'CPU ms/job':>11}   (API and ours to raw)"
    )
    for name, shape in shapes.items():
        for workers in (2, 4):
            rounds = [
                (run_raw(shape, workers), run_api(shape, workers), *run_ours(shape, workers))
                for _ in range(options.rounds)
            ]
            raw, api, ours, cpu = (statistics.median(column) for column in zip(*rounds, strict=True))
            print(
                f"{name:<16} {workers:>7} {raw:>7.2f} {api / raw:>6.2f} {ours / raw:>6.2f} {cpu * 1000:>11.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
