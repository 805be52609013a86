"""What a job printed, as it is shown: byte by byte in a pipe, and on a terminal without anything that a terminal obeys."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from jobrunner_cli import output
from jobrunner_cli.engine.loglines import stamp_of
from jobrunner_cli.log_text import for_terminal, without_time

if TYPE_CHECKING:
    from jobrunner_cli.engine.store.models import Job


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


def write_json(lines: Iterable[tuple[str, bytes]], jobs: Mapping[str, Job], *, at_once: bool) -> list[str]:
    """Write lines of logs as an object of JSON each, given by job id; returns the ids of those without a line.

    Bytes that are no text are escaped in it; a line without a time, such as one of the summary, has null in its place.
    """
    silent = dict.fromkeys(jobs)
    for job_id, line in lines:
        silent.pop(job_id, None)
        job, stamp = jobs[job_id], stamp_of(line)
        text = without_time(line).decode("utf-8", "backslashreplace")
        row = {
            "id": job_id,
            "workspace": job.workspace,
            "action": job.action,
            "at": stamp.decode("ascii") if stamp else None,
            "text": text,
        }
        sys.stdout.write(output.json_text(row) + "\n")
        if at_once:
            sys.stdout.flush()
    return list(silent)


def _write(before: bytes, line: bytes, *, timestamps: bool, terminal: bool) -> None:
    stamp = stamp_of(line)
    text = without_time(line)
    time = stamp + b" " if stamp and timestamps else b""
    shown = for_terminal(text).encode(sys.stdout.encoding or "ascii", "backslashreplace") if terminal else text
    sys.stdout.buffer.write(before + time + shown + b"\n")
