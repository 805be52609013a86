"""Level 4: whether a moderately sensitive file may be copied to where the people who check outputs read it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import PurePosixPath

from jobrunner_cli.engine.jobfiles.csvfile import CsvFacts, NotCsvError, read_csv
from jobrunner_cli.engine.jobfiles.walk import printable
from jobrunner_cli.engine.work import REVIEWABLE_SUFFIXES

#: Bytes of a CSV file beyond which its rows are no longer counted: it is far above any limit of size, and is held back.
LARGEST_COUNTED = 1 << 30
#: Cells of a record, if the limit of rows is not higher: one as wide is a table of so many rows, turned on its side.
MOST_COLUMNS = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class Level4Limits:
    """How large a file may be."""

    max_bytes: int
    #: rows of a CSV file, its header left out
    max_csv_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Level4Check:
    """What the checks found."""

    #: why the file is held back, as sentences for researchers without their full stops; empty if it is not
    reasons: tuple[str, ...]
    #: for CSV files that could be read
    row_count: int | None = None
    col_count: int | None = None

    @property
    def message(self) -> str | None:
        """All reasons in one line; None if the file is accepted."""
        return "; ".join(self.reasons) or None


def check(path: str, handle: int, size: int, *, limits: Level4Limits, stop: threading.Event) -> Level4Check:
    """Check an open file of so many bytes that is to be released under this path.

    Reads no more than a CSV's bytes, once, a line at a time. Raises Stopped, OSError.
    """
    reasons = []
    suffix = PurePosixPath(path).suffix
    if suffix not in REVIEWABLE_SUFFIXES:
        kind = f"Files of type {printable(suffix)}" if suffix else "Files without a suffix"
        reasons.append(f"{kind} cannot be released (possible: {' '.join(REVIEWABLE_SUFFIXES)})")
    if size > limits.max_bytes:
        reasons.append(f"The file is too large: {_amounts(size, limits.max_bytes)}")
    if suffix != ".csv" or size > max(LARGEST_COUNTED, limits.max_bytes):
        return Level4Check(reasons=tuple(reasons))
    try:
        facts = read_csv(handle, most_rows=limits.max_csv_rows, stop=stop)
    except NotCsvError as error:
        reasons.append(f"The file cannot be read as CSV: {error}")
        return Level4Check(reasons=tuple(reasons))
    reasons += _csv_reasons(facts, limits)
    return Level4Check(reasons=tuple(reasons), row_count=facts.rows, col_count=facts.columns if facts.rows else 0)


def _csv_reasons(facts: CsvFacts, limits: Level4Limits) -> list[str]:
    reasons = []
    if facts.has_patient_id:
        reasons.append("The file has a patient_id column")
    if facts.rows > limits.max_csv_rows:
        reasons.append(f"The file has {facts.rows:,} rows, and the limit is {limits.max_csv_rows:,}")
    elif facts.rows + facts.rows_in_quotes > limits.max_csv_rows:
        reasons.append(
            f"The file has {facts.rows:,} {'row' if facts.rows == 1 else 'rows'} and "
            f"{facts.rows_in_quotes:,} more that look like rows within quotes, "
            f"and the limit is {limits.max_csv_rows:,}"
        )
    most_columns = max(limits.max_csv_rows, MOST_COLUMNS)
    if facts.widest > most_columns:
        reasons.append(f"The file has {facts.widest:,} columns, and the limit is {most_columns:,}")
    return reasons


def _amounts(size: int, limit: int) -> str:
    """A size and the limit that it is above, in bytes where they would read the same otherwise."""
    of_file, of_limit = _amount(size), _amount(limit)
    if of_file == of_limit:
        of_file, of_limit = f"{size:,} bytes", f"{limit:,}"
    return f"{of_file}, and the limit is {of_limit}"


def _amount(size: int) -> str:
    return f"{size / (1 << 20):,.2f} MiB" if size >= 1 << 20 else f"{size:,} bytes"
