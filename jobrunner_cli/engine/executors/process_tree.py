"""The processes of this machine as /proc shows them: whose they are, what they use. Elsewhere than on Linux, none."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What some processes have used."""

    #: seconds of processor time so far, those of ended children included
    cpu_seconds: float
    #: bytes in memory now; pages that several share count for each
    memory: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Process:
    pid: int
    parent: int
    ticks: int
    pages: int


def usage_below(pids: Mapping[str, int]) -> dict[str, Usage]:
    """Name -> use of all descendants of the process, itself left out; names whose process has none are absent."""
    children: dict[int, list[_Process]] = defaultdict(list)
    for process in _processes():
        children[process.parent].append(process)
    result = {}
    for name, pid in pids.items():
        found: list[_Process] = []
        generation = children.get(pid, [])
        while generation:
            found += generation
            generation = [child for process in generation for child in children.get(process.pid, [])]
        if found:
            result[name] = Usage(
                cpu_seconds=sum(process.ticks for process in found) / os.sysconf("SC_CLK_TCK"),
                memory=sum(process.pages for process in found) * os.sysconf("SC_PAGE_SIZE"),
            )
    return result


def kill_marked(variable: str, value: str, *, seconds: float) -> bool:
    """Kill every process that has this variable in the environment it was started with; whether all are gone in time.

    Meant for what a shim left behind that was killed itself. A process that is forked meanwhile is found in the next
    round.
    """
    if sys.platform != "linux":
        return True
    mark = f"{variable}={value}".encode()
    deadline = time.monotonic() + seconds
    while True:
        handles = list(_handles(mark))
        if not handles:
            return True
        try:
            for handle in handles:
                with suppress(ProcessLookupError, PermissionError):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
            for handle in handles:
                waiting = select.poll()
                waiting.register(handle, select.POLLIN)
                waiting.poll(max(deadline - time.monotonic(), 0) * 1000)
        finally:
            for handle in handles:
                os.close(handle)
        if time.monotonic() >= deadline:
            return False


def _handles(mark: bytes) -> Iterator[int]:
    """A handle of each process with the mark; unlike its id, a handle never becomes another process's."""
    for pid in _pids():
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            continue
        try:
            variables = (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
        except OSError:
            variables = []
        if mark in variables:
            yield handle
        else:
            os.close(handle)


def _processes() -> Iterator[_Process]:
    for pid in _pids():
        with suppress(OSError):
            # The name comes in brackets and may itself hold brackets and spaces (proc(5)).
            fields = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
            ticks = sum(int(number) for number in fields[11:15])
            yield _Process(pid=pid, parent=int(fields[1]), ticks=ticks, pages=int(fields[21]))


def _pids() -> list[int]:
    if sys.platform != "linux":
        return []
    return [int(path.name) for path in _PROC.iterdir() if path.name.isdecimal()]
