"""Reads the log of a job of the process executor, also while the shim writes it.

The shim keeps the beginning in `output.log` and the end in `output.log.{offset}`, where the offset is the place of the
file's first byte in the whole log; what lay between was removed. Lines end with a newline and never span two files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

_BLOCK_BYTES = 1024 * 1024


def read_output(control: Path, goes_on: Callable[[], bool]) -> Iterator[bytes]:
    """The lines of the log, timestamps included, line ends not, until `goes_on` says no.

    `goes_on` is asked after everything that was there has been handed out, and waits a little for more.
    """
    reader = _Reader(control)
    try:
        more = True
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
        """A last line without its end: only a full disk or a power cut leaves one."""
        if self._rest:
            yield self._rest
            self._rest = b""

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
                    stamp = line.partition(b" ")[0]
                    yield stamp + b" jobrunner: %d bytes of output are left out here" % self._left_out
                    self._left_out = 0
                yield line

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
