"""Reads the log of a job of the process executor, also while the shim writes it.

The shim keeps the beginning in `output.log` and the end in `output.log.{offset}`, where the offset is the place of the
file's first byte in the whole log; what lay between was removed. Lines end with a newline and never span two files.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import BinaryIO

from jobrunner_cli.engine.executors.process_shim import PIECE_BYTES
from jobrunner_cli.engine.loglines import LogGap, LogPiece

_BLOCK_BYTES = 1024 * 1024


def read_output(control: Path, goes_on: Callable[[], bool], tail: int | None = None) -> Generator[bytes, None, None]:
    """The lines of the log, or the last so many and those that follow; timestamps included, line ends not.

    `goes_on` is asked after everything that was there has been handed out, and waits a little for more; no ends it.
    """
    reader = _Reader(control)
    try:
        more = True
        if tail is not None:
            yield from deque(reader.available(), maxlen=tail)
            more = goes_on()
        while more:
            yield from reader.available()
            more = goes_on()
        # What was written between the last look and the end.
        yield from reader.available()
        yield from reader.rest()
    finally:
        reader.close()


class _Reader:
    """A place in the log."""

    def __init__(self, control: Path) -> None:
        self._base = control / "output.log"
        self._stream: BinaryIO | None = None
        self._position = 0
        self._rest = b""
        self._left_out = 0
        #: the last item was no whole line, or its line may have begun in what was removed
        self._goes_on = False

    def available(self) -> Iterator[bytes]:
        """The complete lines from here to the present end."""
        if self._stream is None:
            try:
                self._stream = self._base.open("rb")
            except FileNotFoundError:
                return
        while True:
            yield from self._lines()
            following = self._following()
            if following is None:
                return
            # Whatever was still written to this file was written before there was a next one.
            yield from self._lines()
            yield from self.rest()
            self._move_to(following)

    def rest(self) -> Iterator[bytes]:
        """A last line without its end: it is being written, or a full disk or a power cut has left it."""
        if self._rest:
            yield LogPiece.of(self._rest, stream=1, continues=self._goes_on, last=True)
            self._rest, self._goes_on = b"", False

    def close(self) -> None:
        """Let go of the file."""
        if self._stream is not None:
            self._stream.close()

    def _lines(self) -> Iterator[bytes]:
        assert self._stream is not None
        while data := self._stream.read(_BLOCK_BYTES):
            self._position += len(data)
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                if self._left_out:
                    yield LogGap.of(0, self._left_out, lines_exact=False)
                    self._left_out = 0
                    self._goes_on = True
                yield self._item(line)

    def _item(self, line: bytes) -> bytes:
        """A line, or the piece that it is: the shim breaks a line that would be longer."""
        continues, self._goes_on = self._goes_on, len(line) == PIECE_BYTES - 1
        if not (continues or self._goes_on):
            return line
        return LogPiece.of(line, stream=1, continues=continues, last=not self._goes_on)

    def _following(self) -> int | None:
        """The offset of the next file; None if this is the last."""
        suffixes = [path.name.rpartition(".")[2] for path in self._base.parent.glob(f"{self._base.name}.*")]
        offsets = [int(suffix) for suffix in suffixes if suffix.isdecimal()]
        return min((offset for offset in offsets if offset >= self._position), default=None)

    def _move_to(self, offset: int) -> None:
        try:
            stream = self._base.with_name(f"{self._base.name}.{offset}").open("rb")
        except FileNotFoundError:
            # Removed meanwhile, because newer ones have come.
            return
        self.close()
        self._stream = stream
        self._left_out += offset - self._position
        self._position = offset
