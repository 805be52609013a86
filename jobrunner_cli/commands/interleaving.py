"""The logs of several jobs as one: in the order in which the lines were printed, or as they come."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from queue import Queue
from typing import TYPE_CHECKING

from jobrunner_cli.engine.loglines import stamp_of

if TYPE_CHECKING:
    from jobrunner_cli.engine.store.models import Job

#: Job id -> what opens its log.
Readers = Mapping[str, Callable[[], Iterator[bytes]]]

#: Lines that wait to be written; a reader of logs that is slow holds up those who read for it, and nobody else.
_MOST_WAITING = 1000


def names(jobs: Sequence[Job]) -> dict[str, str]:
    """Job id -> what to call it among these: its action, with its workspace or its id where that is not enough."""
    found: dict[str, str] = {}
    one_workspace = len({job.workspace for job in jobs}) == 1
    once = len({(job.workspace, job.action) for job in jobs}) == len(jobs)
    for job in jobs:
        name = job.action if one_workspace else f"{job.workspace}/{job.action}"
        found[job.id] = name if once else f"{name} {job.id}"
    return found


def in_order_of_time(readers: Readers) -> Iterator[tuple[str, bytes]]:
    """The lines of all logs by the times they were printed at; one without a time stays behind the line before it."""
    streams = [_keyed(job_id, place, read()) for place, (job_id, read) in enumerate(readers.items())]
    for _, _, _, job_id, line in heapq.merge(*streams):
        yield job_id, line


def _keyed(job_id: str, place: int, lines: Iterable[bytes]) -> Iterator[tuple[bytes, int, int, str, bytes]]:
    latest = b""
    for number, line in enumerate(lines):
        # Of one log nothing may overtake, whatever a clock did.
        latest = max(latest, stamp_of(line))
        yield latest, place, number, job_id, line


def as_they_come(readers: Readers) -> Iterator[tuple[str, bytes]]:
    """The lines of all logs, each read by a thread of its own, until all have ended; then raises what one raised."""
    lines: Queue[tuple[str, bytes | BaseException | None]] = Queue(_MOST_WAITING)

    def read(job_id: str, open_log: Callable[[], Iterator[bytes]]) -> None:
        end: BaseException | None = None
        try:
            for line in open_log():
                lines.put((job_id, line))
        except BaseException as error:  # noqa: BLE001 (whatever it is, the one who writes has to know)
            end = error
        lines.put((job_id, end))

    for job_id, open_log in readers.items():
        # A reader may be waiting for an engine when the one who writes leaves.
        threading.Thread(target=read, args=(job_id, open_log), daemon=True).start()
    errors: list[BaseException] = []
    open_logs = len(readers)
    while open_logs:
        job_id, line = lines.get()
        if isinstance(line, bytes):
            yield job_id, line
            continue
        open_logs -= 1
        if line is not None:
            errors.append(line)
    if errors:
        raise errors[0]
