"""Contract of the executors: a container is created, started once, ends with its command's exit code, is removed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from contract.bench import Bench, open_gate

from jobrunner_cli.engine.errors import ExecutorError, ImageMissingError
from jobrunner_cli.engine.work import ContainerState


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 3", 3), ("kill -KILL $$", 137), ("kill -TERM $$", 143)],
)
def test_exit_code_is_the_commands_and_128_plus_the_signal(bench: Bench, script: str, code: int) -> None:
    detail = bench.run(bench.shell(script))

    assert detail.state is ContainerState.EXITED
    assert detail.exit_code == code
    assert not detail.out_of_memory


def test_created_is_listed_and_has_not_run(bench: Bench) -> None:
    spec = bench.shell("echo ran > ran")
    bench.executor.create(spec)

    assert bench.state(spec.job_id) is ContainerState.CREATED
    detail = bench.executor.inspect(spec.job_id)
    assert detail is not None
    assert detail.state is ContainerState.CREATED
    assert (detail.exit_code, detail.started_at, detail.finished_at) == (None, None, None)
    assert not (Path(spec.work_dir) / "ran").exists()


def test_running_is_listed_and_has_no_exit_code(bench: Bench) -> None:
    spec = bench.shell("read x < gate")
    gate = bench.gate(spec)
    bench.launch(spec)

    assert bench.state(spec.job_id) is ContainerState.RUNNING
    detail = bench.executor.inspect(spec.job_id)
    assert detail is not None
    assert detail.state is ContainerState.RUNNING
    assert detail.exit_code is None
    assert detail.started_at is not None
    assert detail.finished_at is None

    open_gate(gate)
    assert bench.exited(spec.job_id).exit_code == 0


def test_create_again_with_the_same_spec_keeps_it(bench: Bench) -> None:
    spec = bench.shell("echo ran >> ran")
    bench.executor.create(spec)
    bench.fresh().create(spec)
    bench.executor.start(spec.job_id)

    assert bench.exited(spec.job_id).exit_code == 0
    assert (Path(spec.work_dir) / "ran").read_text() == "ran\n"


@pytest.mark.parametrize("changed", ["args", "env"])
def test_create_again_with_another_spec_replaces_it(bench: Bench, changed: str) -> None:
    spec = bench.shell("echo ${WORD:-old}; exit ${CODE:-1}", env={"WORD": "old"})
    bench.executor.create(spec)
    news = {"args": ("sh", "-c", "echo new"), "env": {"WORD": "new", "CODE": "0"}}
    bench.executor.create(replace(spec, **{changed: news[changed]}))

    assert bench.state(spec.job_id) is ContainerState.CREATED
    bench.executor.start(spec.job_id)
    assert bench.exited(spec.job_id).exit_code == 0
    assert [line.split(b" ", 1)[1] for line in bench.executor.logs(spec.job_id)] == [b"new"]


def test_create_again_after_it_has_run_makes_it_anew(bench: Bench) -> None:
    spec = bench.shell("echo ran >> ran; echo out")
    bench.run(spec)
    bench.executor.create(spec)

    assert bench.state(spec.job_id) is ContainerState.CREATED
    assert list(bench.executor.logs(spec.job_id)) == []
    bench.executor.start(spec.job_id)
    bench.exited(spec.job_id)
    # A working copy of the executor's own is made anew with the container.
    before = "ran\n" if bench.executor.transfer is None else ""
    assert (Path(spec.work_dir) / "ran").read_text() == f"{before}ran\n"


def test_create_again_while_it_runs_ends_it_first(bench: Bench) -> None:
    spec = bench.shell("echo ran >> ran; read x < gate")
    bench.gate(spec)
    bench.launch(spec)
    bench.executor.create(spec)

    assert bench.state(spec.job_id) is ContainerState.CREATED


def test_start_twice_runs_the_command_once(bench: Bench) -> None:
    spec = bench.shell("echo ran >> ran; read x < gate")
    gate = bench.gate(spec)
    bench.launch(spec)
    bench.executor.start(spec.job_id)
    bench.fresh().start(spec.job_id)

    open_gate(gate)
    assert bench.exited(spec.job_id).exit_code == 0
    assert (Path(spec.work_dir) / "ran").read_text() == "ran\n"


def test_start_of_an_exited_one_does_not_run_it_again(bench: Bench) -> None:
    spec = bench.shell("echo ran >> ran; exit 5")
    bench.run(spec)
    bench.executor.start(spec.job_id)
    bench.fresh().start(spec.job_id)

    assert bench.exited(spec.job_id).exit_code == 5
    assert (Path(spec.work_dir) / "ran").read_text() == "ran\n"


def test_start_of_an_absent_one_is_refused(bench: Bench) -> None:
    with pytest.raises(ExecutorError):
        bench.executor.start("absentabsentabse")


def test_missing_image_is_named_with_a_hint_and_nothing_is_created(bench: Bench) -> None:
    spec = bench.spec("analysis.do", image=bench.missing_image)

    with pytest.raises(ImageMissingError) as caught:
        bench.executor.create(spec)

    assert bench.missing_image in caught.value.message
    assert caught.value.hint
    assert bench.state(spec.job_id) is None


def test_missing_command_ends_with_127_and_the_log_names_it(bench: Bench) -> None:
    """As under an init process and in a shell: the action is at fault, so it fails like an action, with a log."""
    spec = bench.spec("no-such-command", "--flag")
    detail = bench.run(spec)

    assert detail.exit_code == 127
    assert b"no-such-command" in b"\n".join(bench.executor.logs(spec.job_id))


def test_command_that_may_not_be_executed_ends_with_126(bench: Bench) -> None:
    spec = bench.spec("./script")
    (Path(spec.work_dir) / "script").write_text("#!/bin/sh\n")

    assert bench.run(spec).exit_code == 126


def test_removed_one_is_gone(bench: Bench) -> None:
    spec = bench.shell("echo out")
    bench.run(spec)
    bench.executor.remove(spec.job_id)

    assert bench.state(spec.job_id) is None
    assert bench.executor.inspect(spec.job_id) is None
    assert list(bench.executor.logs(spec.job_id)) == []


def test_remove_ends_one_that_runs(bench: Bench) -> None:
    spec = bench.shell("trap '' TERM; echo ready; while :; do sleep 1; echo late > late; done")
    bench.launch(spec)
    bench.printed(spec.job_id, b"ready")
    bench.executor.remove(spec.job_id)

    assert bench.state(spec.job_id) is None
    assert bench.executor.inspect(spec.job_id) is None


def test_verbs_on_an_absent_one_do_nothing(bench: Bench) -> None:
    absent = "absentabsentabse"

    bench.executor.stop(absent, grace=1)
    bench.executor.remove(absent)

    assert bench.executor.inspect(absent) is None
    assert list(bench.executor.logs(absent)) == []
    assert list(bench.executor.logs(absent, follow=True)) == []
    assert bench.executor.stats(iter([absent])) == {}


def test_list_shows_each_state_and_only_this_owners(bench: Bench) -> None:
    created, running, exited = bench.shell("exit 0"), bench.shell("read x < gate"), bench.shell("exit 1")
    foreign = bench.shell("exit 0", owner="somebody-else")
    bench.gate(running)
    bench.executor.create(created)
    bench.executor.create(foreign)
    bench.launch(running)
    bench.run(exited)

    assert bench.executor.list(bench.owner) == {
        created.job_id: ContainerState.CREATED,
        running.job_id: ContainerState.RUNNING,
        exited.job_id: ContainerState.EXITED,
    }
    assert bench.executor.list("somebody-else") == {foreign.job_id: ContainerState.CREATED}
    assert bench.executor.list("nobody") == {}
