"""Jobs that print far more than an engine keeps: both ends of the log are stored, and nobody else is troubled."""

from __future__ import annotations

import re
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from jobrunner_cli.engine.loglines import HEAD_BYTES
from support.disks import fill
from support.jobfiles import small_disk
from support.runners import WorkDirectory, engine_client, until
from support.studies import action, make_study

pytestmark = [pytest.mark.slow]

#: Prints numbered lines, then far more than an engine keeps (a NUL takes six bytes there), until it is let go, then
#: numbered lines again.
FLOOD = (
    "i=0; while [ $i -lt 500 ]; do echo first $i; i=$((i+1)); done; "
    "head -c 150000000 /dev/zero; while [ ! -e go ]; do head -c 10000000 /dev/zero; done; echo; "
    "i=0; while [ $i -lt 500 ]; do echo last $i; i=$((i+1)); done; touch out.txt"
)
NOTICE = re.compile(r"\[(more than )?[\d,]+ lines? \((more than )?[\d,]+ bytes\) of this log were cut out here\]")
#: What the engine keeps of a log, and what else may be there for a moment.
MOST_KEPT = (512 + 64) * 2**20
MOST_IN_CONTROL = 64 * 2**20


def stored(workdir: WorkDirectory, job_id: str) -> list[str]:
    [path] = workdir.high.glob(f"logs/*/os-job-{job_id}/logs.txt")
    return path.read_text(errors="replace").split("\n")


def texts(lines: list[str]) -> list[str]:
    """What the job printed, without times."""
    return [line.partition(" ")[2] for line in lines[: lines.index("")] if line[:1].isdigit()]


def check_both_ends(lines: list[str]) -> str:
    """The first and the last lines are all there, once, and one notice is between them; the notice."""
    printed = texts(lines)
    assert [line for line in printed if line.startswith("first ")] == [f"first {i}" for i in range(500)]
    assert [line for line in printed if line.startswith("last ")] == [f"last {i}" for i in range(500)]
    assert printed[0] == "first 0"
    assert printed[-1] == "last 499"
    [notice] = [line for line in lines[: lines.index("")] if line.startswith("[")]
    return notice


def engine_logs(workdir: WorkDirectory, job_id: str) -> list[Path]:
    """The directory in which the engine keeps the log of a job."""
    if workdir.executor == "process":
        return []
    with closing(engine_client()) as client:
        return [Path(client.inspect_container(f"os-job-{job_id}")["LogPath"]).parent]


class DiskUse(threading.Thread):
    """The most bytes that the engine's logs and the control directories of a work directory took, looked at often."""

    def __init__(self, workdir: WorkDirectory, log_files: list[Path]) -> None:
        super().__init__(daemon=True)
        self._workdir = workdir
        self.directories = log_files
        self.control = self.engine = 0
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.1):
            self.control = max(self.control, size_of(list(self._workdir.volumes.glob("os-job-*/control"))))
            self.engine = max(self.engine, size_of(self.directories))


def size_of(directories: list[Path]) -> int:
    total = 0
    for directory in directories:
        for path in directory.glob("*"):
            try:
                total += path.stat().st_blocks * 512
            except OSError:
                continue
    return total


def test_flood_at_once_keeps_both_ends_fills_no_disk_and_delays_nobody(workdir: WorkDirectory, tmp_path: Path):
    study = make_study(
        tmp_path / "study",
        {"flood": action(workdir.command(FLOOD), "out.txt"),
         "other": action(workdir.command("echo me too; echo 1 > other.txt"), "other.txt")},
    )  # fmt: skip
    jobs = workdir.add(study, "flood")
    runner = workdir.start("run")
    workdir.wait_for(jobs["flood"], "executing", "executed", "finalizing")
    use = DiskUse(workdir, engine_logs(workdir, jobs["flood"]))
    use.start()
    jobs |= workdir.add(study, "other")
    workdir.wait_until_ended([jobs["other"]])
    assert workdir.codes()["flood"] == "executing"
    workdir.let_go(jobs["flood"])
    workdir.wait_until_ended([jobs["flood"]], seconds=120)
    use.over.set()
    use.join()
    runner.process.terminate()
    assert runner.ends() == 0

    assert workdir.codes() == {"flood": "succeeded", "other": "succeeded"}
    assert NOTICE.fullmatch(check_both_ends(stored(workdir, jobs["flood"])))
    assert size_of([next(workdir.high.glob(f"logs/*/os-job-{jobs['flood']}"))]) < 10 * 2**20
    assert use.engine < MOST_KEPT
    assert use.control < MOST_IN_CONTROL


