"""What a job has printed, of much output the beginning and the end: the same for the stored log and a live reader."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, dropwhile
from pathlib import Path
from typing import TYPE_CHECKING

from jobrunner_cli.engine.jobfiles.loghead import LogHead, read_head
from jobrunner_cli.engine.loglines import HEAD_BYTES, TAIL_BYTES, LogGap, LogPiece, stamp_of

if TYPE_CHECKING:
    from jobrunner_cli.engine.executors.protocol import Executor
    from jobrunner_cli.engine.masking import Masker

#: Bytes that are read from the beginning on before the rest is left to a look at the end.
_READ_THROUGH = HEAD_BYTES + TAIL_BYTES
#: Lines that are asked for at the end at first, and at most: so many are never less than the tail.
_FIRST_LINES = 1024
_MOST_LINES = TAIL_BYTES // 32
#: Lines that may be printed between two looks.
_LINES_MEANWHILE = 16384
#: Lines by which a place in a log is known again.
PLACE_LINES = 64


def printed(executor: Executor, job_id: str, control: Path, masker: Masker, *, reason: str = "") -> Iterator[bytes]:
    """What a job has printed up to now, secrets masked; a LogGap stands for what is left out, for a `reason` if there
    is one besides that it was much.

    At least the first and the last MiBs are there, and no more than a few times that is read. Raises what the executor
    raises.
    """
    if executor.keeps_log_head:
        yield from masker.mask_lines(executor.logs(job_id))
        return
    head = read_head(control)
    if head is None or not head.full:
        seen: deque[bytes] = deque(maxlen=PLACE_LINES)
        whole, count = False, 0
        with closing(executor.logs(job_id)) as source:
            lines = masker.mask_lines(source)
            first = next(lines, None)
            if first is not None and (head is None or _is_start(first, head)):
                size = 0
                whole = True
                for line in chain((first,), lines):
                    yield line
                    seen.append(line)
                    count += 1
                    size += len(line) + 1
                    if size >= _READ_THROUGH:
                        whole = False
                        break
        if whole or (first is None and head is None):
            return
        if first is not None and seen:
            yield from _end(executor, job_id, masker, _Beginning(first=first, count=count, last=list(seen)), reason)
            return
    if head is not None:
        yield from head.lines
        beginning = _Beginning(first=head.lines[0], count=len(head.lines), last=head.lines[-PLACE_LINES:])
        yield from _end(executor, job_id, masker, beginning, reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Beginning:
    """How much of a log is there already."""

    first: bytes
    count: int
    last: list[bytes]


def printed_and_followed(executor: Executor, job_id: str, control: Path, masker: Masker) -> Iterator[bytes]:
    """What a job has printed, as far as it is kept, and what it prints until it ends; secrets masked.

    Raises what the executor raises.
    """
    with closing(executor.logs(job_id, follow=True)) as source:
        lines = masker.mask_lines(source)
        first = next(lines, None)
        if first is None:
            return
        head = None if executor.keeps_log_head else read_head(control)
        if head is not None and not _is_start(first, head):
            yield from head.lines
            yield LogGap.of(0, 0, lines_exact=False, size_exact=False)
        yield from chain((first,), lines)


def last_and_followed(executor: Executor, job_id: str, masker: Masker, count: int) -> Iterator[bytes]:
    """The last lines that a job has printed, and what it prints until it ends; secrets masked.

    Raises what the executor raises.
    """
    last = last_printed(executor, job_id, masker, count)
    # Read again from well before: more may have been printed meanwhile.
    tail = count + _LINES_MEANWHILE if last else None
    while last and isinstance(last[-1], LogPiece):
        # It may be going on.
        last.pop()
    yield from last
    with closing(executor.logs(job_id, follow=True, tail=tail)) as source:
        lines = masker.mask_lines(source)
        yield from (lines if not last else behind(last, lines))


def last_printed(executor: Executor, job_id: str, masker: Masker, count: int) -> list[bytes]:
    """The last lines that a job has printed, secrets masked. Raises what the executor raises."""
    # Where each of the two streams is cut into, a line may be left out.
    with closing(executor.logs(job_id, tail=count + 2)) as source:
        lines = dropwhile(lambda line: isinstance(line, LogGap), masker.mask_lines(source))
        return list(deque(lines, maxlen=count))


def place_after(seen: Sequence[bytes], lines: Sequence[bytes]) -> int | None:
    """The index in `lines` behind the last line that was seen, which is known by those before it, too; None if it is
    not among them.
    """
    if not seen:
        return None
    for at in range(len(lines) - 1, -1, -1):
        if lines[at] == seen[-1] and _same_before(seen, lines, at):
            return at + 1
    return None


def _same_before(seen: Sequence[bytes], lines: Sequence[bytes], at: int) -> bool:
    for back in range(1, min(PLACE_LINES, len(seen) - 1, at) + 1):
        line = lines[at - back]
        if not stamp_of(line):
            # A cut: what is above it was not printed just before.
            return True
        if line != seen[-1 - back]:
            return False
    return True


def behind(seen: Sequence[bytes], lines: Iterator[bytes]) -> Iterator[bytes]:
    """The lines behind those that were seen, of which there is one at least. If these are no longer there, those of a later time."""
    newest = stamp_of(seen[-1])
    skipped: deque[bytes] = deque(maxlen=PLACE_LINES + 1)
    later: list[bytes] = []
    for line in lines:
        skipped.append(line)
        if line == seen[-1] and place_after(seen, list(skipped)) is not None:
            later.clear()
            break
        # The two streams are stamped before they are written one after the other: a few lines may be out of order.
        later = [*later, line] if stamp_of(line) > newest else []
        if len(later) == PLACE_LINES:
            break
    yield from later
    yield from lines


def _end(executor: Executor, job_id: str, masker: Masker, beginning: _Beginning, reason: str) -> Iterator[bytes]:
    """What follows the beginning of a log, or a gap and the last MiBs."""
    count = _FIRST_LINES
    while True:
        with closing(executor.logs(job_id, tail=count)) as source:
            lines = list(masker.mask_lines(source))
        size = sum(len(line) + 1 for line in lines)
        if size >= TAIL_BYTES or count >= _MOST_LINES:
            break
        count = min(_MOST_LINES, max(2 * count, count * TAIL_BYTES * 5 // (max(size, 1) * 4)))
    if not lines:
        return
    if lines[0] == beginning.first and not (isinstance(lines[0], LogPiece) and lines[0].continues):
        yield from lines[beginning.count :]
        return
    # The pieces of an endless line may be the same all along, and have the same time: then they tell no place.
    at = place_after(beginning.last, lines) if len({stamp_of(line) for line in beginning.last}) > 1 else None
    if at is None:
        yield LogGap.of(0, 0, lines_exact=False, size_exact=False, reason=reason)
    yield from lines[at or 0 :]


def _is_start(first: bytes, head: LogHead) -> bool:
    """Whether a log still begins with its first line: times are in nanoseconds."""
    return stamp_of(first) == stamp_of(head.lines[0])
