"""Contract of the executors: what a container printed."""

from __future__ import annotations

import re
import threading
import time
from datetime import UTC, datetime

from contract.bench import PATIENCE, Bench, open_gate

from jobrunner_cli.engine.loglines import LogPiece

STAMP = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z ")


def texts(lines: list[bytes]) -> list[bytes]:
    """The lines without their timestamps, each of which must be there."""
    for line in lines:
        assert STAMP.match(line), line[:80]
    return [line.split(b" ", 1)[1] for line in lines]


def printed(bench: Bench, script: str) -> list[bytes]:
    """What a script's job printed, timestamps removed."""
    spec = bench.shell(script)
    bench.run(spec)
    return texts(list(bench.executor.logs(spec.job_id)))


def test_lines_of_both_streams_are_there_in_order(bench: Bench) -> None:
    """One stream each: an engine may keep two pipes, between which there is no order."""
    lines = printed(bench, "for i in 1 2 3; do echo out $i; echo err $i >&2; done")

    assert [line for line in lines if line.startswith(b"out")] == [b"out 1", b"out 2", b"out 3"]
    assert [line for line in lines if line.startswith(b"err")] == [b"err 1", b"err 2", b"err 3"]
    assert len(lines) == 6


def test_timestamps_are_the_times_of_printing_in_utc(bench: Bench) -> None:
    spec = bench.shell("echo one; read x < gate; echo two")
    gate = bench.gate(spec)
    before = datetime.now(UTC)
    bench.launch(spec)
    bench.printed(spec.job_id, b"one")
    between = datetime.now(UTC)
    open_gate(gate)
    bench.exited(spec.job_id)
    first, second = (
        datetime.fromisoformat(line.split(b" ", 1)[0].decode()) for line in bench.executor.logs(spec.job_id)
    )

    assert abs((first - before).total_seconds()) < PATIENCE
    assert first <= between <= second


def test_last_line_without_newline_is_there(bench: Bench) -> None:
    assert printed(bench, "echo one; printf two") == [b"one", b"two"]


def test_nothing_printed_is_nothing(bench: Bench) -> None:
    assert printed(bench, "exit 0") == []


def test_empty_lines_are_kept(bench: Bench) -> None:
    assert printed(bench, "echo; echo a; echo; echo; echo b") == [b"", b"a", b"", b"", b"b"]


def test_leading_and_trailing_spaces_are_kept(bench: Bench) -> None:
    assert printed(bench, "printf '  indented  \\n\\ttab\\t\\n'") == [b"  indented  ", b"\ttab\t"]


def test_bytes_that_are_no_text_do_no_harm(bench: Bench) -> None:
    """An engine may replace what is not UTF-8; what is, and every control character, stays."""
    lines = printed(bench, r"printf 'nul\000nul\ncaf\303\251\nbad \377\376 bytes\nbar\rbaz\n\033[31mred\n'")

    assert lines[0] == b"nul\0nul"
    assert lines[1] == "café".encode()
    assert lines[2].startswith(b"bad ")
    assert lines[2].endswith(b" bytes")
    assert lines[3:] == [b"bar\rbaz", b"\x1b[31mred"]


def test_a_long_line_comes_in_pieces_and_nothing_is_lost(bench: Bench) -> None:
    spec = bench.shell("head -c 300000 /dev/zero | tr '\\0' x; echo END; echo after")
    bench.run(spec)
    lines = list(bench.executor.logs(spec.job_id))

    assert max(map(len, lines)) <= 64 * 1024
    pieces = texts(lines)
    assert pieces[-1] == b"after"
    assert b"".join(pieces[:-1]) == b"x" * 300_000 + b"END"


