"""Contract of the executors: how a running container is ended."""

from __future__ import annotations

import threading
from pathlib import Path

from contract.bench import PATIENCE, Bench

from jobrunner_cli.engine.work import ContainerState


def test_stop_lets_the_command_end_itself(bench: Bench) -> None:
    spec = bench.shell("trap 'echo saved > saved; exit 7' TERM; echo ready; sleep 600 & wait")
    bench.launch(spec)
    bench.printed(spec.job_id, b"ready")
    bench.executor.stop(spec.job_id, grace=PATIENCE)

    assert bench.state(spec.job_id) is ContainerState.EXITED
    detail = bench.executor.inspect(spec.job_id)
    assert detail is not None
    assert detail.exit_code == 7
    assert (Path(spec.work_dir) / "saved").read_text() == "saved\n"


def test_stop_ends_a_command_without_a_handler_with_143(bench: Bench) -> None:
    spec = bench.spec("sleep", "600")
    bench.launch(spec)
    bench.executor.stop(spec.job_id, grace=PATIENCE)

    detail = bench.executor.inspect(spec.job_id)
    assert detail is not None
    assert (detail.state, detail.exit_code) == (ContainerState.EXITED, 143)


def test_stop_kills_what_does_not_end_in_time(bench: Bench) -> None:
    spec = bench.shell("trap '' TERM; echo ready; while :; do sleep 600; done")
    bench.launch(spec)
    bench.printed(spec.job_id, b"ready")
    bench.executor.stop(spec.job_id, grace=0.5)

    detail = bench.executor.inspect(spec.job_id)
    assert detail is not None
    assert (detail.state, detail.exit_code) == (ContainerState.EXITED, 137)
    assert not detail.out_of_memory


def test_stop_of_an_exited_one_changes_nothing(bench: Bench) -> None:
    spec = bench.shell("exit 4")
    before = bench.run(spec)
    bench.executor.stop(spec.job_id, grace=1)
    bench.executor.stop(spec.job_id, grace=0)

    after = bench.executor.inspect(spec.job_id)
    assert after is not None
    assert (after.state, after.exit_code) == (before.state, 4)


def test_stop_of_a_created_one_does_not_run_it(bench: Bench) -> None:
    spec = bench.shell("echo ran > ran")
    bench.executor.create(spec)
    bench.executor.stop(spec.job_id, grace=1)

    assert bench.state(spec.job_id) is ContainerState.CREATED
    assert not (Path(spec.work_dir) / "ran").exists()


def test_two_stops_at_once_both_return_when_it_has_ended(bench: Bench) -> None:
    spec = bench.shell("trap '' TERM; echo ready; while :; do sleep 600; done")
    bench.launch(spec)
    bench.printed(spec.job_id, b"ready")
    states: list[ContainerState | None] = []

    def stop() -> None:
        bench.executor.stop(spec.job_id, grace=0.5)
        states.append(bench.state(spec.job_id))

    threads = [threading.Thread(target=stop) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert states == [ContainerState.EXITED, ContainerState.EXITED]


def test_what_the_command_left_in_the_background_ends_with_it(bench: Bench) -> None:
    """A process that outlives its job would write into a directory that is being published."""
    spec = bench.shell("(trap '' TERM HUP; sleep 600) & echo left behind; exit 0")
    detail = bench.run(spec)

    assert detail.exit_code == 0
    assert [line.split(b" ", 1)[1] for line in bench.executor.logs(spec.job_id)] == [b"left behind"]
