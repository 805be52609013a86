"""What a job printed, as it is shown: byte by byte in a pipe, and on a terminal without anything that a terminal obeys."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping

from jobrunner_cli import output
from jobrunner_cli.engine.loglines import stamp_of

#: Colours, and what erases a line for a progress bar (ECMA-48, sections 8.3.117 and 8.3.41).
_ORNAMENTS = re.compile(r"\x1b\[[0-9;:]*[mK]")


def write(lines: Iterable[bytes], *, timestamps: bool, at_once: bool) -> bool:
    """Write the lines of a log to stdout, each as soon as it is there if `at_once`; whether there was any."""
    terminal = sys.stdout.isatty()
    some = False
    for line in lines:
        some = True
        _write(b"", line, timestamps=timestamps, terminal=terminal)
        if at_once:
            sys.stdout.buffer.flush()
    return some


def write_named(
    lines: Iterable[tuple[str, bytes]], names: Mapping[str, str], *, timestamps: bool, at_once: bool
) -> list[str]:
    """Write lines of several logs, each behind its log's name, given by key; returns the keys of those without a line."""
    terminal = sys.stdout.isatty()
    width = max(map(output.display_width, names.values()))
    before = {
        key: f"{name}{' ' * (width - output.display_width(name))} | ".encode(
            sys.stdout.encoding or "ascii", "backslashreplace"
        )
        for key, name in names.items()
    }
    silent = dict.fromkeys(names)
    for key, line in lines:
        silent.pop(key, None)
        _write(before[key], line, timestamps=timestamps, terminal=terminal)
        if at_once:
            sys.stdout.buffer.flush()
    return list(silent)


def _write(before: bytes, line: bytes, *, timestamps: bool, terminal: bool) -> None:
    stamp = stamp_of(line)
    text = line[len(stamp) + 1 :] if stamp else line
    time = stamp + b" " if stamp and timestamps else b""
    shown = for_terminal(text).encode(sys.stdout.encoding or "ascii", "backslashreplace") if terminal else text
    sys.stdout.buffer.write(before + time + shown + b"\n")


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
