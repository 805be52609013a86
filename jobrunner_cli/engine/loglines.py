"""The lines of a job's log on their way from an executor to a reader: pieces of long ones, and places where some are missing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, Self

#: The longest item of a log in bytes, timestamp included.
LONGEST_ITEM = 65536
#: Bytes that are kept of what a job printed, from its start and from its end.
HEAD_BYTES = 4 << 20
TAIL_BYTES = 4 << 20


class LogLines(Iterator[bytes], Protocol):
    """The items of a log in turn: lines without their ends, `LogPiece` and `LogGap` among them."""

    def close(self) -> None:
        """Let go of what it reads from. May be called again."""
        ...


class LogPiece(bytes):
    """A piece of a line that is longer than an item, or of one without an end; each begins with a timestamp."""

    #: pieces of the same stream follow one another, whatever comes between them
    stream: int
    #: it goes on where an earlier piece ended, which a reader that begins in the middle of a log has not seen
    continues: bool
    #: nothing more of the line follows
    last: bool

    @classmethod
    def of(cls, data: bytes, *, stream: int, continues: bool, last: bool) -> Self:
        """These bytes as a piece."""
        piece = cls(data)
        piece.stream, piece.continues, piece.last = stream, continues, last
        return piece


class LogGap(bytes):
    """A place where output is known to be missing. Its bytes are the notice for people: no timestamp, so that no job
    can print one."""

    #: how many lines, and how many bytes with timestamps and line ends, are known to be missing
    lines: int
    size: int
    #: whether that is all
    lines_exact: bool
    size_exact: bool
    #: why, if there is more to say than that it was much
    reason: str

    @classmethod
    def of(cls, lines: int, size: int, *, lines_exact: bool = True, size_exact: bool = True, reason: str = "") -> Self:
        """A gap of this size."""
        amounts = [_amount(lines, "line", lines_exact), _amount(size, "byte", size_exact)]
        known = [amount for amount in amounts if amount]
        what = f"{known[0]} ({known[1]})" if len(known) == 2 else "".join(known) or "a part"
        verb = "was" if not known or known[0] in {"1 line", "1 byte"} else "were"
        unknown = "" if known else "; how much is not known"
        why = f"; {reason}" if reason else ""
        gap = cls(f"[{what} of this log {verb} cut out here{unknown}{why}]".encode())
        gap.lines, gap.size, gap.reason = lines, size, reason
        gap.lines_exact, gap.size_exact = lines_exact, size_exact
        return gap

    def widened(self, lines: int, size: int) -> LogGap:
        """This gap and so much more."""
        return self.merged(LogGap.of(lines, size))

    def merged(self, other: LogGap) -> LogGap:
        """This gap and another as one."""
        return LogGap.of(
            self.lines + other.lines,
            self.size + other.size,
            lines_exact=self.lines_exact and other.lines_exact,
            size_exact=self.size_exact and other.size_exact,
            reason=self.reason or other.reason,
        )


def stamp_of(line: bytes) -> bytes:
    """The timestamp of a line; nothing if it has none, as the lines that the log itself adds."""
    stamp = line.partition(b" ")[0]
    is_stamp = len(stamp) >= 20 and stamp[4:5] == b"-" and stamp[10:11] == b"T" and stamp.endswith(b"Z")
    return stamp if is_stamp else b""


def _amount(number: int, unit: str, exact: bool) -> str:
    if not exact and not number:
        return ""
    return f"{'' if exact else 'more than '}{number:,} {unit}{'' if number == 1 else 's'}"
