"""What the Docker executor tells of containers: followed logs, use of resources, hints."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest
from contract.bench import PATIENCE, Bench, open_gate

from jobrunner_cli.engine.work import ContainerState

pytestmark = pytest.mark.engine


def test_follow_has_what_was_printed_last(bench: Bench) -> None:
    """An engine that follows a log often ends its answer without what was printed as the container ended."""
    for number in range(6):
        spec = bench.shell(f"echo one; echo err >&2; echo two; printf three-{number}; exit 3")
        bench.launch(spec)
        followed = list(bench.executor.logs(spec.job_id, follow=True))
        assert followed == list(bench.executor.logs(spec.job_id))
        assert followed[-1].endswith(f" three-{number}".encode())


def test_follow_of_both_streams_is_the_log(bench: Bench) -> None:
    spec = bench.shell("i=0; while [ $i -lt 3000 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done; printf end")
    bench.launch(spec)
    followed = list(bench.executor.logs(spec.job_id, follow=True))

    assert len(followed) == 6001
    assert followed == list(bench.executor.logs(spec.job_id))


def test_follow_from_the_middle_of_a_long_line_repeats_nothing(bench: Bench) -> None:
    """The pieces of a long line bear the same time; those above the cut were not seen."""
    spec = bench.shell("head -c 300000 /dev/zero | tr '\\0' x; echo; echo last; read x < gate; echo end")
    gate = bench.gate(spec)
    bench.launch(spec)
    bench.printed(spec.job_id, b"last")
    followed = bench.executor.logs(spec.job_id, follow=True, tail=3)
    first = next(followed)
    open_gate(gate)
    texts = [line.partition(b" ")[2] for line in (first, *followed)]

    assert set(texts[0]) == {ord("x")}
    assert texts[1:] == [b"last", b"end"]


def test_closing_a_followed_log_ends_a_read_in_another_thread(bench: Bench) -> None:
    spec = bench.shell("echo one; read x < gate")
    gate = bench.gate(spec)
    bench.launch(spec)
    log = bench.executor.logs(spec.job_id, follow=True)
    assert next(log).endswith(b" one")
    rest: list[list[bytes]] = []
    reader = threading.Thread(target=lambda: rest.append(list(log)))
    reader.start()
    log.close()  # type: ignore[attr-defined]
    reader.join(PATIENCE)

    assert rest == [[]]
    assert bench.state(spec.job_id) is ContainerState.RUNNING
    open_gate(gate)


def test_follow_of_a_container_that_was_never_started_ends(bench: Bench) -> None:
    spec = bench.shell("echo one")
    bench.executor.create(spec)
    assert list(bench.executor.logs(spec.job_id, follow=True)) == []


def test_busy_container_uses_more_cpu_than_an_idle_one(bench: Bench) -> None:
    busy, idle = bench.shell("while :; do :; done"), bench.shell("read x < gate")
    bench.gate(idle)
    for spec in (busy, idle):
        bench.launch(spec)
    for _ in range(2):
        stats = bench.executor.stats(iter([busy.job_id, idle.job_id]))
        assert stats[busy.job_id][0] > stats[idle.job_id][0]
        assert 0 < stats[idle.job_id][1] < 256
    bench.executor.stop(busy.job_id, grace=0)
    bench.executor.stop(idle.job_id, grace=0)
    assert bench.executor.stats(iter([busy.job_id, idle.job_id])) == {}


def test_end_just_before_a_stream_was_opened_is_hinted_at(bench: Bench) -> None:
    """The engine tells of a death before its list does, so a list after the opening may not show it yet."""
    spec = bench.shell("exit 0")
    bench.launch(spec)
    with closing(bench.executor.events(bench.owner)) as first:
        assert first.wait(PATIENCE)
    with closing(bench.executor.events(bench.owner)) as second:
        assert second.wait(PATIENCE)
    assert bench.state(spec.job_id) is ContainerState.EXITED


def test_stream_is_not_woken_by_containers_of_others(bench: Bench) -> None:
    with closing(bench.executor.events(bench.owner)) as stream, closing(bench.executor.events("others")) as theirs:
        spec = bench.shell("exit 0", owner="others")
        bench.launch(spec)
        assert theirs.wait(PATIENCE)
        assert stream.wait(0) is None