#: The same in steps, for each of which there is a file to wait for.
STEPS = (
    "touch busy out.txt; i=0; while [ $i -lt 250 ]; do echo first $i; i=$((i+1)); done; sleep 2; echo begun; "
    "while [ ! -e more ]; do sleep 0.05; done; "
    "while [ $i -lt 500 ]; do echo first $i; i=$((i+1)); done; "
    "yes filled | head -c 2000000; while [ ! -e flood ]; do sleep 0.05; done; "
    "head -c 150000000 /dev/zero; echo; "
    "i=0; while [ $i -lt 500 ]; do echo last $i; i=$((i+1)); done; touch flooded"
)


def head_size(workdir: WorkDirectory, job_id: str) -> int:
    path = workdir.volumes / f"os-job-{job_id}" / "control" / "log.head"
    return path.stat().st_size if path.exists() else 0


@pytest.mark.engine
@pytest.mark.parametrize("killed_when", ["all_was_kept", "some_was_kept", "nothing_was_kept"])
def test_beginning_is_kept_across_a_killed_runner(make_workdir: Any, killed_when: str, tmp_path: Path):
    workdir = make_workdir("docker")
    study = make_study(tmp_path / "study", {"flood": action(workdir.command(STEPS), "out.txt")})
    job = workdir.add(study, "flood")["flood"]
    files = workdir.working_copy(job)
    runner = workdir.start("run", "--until-idle")
    workdir.wait_for_file(job, "busy")
    workdir.wait_for(job, "executing")
    if killed_when == "some_was_kept":
        until(lambda: head_size(workdir, job), "some lines")
        assert head_size(workdir, job) < HEAD_BYTES
    elif killed_when == "all_was_kept":
        (files / "more").touch()
        until(lambda: head_size(workdir, job) >= HEAD_BYTES, "the whole beginning")
    runner.kill()
    if killed_when != "all_was_kept":
        runner = workdir.start("run", "--until-idle")
        (files / "more").touch()
        until(lambda: head_size(workdir, job) >= HEAD_BYTES, "the whole beginning")
    (files / "flood").touch()
    if killed_when == "all_was_kept":
        # All that the engine has by the time that there is a runner again is far from the beginning.
        until((files / "flooded").exists, "the end of the flood")
        runner = workdir.start("run", "--until-idle")
    assert runner.ends(120) == 0
    assert workdir.codes() == {"flood": "succeeded"}
    check_both_ends(stored(workdir, job))
    assert workdir.starts() == {job: 1}
    assert workdir.leftovers() == []


@pytest.mark.engine
def test_full_disk_loses_the_beginning_at_most_and_the_log_says_so(make_workdir: Any, tmp_path: Path):
    with small_disk(tmp_path, 16) as disk:
        workdir = make_workdir("docker", {"HIGH_PRIVACY_VOLUME_DIR": str(disk / "volumes")})
        script = STEPS.replace("touch flooded", "true")
        study = make_study(tmp_path / "study", {"flood": action(workdir.command(script), "out.txt")})
        job = workdir.add(study, "flood")["flood"]
        runner = workdir.start("run", "--until-idle")
        workdir.wait_for_file(job, "busy")
        workdir.wait_for(job, "executing")
        fill(disk / "filling")
        for step in ("more", "flood"):
            (workdir.working_copy(job) / step).touch()
        runner.says("cannot be kept now: the disk was full")
        workdir.wait_for(job, "finalizing", seconds=120)
        (disk / "filling").unlink()
        assert runner.ends(120) == 0
        lines = stored(workdir, job)

    assert workdir.codes() == {"flood": "succeeded"}
    assert texts(lines)[-500:] == [f"last {i}" for i in range(500)]
    [notice] = [line for line in lines[: lines.index("")] if line.startswith("[")]
    assert notice.endswith("of this log were cut out here; its beginning could not be kept: the disk was full]")


def test_secret_on_any_border_is_masked(workdir: WorkDirectory, tmp_path: Path):
    secret = "Aq3xZ7-Lw9_Ty2:Rk5!"
    workdir.settings["PRIVATE_REPO_ACCESS_TOKEN"] = secret
    script = (
        f"yes '{secret}' | tr -d '\\n' | head -c 76000000; touch busy out.txt; while [ ! -e go ]; do sleep 0.05; done"
    )
    study = make_study(tmp_path / "study", {"leak": action(workdir.command(script), "out.txt")})
    job = workdir.add(study, "leak")["leak"]
    runner = workdir.start("run", "--until-idle")
    workdir.wait_for_file(job, "busy")
    shown = workdir.cli("jobs", "logs", job).stdout
    last = workdir.cli("jobs", "logs", "--tail", "20", job).stdout
    workdir.let_go(job)
    assert runner.ends(120) == 0
    kept = "\n".join(stored(workdir, job))

    assert "cut out here" in kept
    parts = {secret[at : at + 6] for at in range(len(secret) - 5)}
    for text in (shown, last, kept):
        assert text.count("xxxx-REDACTED-xxxx") > 1000
        assert not [part for part in parts if part in text]
