"""Contract of the executors: events, inspection, use of resources, and adoption by another runner."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

from contract.bench import PATIENCE, Bench, open_gate

from jobrunner_cli.engine.errors import ExecutorUnavailableError
from jobrunner_cli.engine.executors.protocol import EventStream
from jobrunner_cli.engine.work import ContainerState

ROOT = Path(__file__).parents[2]

#: A runner that creates and starts a job, says so, and waits to be killed.
RUNNER = """
import pickle, sys
from contract.bench import build
kind, options, spec = pickle.load(sys.stdin.buffer)
executor = build(kind, options)
events = executor.events(spec.owner)
executor.create(spec)
executor.start(spec.job_id)
print("started", flush=True)
while True:
    events.wait(60)
"""


def until_exited(bench: Bench, job_id: str, stream: EventStream) -> None:
    """Follow the hints of a stream until the list shows the exit."""
    deadline = time.monotonic() + PATIENCE
    while bench.state(job_id) is not ContainerState.EXITED:
        hinted = stream.wait(deadline - time.monotonic())
        assert hinted, "no hint, and not exited"


def test_exit_wakes_a_waiting_stream_and_the_list_shows_it(bench: Bench) -> None:
    spec = bench.shell("read x < gate")
    gate = bench.gate(spec)
    with closing(bench.executor.events(bench.owner)) as stream:
        bench.launch(spec)
        while stream.wait(0.2):
            pass
        assert bench.state(spec.job_id) is ContainerState.RUNNING
        open_gate(gate)
        until_exited(bench, spec.job_id, stream)


def test_stream_opened_while_it_runs_is_woken_by_its_exit(bench: Bench) -> None:
    spec = bench.shell("read x < gate")
    gate = bench.gate(spec)
    bench.launch(spec)
    with closing(bench.fresh().events(bench.owner)) as stream:
        open_gate(gate)
        until_exited(bench, spec.job_id, stream)


def test_exit_before_the_wait_is_not_missed(bench: Bench) -> None:
    spec = bench.shell("exit 0")
    with closing(bench.executor.events(bench.owner)) as stream:
        bench.run(spec)

        assert stream.wait(PATIENCE)


def test_what_a_hint_names_has_exited_and_one_that_names_not_all_says_so(bench: Bench) -> None:
    with closing(bench.executor.events(bench.owner)) as stream:
        before = time.monotonic()
        ended = {bench.launch(bench.shell("exit 0")) for _ in range(3)}
        named: set[str] = set()
        tells_all = True
        while tells_all and named != ended:
            hint = stream.wait(PATIENCE)
            assert hint is not None, f"no word of {ended - named}"
            tells_all = hint.is_all
            assert all(before < at < time.monotonic() for at in hint.ended.values())
            for job_id in hint.ended:
                detail = bench.executor.inspect(job_id)
                assert detail is not None
                assert detail.state is ContainerState.EXITED
            named |= hint.ended.keys()
        assert named <= ended


def test_each_stream_is_woken(bench: Bench) -> None:
    spec = bench.shell("read x < gate")
    gate = bench.gate(spec)
    with closing(bench.executor.events(bench.owner)) as one, closing(bench.executor.events(bench.owner)) as two:
        bench.launch(spec)
        open_gate(gate)
        until_exited(bench, spec.job_id, one)
        assert two.wait(PATIENCE)


def test_wait_without_news_returns_nothing_in_time(bench: Bench) -> None:
    with closing(bench.executor.events(bench.owner)) as stream:
        assert stream.wait(0.05) is None
        assert stream.wait(0) is None


def test_closing_from_another_thread_ends_a_wait(bench: Bench) -> None:
    stream = bench.executor.events(bench.owner)
    ended = threading.Event()

    def wait() -> None:
        try:
            while stream.wait(PATIENCE * 2):
                pass
        except ExecutorUnavailableError:
            pass
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    stream.close()

    assert ended.wait(PATIENCE)
    stream.close()


def test_inspect_tells_times_image_and_a_description(bench: Bench) -> None:
    before = time.time()
    spec = bench.shell("exit 3")
    detail = bench.run(spec)

    assert detail.job_id == spec.job_id
    assert detail.image_id
    assert detail.started_at is not None
    assert detail.finished_at is not None
    # An engine's clocks are its own: a quick container may end before it started.
    assert before - 1 <= detail.started_at <= time.time() + 1
    assert detail.started_at - 0.1 <= detail.finished_at <= time.time() + 1
    assert detail.metadata
    again = bench.fresh().inspect(spec.job_id)
    assert again is not None
    assert (again.exit_code, again.image_id) == (3, detail.image_id)


def test_stats_tell_cpu_and_memory_of_what_runs(bench: Bench) -> None:
    running, exited = bench.shell("echo ready; read x < gate"), bench.shell("exit 0")
    gate = bench.gate(running)
    bench.launch(running)
    bench.printed(running.job_id, b"ready")
    bench.run(exited)
    stats = bench.executor.stats(iter([running.job_id, exited.job_id, "absentabsentabse"]))

    assert set(stats) == {running.job_id}
    cpu, memory, container_id = stats[running.job_id]
    assert container_id
    assert cpu >= 0
    assert 0 < memory < 256
    open_gate(gate)


def test_check_describes_the_engine_in_a_line(bench: Bench) -> None:
    line = bench.executor.check()

    assert line
    assert "\n" not in line
    assert bench.executor.name == ("process" if bench.kind == "process" else "docker")


def test_images_are_sorted_by_name(bench: Bench) -> None:
    names = [image.name for image in bench.executor.images()]

    assert names
    assert names == sorted(names)


def test_job_of_a_killed_runner_is_adopted_with_its_exit(bench: Bench) -> None:
    spec = bench.shell("echo ran >> ran; echo one; read x < gate; echo two; exit 6")
    gate = bench.gate(spec)
    runner = subprocess.Popen(
        [sys.executable, "-c", RUNNER],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert runner.stdin is not None
    assert runner.stdout is not None
    with runner.stdin as stdin:
        pickle.dump((bench.kind, bench.options, spec), stdin)
    assert runner.stdout.readline() == b"started\n"
    runner.kill()
    runner.wait(PATIENCE)
    runner.stdout.close()

    adopter = bench.fresh()
    assert adopter.list(bench.owner) == {spec.job_id: ContainerState.RUNNING}
    adopter.start(spec.job_id)
    with closing(adopter.events(bench.owner)) as stream:
        open_gate(gate)
        until_exited(bench, spec.job_id, stream)
    detail = adopter.inspect(spec.job_id)

    assert detail is not None
    assert detail.exit_code == 6
    assert [line.split(b" ", 1)[1] for line in adopter.logs(spec.job_id)] == [b"one", b"two"]
    assert (Path(spec.work_dir) / "ran").read_text() == "ran\n"
