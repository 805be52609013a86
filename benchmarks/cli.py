"""The CPU that short commands cost, beside `python -c pass` in the same run.

    python benchmarks/cli.py [--rounds 15]

`jobrunner --help`, and, with a database of 100,000 finished jobs, `jobrunner jobs ls` and the answers to a Tab for a
command, a job, a workspace, an action of a study and an image. Medians of interleaved rounds.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

JOBS = 100_000


def make_database(path: Path) -> None:
    """A database with many finished jobs."""
    from jobrunner_cli.engine.states import State, StatusCode
    from jobrunner_cli.engine.store.database import Database
    from jobrunner_cli.engine.store.mapper import insert
    from jobrunner_cli.engine.store.migrating import migrate
    from jobrunner_cli.engine.store.models import Job

    migrate(path)
    with Database(path) as database, database.transaction() as conn:
        for number in range(JOBS):
            insert(
                conn,
                Job(
                    id=f"{number:016}",
                    job_request_id=f"r{number // 10}",
                    state=State.SUCCEEDED,
                    status_code=StatusCode.SUCCEEDED,
                    status_message="Completed successfully",
                    repo_url="https://example.org/study",
                    commit="0" * 40,
                    workspace=f"w{number % 100}",
                    action=f"a{number % 10}",
                    run_command="python:v2 python x.py",
                    created_at=1_700_000_000 + number,
                    updated_at=1_700_000_100 + number,
                    started_at=1_700_000_010 + number,
                    completed_at=1_700_000_100 + number,
                    status_code_updated_at=(1_700_000_100 + number) * 10**9,
                ),
            )


def make_study(path: Path) -> Path:
    """The repository of a small study."""
    actions = "".join(f"  a{number}:\n    run: python:v2 python x.py\n" for number in range(20))
    path.mkdir()
    (path / "project.yaml").write_text(f"version: '4'\nactions:\n{actions}")
    who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    for words in (("init", "-q", "-b", "main"), ("add", "."), (*who, "commit", "-q", "-m", "A study")):
        subprocess.run(["git", *words], cwd=path, check=True)
    return path


def cpu_of(command: list[str], environment: dict[str, str]) -> float:
    """User and system seconds of one run of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Run the commands in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as base:
        environment = {**os.environ, "WORKDIR": base}
        make_database(Path(base) / "db.sqlite")
        study = make_study(Path(base) / "study")
        jobrunner = str(Path(sys.executable).with_name("jobrunner"))
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "jobrunner --help": [jobrunner, "--help"],
            f"jobs ls of {JOBS}": [jobrunner, "jobs", "ls"],
            "Tab: command": [jobrunner, "__complete", "zsh", "jobs", ""],
            "Tab: job": [jobrunner, "__complete", "zsh", "jobs", "show", ""],
            "Tab: workspace": [jobrunner, "__complete", "zsh", "workspaces", "show", ""],
            "Tab: action": [jobrunner, "__complete", "zsh", "add-job", str(study), ""],
            "Tab: image": [jobrunner, "__complete", "zsh", "images", "pull", ""],
        }
        figures: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                figures[name].append(cpu_of(command, environment))
    baseline = statistics.median(figures["python -c pass"])
    print(f"{'command':<22} {'CPU ms':>7} {'ratio':>6}")
    for name, values in figures.items():
        median = statistics.median(values)
        print(f"{name:<22} {median * 1000:>7.1f} {median / baseline:>6.1f}")


if __name__ == "__main__":
    main()
