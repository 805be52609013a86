"""How far the work on the files of a job is: counted by the thread that does it, read by any other."""

from __future__ import annotations

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


class Tally:
    """Files and bytes, done and to be done, of one job's stage.

    One thread writes. What another reads may be of two moments, which is good enough for people.
    """

    __slots__ = ("_bytes", "_doing", "_files", "_total_bytes", "_total_files")

    def __init__(self) -> None:
        self._doing = ""
        self._files = self._bytes = 0
        self._total_files: int | None = None
        self._total_bytes: int | None = None

    def begin(self, doing: str, *, files: int | None = None, size: int | None = None) -> None:
        """Begin to count anew; `doing` names the stage, None is a total that is not known."""
        self._files = self._bytes = 0
        self._total_files, self._total_bytes = files, size
        self._doing = doing

    def advance(self, size: int) -> None:
        """So many bytes more are done."""
        self._bytes += size

    def finish_file(self) -> None:
        """One file more is done."""
        self._files += 1

    def text(self) -> str | None:
        """The stage and how far it is, such as `Storing outputs: 1.2 of 2.0 GiB, 3 of 20 files`; None before any."""
        if not self._doing or not (self._files or self._bytes):
            return None
        sizes = _sizes(self._bytes, self._total_bytes) + ", " if self._bytes else ""
        of = "" if self._total_files is None else f" of {self._total_files:,}"
        one = (self._files if self._total_files is None else self._total_files) == 1
        return f"{self._doing}: {sizes}{self._files:,}{of} {'file' if one else 'files'}"


def _sizes(done: int, total: int | None) -> str:
    unit = 0
    while max(done, total or 0) >= 1024 ** (unit + 1) and unit < len(_UNITS) - 1:
        unit += 1

    def in_unit(size: int) -> str:
        return f"{size:,}" if unit == 0 else f"{size / 1024**unit:,.1f}"

    # A file that grew since it was listed may make more of it than there was to be.
    of = "" if total is None else f" of {in_unit(max(done, total))}"
    return f"{in_unit(done)}{of} {_UNITS[unit]}"
