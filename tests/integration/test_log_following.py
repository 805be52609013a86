"""`jobs logs`: the log of a job that runs and the stored one are one to the reader."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.runners import PATIENCE, WorkDirectory
from support.studies import action, make_study
from support.terminal import on_terminal

pytestmark = [pytest.mark.slow]

#: Prints numbered lines in bursts until it is let go, and some more right before it ends.
COUNTING = (
    "touch busy out.txt; i=0; n=0; while [ $n -lt 30 ] || [ ! -e go ]; do n=$((n+1)); "
    "m=0; while [ $m -lt 200 ]; do echo out $i; i=$((i+1)); m=$((m+1)); done; sleep 0.02; done; "
    "m=0; while [ $m -lt 1000 ]; do echo out $i; i=$((i+1)); m=$((m+1)); done; printf 'the end'"
)


def stored_path(workdir: WorkDirectory, job_id: str) -> Path:
    [path] = workdir.high.glob(f"logs/*/os-job-{job_id}/logs.txt")
    return path


def one_job(workdir: WorkDirectory, tmp_path: Path, script: str) -> str:
    study = make_study(tmp_path / "study", {"one": action(workdir.command(script), "out.txt")})
    return workdir.add(study, "one")["one"]


def test_reader_who_follows_gets_the_stored_log_byte_for_byte(workdir: WorkDirectory, tmp_path: Path):
    job = one_job(workdir, tmp_path, COUNTING)
    early = workdir.start("jobs", "logs", "-f", "--timestamps", job)
    runner = workdir.start("run", "--until-idle")
    workdir.wait_for_file(job, "busy")
    later = workdir.start("jobs", "logs", "-f", "--timestamps", job)
    for reader in (early, later):
        reader.says("out 500")
    workdir.let_go(job)
    assert runner.ends() == 0
    log = stored_path(workdir, job).read_text()
    for reader in (early, later):
        assert reader.ends() == 0
        said = reader.said()
        assert said[said.index("20") :].partition("\n")[2] == log.partition("\n")[2]
    lines = [line.partition(" ")[2] for line in log.split("\n\n")[0].splitlines()]
    assert lines[-1] == "the end"
    assert lines[:-1] == [f"out {number}" for number in range(len(lines) - 1)]
    assert "\njob_definition_id: " in log
    assert workdir.cli("jobs", "logs", "--timestamps", job).stdout == log


def test_reader_who_begins_near_the_end_gets_each_line_once(workdir: WorkDirectory, tmp_path: Path):
    job = one_job(workdir, tmp_path, COUNTING)
    runner = workdir.start("run", "--until-idle")
    workdir.wait_for_file(job, "busy")
    workdir.start("jobs", "logs", "-f", job).says("out 3000")
    assert len(workdir.cli("jobs", "logs", "--tail", "7", job).stdout.splitlines()) == 7
    reader = workdir.start("jobs", "logs", "-f", "--tail", "5", job)
    reader.says("out ")
    workdir.let_go(job)
    assert runner.ends() == 0
    assert reader.ends() == 0
    lines = reader.said().split("\n\n")[0].splitlines()
    first = int(lines[0].split()[1])
    assert first >= 2990
    assert lines[:-1] == [f"out {number}" for number in range(first, first + len(lines) - 1)]
    assert lines[-1] == "the end"
    printed, summary = workdir.cli("jobs", "logs", "--tail", "3", job).stdout.split("\n\n\n")
    assert printed.splitlines() == [*lines[-3:-1], "the end"]
    assert summary.splitlines()[-2:] == ["outputs:", "  out.txt  - moderately_sensitive"]


def test_reader_who_does_not_read_holds_up_no_job(workdir: WorkDirectory, tmp_path: Path):
    flood = "awk 'BEGIN { for (i = 0; i < 200000; i++) printf \"out %d %01000d\\n\", i, 0 }'"
    job = one_job(workdir, tmp_path, f"touch busy; while [ ! -e go ]; do sleep 0.05; done; {flood}; touch out.txt")
    runner = workdir.start("run", "--until-idle")
    workdir.wait_for_file(job, "busy")
    reader = subprocess.Popen(
        [sys.executable, "-m", "jobrunner_cli", "jobs", "logs", "-f", job],
        env={**os.environ, **workdir.settings},
        stdout=subprocess.PIPE,
    )
    workdir.let_go(job)
    assert runner.ends(120) == 0
    assert workdir.codes() == {"one": "succeeded"}
    said, _ = reader.communicate(timeout=PATIENCE)
    assert reader.returncode == 0
    lines = said.decode().split("\n\n")[0].splitlines()
    numbers = [int(line.split()[1]) for line in lines if line.startswith("out ")]
    assert numbers == sorted(set(numbers))
    assert (numbers[0], numbers[-1]) == (0, 199_999)
    # What the engine had let go of by the time that it was read is named, unless nothing was.
    assert [line for line in lines if "cut out here" in line] or len(numbers) == 200_000
    assert b"\njob_definition_id: " in said


def test_terminal_obeys_nothing_that_a_job_printed(workdir: WorkDirectory, tmp_path: Path):
    script = (
        r"printf '\033]0;owned\007\033[2J\033[31mred\033[0m \302\2332J \342\200\256evil\n10%%\r50%%\r100%%\r\nbad \377 byte\n';"
        " touch out.txt"
    )
    job = one_job(workdir, tmp_path, script)
    workdir.run()
    shown = on_terminal("jobs", "logs", job, columns=80, **workdir.settings)
    first, second, third = shown.splitlines()[:3]
    assert "\x1b" not in shown
    assert "\x9b" not in shown
    assert first == r"\x1b]0;owned\x07\x1b[2Jred \x9b2J \u202eevil"
    assert second == "100%"
    assert third.startswith("bad ")
    assert third.endswith(" byte")
    written = on_terminal("jobs", "logs", job, "--json", columns=80, **workdir.settings)
    assert all(char.isprintable() or char == "\n" for char in written)
    printed = json.loads(written.splitlines()[0])["text"]
    assert printed == "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[0m \x9b2J \u202eevil"
    piped = subprocess.run(
        [sys.executable, "-m", "jobrunner_cli", "jobs", "logs", job],
        env={**os.environ, **workdir.settings},
        capture_output=True,
        check=True,
    ).stdout
    assert piped.startswith(b"\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[0m ")
    assert b"\n10%\r50%\r100%\r\n" in piped