def test_pieces_of_a_long_line_say_that_they_belong_together(bench: Bench) -> None:
    spec = bench.shell("echo before; head -c 150000 /dev/zero | tr '\\0' x; echo; echo after")
    bench.run(spec)
    first, *pieces, last = bench.executor.logs(spec.job_id)

    assert [type(line) for line in (first, last)] == [bytes, bytes]
    assert all(isinstance(piece, LogPiece) for piece in pieces)
    assert [(piece.continues, piece.last) for piece in pieces if isinstance(piece, LogPiece)] == [
        (False, False),
        (True, False),
        (True, True),
    ]


def test_tail_begins_so_many_lines_before_the_end(bench: Bench) -> None:
    spec = bench.shell("i=0; while [ $i -lt 100 ]; do echo line $i; i=$((i+1)); done; read x < gate; echo end")
    gate = bench.gate(spec)
    bench.launch(spec)
    bench.printed(spec.job_id, b"line 99")

    assert texts(list(bench.executor.logs(spec.job_id, tail=3))) == [b"line 97", b"line 98", b"line 99"]
    assert len(list(bench.executor.logs(spec.job_id, tail=500))) == 100
    followed = bench.executor.logs(spec.job_id, follow=True, tail=2)
    assert texts([next(followed)]) == [b"line 98"]
    open_gate(gate)
    assert texts(list(followed)) == [b"line 99", b"end"]


def test_tail_into_the_middle_of_a_line_says_so(bench: Bench) -> None:
    spec = bench.shell("head -c 300000 /dev/zero | tr '\\0' x; echo")
    bench.run(spec)
    lines = list(bench.executor.logs(spec.job_id, tail=2))

    assert isinstance(lines[0], LogPiece)
    assert lines[0].continues
    assert all(type(line) is bytes for line in bench.executor.logs(bench.launch(bench.shell("true")), tail=2))


def test_a_log_that_is_closed_ends(bench: Bench) -> None:
    spec = bench.shell("echo one; read x < gate")
    gate = bench.gate(spec)
    bench.launch(spec)
    lines = bench.executor.logs(spec.job_id, follow=True)
    assert texts([next(lines)]) == [b"one"]
    lines.close()
    lines.close()

    assert list(lines) == []
    open_gate(gate)


def test_many_lines_are_all_there(bench: Bench) -> None:
    lines = printed(bench, "i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done")

    assert lines == [b"line %d" % i for i in range(5000)]


def test_logs_of_a_running_one_return_what_there_is(bench: Bench) -> None:
    spec = bench.shell("echo one; read x < gate; echo two")
    gate = bench.gate(spec)
    bench.launch(spec)
    bench.printed(spec.job_id, b"one")

    assert texts(list(bench.executor.logs(spec.job_id))) == [b"one"]
    open_gate(gate)


def test_follow_shows_lines_as_they_come_and_ends_with_the_job(bench: Bench) -> None:
    spec = bench.shell("echo one; read x < gate; echo two; printf three; exit 3")
    gate = bench.gate(spec)
    bench.launch(spec)
    lines = bench.executor.logs(spec.job_id, follow=True)

    assert texts([next(lines)]) == [b"one"]
    open_gate(gate)
    assert texts(list(lines)) == [b"two", b"three"]
    assert bench.exited(spec.job_id).exit_code == 3


def test_follow_of_an_exited_one_ends_at_once(bench: Bench) -> None:
    spec = bench.shell("echo one; echo two")
    bench.run(spec)

    assert texts(list(bench.executor.logs(spec.job_id, follow=True))) == [b"one", b"two"]


def test_two_followers_see_the_same(bench: Bench) -> None:
    spec = bench.shell("read x < gate; for i in 1 2 3; do echo $i; done")
    gate = bench.gate(spec)
    bench.launch(spec)
    seen: list[list[bytes]] = []
    threads = [
        threading.Thread(target=lambda: seen.append(texts(list(bench.executor.logs(spec.job_id, follow=True)))))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    open_gate(gate)
    deadline = time.monotonic() + PATIENCE
    for thread in threads:
        thread.join(deadline - time.monotonic())

    assert seen == [[b"1", b"2", b"3"]] * 2
