"""Traces: what a real runner sends to a real receiver, and what it does without one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from support.otlp_receiver import Receiver, receiving
from support.places import MakeWorkDirectory
from support.runners import PATIENCE, WorkDirectory
from support.studies import action, make_study

pytestmark = [pytest.mark.slow]

#: What every span of a job tells, but for what it does not know yet.
ALWAYS = {
    "backend", "job", "job_request", "workspace", "action", "commit", "run_command", "user", "state", "message",
    "created_at", "status_code_updated_at", "requires_db", "reusable_action",
}  # fmt: skip


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def traced(make_workdir: MakeWorkDirectory, executor: str, endpoint: str, **more: str) -> WorkDirectory:
    return make_workdir(executor, {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "50", **more})


def test_a_job_is_one_trace_with_a_span_for_each_state_that_it_left(
    make_workdir: MakeWorkDirectory, executor: str, receiver: Receiver, tmp_path: Path
):
    workdir = traced(make_workdir, executor, receiver.address, OTEL_EXPORTER_OTLP_HEADERS="x-team=abc")
    study = make_study(
        tmp_path / "study",
        {"first": action(workdir.command("echo a > a.txt"), "a.txt"),
         "second": action(workdir.command("echo b > b.txt; exit 4"), "b.txt", "c.txt", needs=["first"])},
    )  # fmt: skip
    jobs = workdir.add(study, "run_all")
    workdir.run(code=1)
    assert set(receiver.paths) == {"/v1/traces"}
    assert {headers["x-team"] for headers in receiver.headers} == {"abc"}
    for job in jobs.values():
        spans = receiver.of_job(job)
        ((carried,),) = workdir.ask("SELECT trace_context FROM job WHERE id = ?", job)
        _, trace, span, _ = json.loads(carried)["traceparent"].split("-")
        assert {each.trace for each in spans} == {trace}
        (root,) = (each for each in spans if each.name == "JOB")
        assert (root.id, root.parent) == (span, "")
        states = [each for each in spans if each.name != "JOB"]
        assert {each.parent for each in states} == {span}
        assert [each.name for each in states] == [code.upper() for code in workdir.history(job)[:-1]]
        assert all(before.end == after.start for before, after in pairwise(states))
        assert root.end == states[-1].end
        assert all(each.attributes.keys() >= ALWAYS for each in spans)
        assert {each.attributes["workspace"] for each in spans} == {"test"}
        assert {each.resource["service.name"] for each in spans} == {"jobrunner"}
        assert {each.resource["service.namespace"] for each in spans} == {"expectations"}
    ended = {job: next(each for each in receiver.of_job(job) if each.name == "JOB") for job in jobs.values()}
    good, bad = ended[jobs["first"]], ended[jobs["second"]]
    assert (good.failed, bad.failed) == (False, True)
    assert (good.attributes["exit_code"], bad.attributes["exit_code"]) == (0, 4)
    assert (good.attributes["outputs"], bad.attributes["outputs"]) == (1, 1)
    assert bad.attributes["unmatched_patterns"] == 1
    assert (good.attributes["state"], bad.attributes["state"]) == ("succeeded", "failed")
    assert good.attributes["image_id"] == workdir.show(jobs["first"])["image_id"]
    looks = {span.id for span in receiver.spans if span.name == "LOOP"}
    moved = [span for span in receiver.spans if span.name == "LOOP_JOB"]
    assert moved
    assert {span.parent for span in moved} <= looks
    assert {link for span in moved for link in span.links} == {good.trace, bad.trace}


def test_a_job_keeps_its_trace_when_the_runner_is_killed(
    make_workdir: MakeWorkDirectory, receiver: Receiver, tmp_path: Path
):
    workdir = traced(make_workdir, "process", receiver.address)
    work = "touch busy; while [ ! -e go ]; do sleep 0.05; done; echo a > a.txt"
    (job,) = workdir.add(make_study(tmp_path / "study", {"a": action(workdir.command(work), "a.txt")}), "a").values()
    runner = workdir.start("run")
    workdir.wait_for_file(job, "busy")
    workdir.wait_for(job, "executing")
    runner.kill()
    workdir.let_go(job)
    workdir.run()
    spans = receiver.of_job(job)
    assert len({span.trace for span in spans}) == 1
    assert {"EXECUTING", "JOB"} <= {span.name for span in spans}


@pytest.mark.parametrize("trouble", ["silent", "absent"])
def test_a_receiver_in_trouble_delays_no_job_and_is_told_in_the_log(
    make_workdir: MakeWorkDirectory, tmp_path: Path, trouble: str
):
    with receiving(answers=False) as receiver:
        endpoint = receiver.address if trouble == "silent" else "http://127.0.0.1:9"
        workdir = traced(make_workdir, "process", endpoint, OTEL_EXPORTER_OTLP_TIMEOUT="1", TRACE_LOG_LEVEL="WARNING")
        actions = {f"a{n}": action(workdir.command(f"echo {n} > {n}.txt"), f"{n}.txt") for n in range(3)}
        workdir.add(make_study(tmp_path / "study", actions), "run_all")
        runner = workdir.start("run", "--until-idle")
        assert runner.ends(20) == 0
    assert set(workdir.codes().values()) == {"succeeded"}
    assert "Traceback" not in runner.said()
    assert any("export" in line for line in runner.said().splitlines()), runner.said()


def test_spans_can_be_shown_on_the_console(make_workdir: MakeWorkDirectory, tmp_path: Path):
    workdir = make_workdir("process", {"OTEL_EXPORTER_CONSOLE": "true"})
    workdir.add(make_study(tmp_path / "study", {"a": action(workdir.command("echo a > a.txt"), "a.txt")}), "a")
    done = workdir.run()
    shown = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert "JOB" in {span["name"] for span in shown}
    assert "traceparent" not in done.stdout


def test_variables_of_a_believed_dotenv_count(make_workdir: MakeWorkDirectory, receiver: Receiver, tmp_path: Path):
    workdir = make_workdir("process")
    workdir.add(make_study(tmp_path / "study", {"a": action(workdir.command("echo a > a.txt"), "a.txt")}), "a")
    (workdir.base / "elsewhere/.env").write_text(f"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT={receiver.address}/v1/traces\n")
    workdir.run()
    assert "JOB" in {span.name for span in receiver.spans}


def test_nothing_of_opentelemetry_is_imported_and_no_trace_is_stored_without_it(
    make_workdir: MakeWorkDirectory, tmp_path: Path
):
    workdir = make_workdir("process")
    (job,) = workdir.add(
        make_study(tmp_path / "study", {"a": action(workdir.command("echo a > a.txt"), "a.txt")}), "a"
    ).values()
    script = """
import sys
from jobrunner_cli.cli import main
sys.argv = ["jobrunner", "run", "--until-idle"]
try:
    main()
finally:
    print([name for name in sys.modules if name.startswith(("opentelemetry", "google"))])
"""
    environment = {**os.environ, **workdir.settings}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert workdir.ask("SELECT trace_context FROM job WHERE id = ?", job) == [(None,)]
