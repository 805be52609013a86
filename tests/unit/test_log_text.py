"""What a terminal gets of what a job printed."""

from __future__ import annotations

import pytest

from jobrunner_cli.log_text import for_terminal


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        (b"plain \xc3\xa9t\xc3\xa9", "plain été"),
        (b"\ttab\tkept", "\ttab\tkept"),
        (b"\x1b[1;31mred\x1b[0m and \x1b[38;2;1;2;3mmore\x1b[m", "red and more"),
        (b"\x1b[2K\rworking 10%\rworking 90%\r", "working 90%"),
        (b"windows\r", "windows"),
        (b"\x1b]0;title\x07", r"\x1b]0;title\x07"),
        (b"\x1b[2J\x1b[H", r"\x1b[2J\x1b[H"),
        (b"\x1b]52;c;ZXZpbA==\x1b\\", "\\x1b]52;c;ZXZpbA==\\x1b\\"),
        (b"\xc2\x9b2J", r"\x9b2J"),
        (b"\x9b2J", r"\x9b2J"),
        (b"bad \xff\xfe", r"bad \xff\xfe"),
        ("\u202eabc\u2066".encode(), r"\u202eabc\u2066"),
        (b"a\0b\x08c\x7f", r"a\x00b\x08c\x7f"),
        (b"\x1b\x1b[0m[2J", r"\x1b[2J"),
    ],
)
def test_characters_that_a_terminal_would_obey_are_shown(printed: bytes, shown: str) -> None:
    assert for_terminal(printed) == shown


def test_no_bytes_come_through_that_a_terminal_obeys() -> None:
    for first in range(256):
        for second in (0x1B, 0x5B, 0x9B, 0x0D, 0x41):
            text = for_terminal(bytes([first, second]))
            assert all(char.isprintable() or char == "\t" for char in text), (first, second)
