"""The log of a Docker engine, taken apart: whatever way the bytes are cut on their way, the lines are the same."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner_cli.engine.executors.docker_logs import frames, joined
from jobrunner_cli.engine.loglines import LONGEST_ITEM

STAMP = b"2026-11-23T19:05:58.695663261Z"
OUT, ERR, ENGINE = 1, 2, 3


def frame(stream: int, data: bytes) -> bytes:
    return struct.pack(">BxxxL", stream, len(data)) + data


def message(stream: int, text: bytes) -> bytes:
    return frame(stream, STAMP + b" " + text)


def lines(body: bytes, size: int = 1 << 20) -> list[bytes]:
    def cut() -> Iterator[bytes]:
        for at in range(0, len(body), size):
            yield body[at : at + size]

    return list(joined(frames(cut())))


def texts(items: list[bytes]) -> list[bytes]:
    assert all(item.startswith(STAMP + b" ") for item in items)
    return [item[len(STAMP) + 1 :] for item in items]


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 41, 1000])
def test_lines_do_not_depend_on_where_the_body_is_cut(size: int) -> None:
    body = (
        message(OUT, b"one\n") + message(ERR, b"two\n") + frame(OUT, b"") + message(OUT, b"\n") + message(OUT, b"end")
    )
    assert texts(lines(body, size)) == [b"one", b"two", b"", b"end"]


def test_pieces_of_a_long_line_are_joined() -> None:
    body = message(OUT, b"a" * 16384) + message(OUT, b"b" * 16384) + message(OUT, b"c\n") + message(OUT, b"next\n")
    assert texts(lines(body)) == [b"a" * 16384 + b"b" * 16384 + b"c", b"next"]


def test_pieces_of_the_two_streams_do_not_mix() -> None:
    body = message(OUT, b"o" * 16384) + message(ERR, b"e" * 16384) + message(OUT, b"1\n") + message(ERR, b"2\n")
    assert texts(lines(body)) == [b"o" * 16384 + b"1", b"e" * 16384 + b"2"]


def test_endless_line_is_cut_with_a_timestamp_on_each_piece() -> None:
    body = b"".join(message(OUT, b"x" * 16384) for _ in range(20))
    items = lines(body)
    assert max(map(len, items)) == LONGEST_ITEM
    assert b"".join(texts(items)) == b"x" * 16384 * 20


def test_endless_line_is_not_gathered_in_memory() -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield message(OUT, b"x" * 16384)

    items = joined(frames(endless()))
    assert len(next(items)) == LONGEST_ITEM
    assert len(next(items)) == LONGEST_ITEM


def test_one_huge_frame_comes_in_pieces() -> None:
    items = lines(message(OUT, b"y" * 300_000 + b"\n"), 1000)
    assert max(map(len, items)) <= LONGEST_ITEM
    assert b"".join(texts(items)) == b"y" * 300_000


def test_word_of_the_engine_itself_is_a_line() -> None:
    (item,) = lines(frame(ENGINE, b"Error grabbing logs: invalid character\n"))
    stamp, _, words = item.partition(b" ")
    assert stamp.endswith(b"Z")
    assert words == b"Error grabbing logs: invalid character"


@given(st.lists(st.tuples(st.sampled_from([OUT, ERR]), st.binary(max_size=60)), max_size=12), st.integers(1, 64))
def test_every_line_comes_back_as_it_was(printed: list[tuple[int, bytes]], size: int) -> None:
    whole = [(stream, text.replace(b"\n", b"")) for stream, text in printed]
    body = b"".join(message(stream, text + b"\n") for stream, text in whole)
    assert texts(lines(body, size)) == [text for _, text in whole]
