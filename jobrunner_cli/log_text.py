"""A line of a job's log as a terminal may get it: text without anything that a terminal obeys."""

from __future__ import annotations

import re

from jobrunner_cli.engine.loglines import stamp_of

#: Colours, and what erases a line for a progress bar (ECMA-48, sections 8.3.117 and 8.3.41).
_ORNAMENTS = re.compile(r"\x1b\[[0-9;:]*[mK]")

#: The most characters of a line in short: a few rows of a terminal.
_LONGEST = 300


def without_time(line: bytes) -> bytes:
    """A line as the job printed it, without the timestamp that it may begin with."""
    stamp = stamp_of(line)
    return line[len(stamp) + 1 :] if stamp else line


def in_short(line: bytes) -> str:
    """A line without its time, for a place that has room for a few: a very long one is cut."""
    text = for_terminal(without_time(line)).expandtabs(8)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def for_terminal(line: bytes) -> str:
    """A line as a terminal may get it.

    Colours are left out; of a progress bar, which returns to the start of its line again and again, its last state is
    shown; whatever else is no character to be seen is escaped, and so are bytes that are no text.
    """
    text = line.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    text = _ORNAMENTS.sub("", text).rstrip("\r").rpartition("\r")[2]
    return "".join(char if char.isprintable() or char == "\t" else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
