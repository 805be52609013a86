"""Reading a CSV file that nobody vouches for: its rows, its columns, and whether one of them identifies patients.

Delimiter and encoding are found out; memory stays small whatever the file holds. What cannot be understood is no CSV.
"""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from jobrunner_cli.engine.jobfiles.identifiers import is_patient_id, mentions_patient_id, taken_apart
from jobrunner_cli.engine.jobfiles.walk import look

#: Characters of one line, and of one record, beyond which a file is no longer taken for CSV.
_LONGEST_LINE = 1 << 20
_LONGEST_RECORD = 1 << 22
#: Lines of one record, and of the comments before the header: an open quote could hide any number of rows.
_MOST_LINES = 100
_LINES_PER_LOOK = 2048

_DELIMITERS = ",;\t|"
#: What separates names where none of these does: blanks, punctuation, both. A name may have some of either in it, so that
#: no single one of these finds it in every case.
_RARE_DELIMITERS = tuple(
    map(re.compile, (r"\s+", r"[^\w\s.()-]+", r"[^\w.()-]+", r"\.+", r"[()]+", r"-+", r"\W+")),
)
#: A header of one column that counts the identifier, as R names it: `n_distinct(patient_id)`.
_CALL = re.compile(r"[\w.]+\([\w.]*\)")
#: Whatever some reader takes for the end of a cell or of a line.
_ALL_DELIMITERS = re.compile(r"[,;\t|\r\n\x85\u2028\u2029]")
_QUOTED = re.compile(r'"[^"]*"')
_SEPARATOR_LINE = re.compile(r'"?sep=([^"\r\n])"?[\r\n]*', re.IGNORECASE)
_NUMBER = re.compile(r"""[\s"']*[0-9]+(\.0*)?[\s"']*""", re.ASCII)
#: Control characters that no text has.
_BINARY = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_UNDECODABLE = re.compile(r"[\udc80-\udcff]")
#: Characters that a table in a European language is not made of.
_FOREIGN = re.compile(r"[^\x00-\u024f\u2000-\u206f\u20a0-\u20cf\ufeff]")

#: First bytes -> encoding. The longer ones first: UTF-32's begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_PACKED = (b"\x1f\x8b", b"PK\x03\x04", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")


class NotCsvError(Exception):
    """The file is not CSV; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvFacts:
    """What a CSV file holds."""

    #: records after the header, blank lines left out
    rows: int
    #: lines inside quoted cells that have as many cells as the header, and may be rows as well
    rows_in_quotes: int
    #: names in the header
    columns: int
    #: cells of the longest record
    widest: int
    has_patient_id: bool


def read_csv(handle: int, *, most_rows: int, stop: threading.Event) -> CsvFacts:
    """Read an open file from its start; headers after the first are looked for in so many rows.

    Raises NotCsvError, Stopped, OSError.
    """
    os.lseek(handle, 0, os.SEEK_SET)
    start = os.read(handle, 8)
    os.lseek(handle, 0, os.SEEK_SET)
    if start.startswith(_PACKED):
        msg = "it is compressed"
        raise NotCsvError(msg)
    encoding = next((name for mark, name in _MARKS if start.startswith(mark)), "utf-8")
    # Old single-byte encodings are as good as UTF-8 here: all that counts is ASCII.
    errors = "strict" if encoding in {"utf-16", "utf-32"} else "surrogateescape"
    with (
        io.FileIO(handle, closefd=False) as raw,
        io.TextIOWrapper(io.BufferedReader(raw, 1 << 18), encoding=encoding, errors=errors, newline="") as file,
    ):
        lines = _Lines(file, encoding, stop)
        try:
            return _read(lines, most_rows)
        except UnicodeError as error:
            msg = f"it is not {encoding.upper()}, which its first bytes announce"
            raise NotCsvError(msg) from error
        except csv.Error as error:
            msg = f"line {lines.number}: {error}"
            raise NotCsvError(msg) from error


def _read(lines: _Lines, most_rows: int) -> CsvFacts:
    comments, first, delimiter = _first_line(lines)
    if first is None:
        return CsvFacts(
            rows=0, rows_in_quotes=0, columns=0, widest=0, has_patient_id=_has_name([], comments, rare=True)
        )
    lines.record = [first]
    # Strict: a quote that is never closed would otherwise hide all rows after it.
    reader = csv.reader(itertools.chain((first,), lines), delimiter=delimiter, strict=True)
    table = _Table(next(reader), lines.record, comments)
    lines.end_record()
    for row in reader:
        table.add(row, lines.record, looking=table.rows < most_rows)
        lines.end_record()
    return CsvFacts(
        rows=table.rows,
        rows_in_quotes=table.rows_in_quotes,
        columns=table.columns,
        widest=table.widest,
        has_patient_id=table.has_patient_id,
    )


def _first_line(lines: _Lines) -> tuple[str, str | None, str]:
    """The comments before the header, the header's first line (None if there is none), and the delimiter."""
    comments: list[str] = []
    delimiter = None
    for line in lines:
        lines.end_record()
        if not line.strip():
            continue
        if delimiter is None and not comments and (named := _SEPARATOR_LINE.fullmatch(line)):
            delimiter = named[1]
        elif line.startswith("#") and not any(candidate in line for candidate in _DELIMITERS):
            comments.append(line)
            if len(comments) > _MOST_LINES:
                msg = f"it begins with more than {_MOST_LINES} lines of comments"
                raise NotCsvError(msg)
        else:
            return "".join(comments), line, delimiter or _delimiter_of(line)
    return "".join(comments), None, ","


def _delimiter_of(header: str) -> str:
    bare = _QUOTED.sub('""', header)
    if '" "' in bare and not any(delimiter in bare for delimiter in _DELIMITERS):
        return " "
    return max(_DELIMITERS, key=bare.count)


def _has_name(cells: list[str], text: str, *, rare: bool) -> bool:
    """Whether a cell of a header is the identifier, by its delimiter or by any other that a reader may try.

    `rare`: blanks and punctuation are delimiters, too, where there is no other.
    """
    if not mentions_patient_id(text):
        return False
    pieces = _pieces(text)
    names = itertools.chain(cells, pieces)
    if rare and not any(delimiter in text for delimiter in _DELIMITERS) and not _CALL.fullmatch(text.strip(' \r\n"')):
        # Each piece once: a text of many short ones is split into the same ones again and again.
        names = itertools.chain(names, {piece for each in _RARE_DELIMITERS for piece in each.split(text)})
    return any(map(is_patient_id, names))


def _pieces(text: str) -> list[str]:
    return _ALL_DELIMITERS.split(taken_apart(text))


class _Table:
    """What the records read so far amount to."""

    def __init__(self, header: list[str], lines: list[str], comments: str) -> None:
        self.columns = self.widest = self._width = len(header)
        self.rows = 0
        self.rows_in_quotes = 0
        self.has_patient_id = _has_name(header, comments + "".join(lines), rare=True)
        self._after_blank = False
        #: where the last record has the identifier in a cell
        self._named: list[int] = []
        self._count_quoted(lines)

    def add(self, row: list[str], lines: list[str], *, looking: bool) -> None:
        """The next record, as cells and as lines; the latter are not kept."""
        if not row:
            self._after_blank = True
            return
        self.rows += 1
        if len(lines) > 1 or not lines[0].isascii():
            self._count_quoted(lines)
        width = len(row)
        if looking and not self.has_patient_id:
            self._look_for_header(row, lines, reshaped=self._after_blank or width != self._width)
        self._after_blank = False
        self._width = width
        self.widest = max(self.widest, width)

    def _look_for_header(self, row: list[str], lines: list[str], *, reshaped: bool) -> None:
        """A title, a second line of names or another table may come before the header that counts.

        A list of columns with the identifier among them is no header: what comes below it there is not a number.
        """
        text = lines[0] if len(lines) == 1 else "".join(lines)
        if self._named:
            pieces = _pieces(text)
            if any(place < len(pieces) and _NUMBER.fullmatch(pieces[place]) for place in self._named):
                self.has_patient_id = True
                return
        self._named = []
        if not mentions_patient_id(text):
            return
        if reshaped and _has_name(row, text, rare=False):
            self.has_patient_id = True
        else:
            self._named = [place for place, piece in enumerate(_pieces(text)) if is_patient_id(piece)]

    def _count_quoted(self, lines: list[str]) -> None:
        enough = self.columns - 1
        # Other than the reader's, these include the ends of lines that only Unicode knows.
        for line in "".join(lines).splitlines()[1:]:
            if line.strip() and max(map(line.count, _DELIMITERS)) >= enough:
                self.rows_in_quotes += 1


class _Lines:
    """The lines of a file, none of them endless, and no endless record made of them."""

    def __init__(self, file: io.TextIOWrapper, encoding: str, stop: threading.Event) -> None:
        self._file = file
        self._announced = encoding if encoding in {"utf-16", "utf-32"} else None
        self._stop = stop
        self.number = 0
        #: the lines since a record ended
        self.record: list[str] = []
        self._characters = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._file.readline(_LONGEST_LINE)
        if not line:
            raise StopIteration
        self.number += 1
        self._characters += len(line)
        self.record.append(line)
        if self.number % _LINES_PER_LOOK == 0:
            look(self._stop)
        if len(line) == _LONGEST_LINE or self._characters > _LONGEST_RECORD:
            msg = f"line {self.number} does not end"
            raise NotCsvError(msg)
        if len(self.record) > _MOST_LINES:
            msg = f"line {self.number}: a quoted cell goes on for more than {_MOST_LINES} lines"
            raise NotCsvError(msg)
        if _BINARY.search(line):
            msg = f"line {self.number} has characters that are not text"
            raise NotCsvError(msg)
        if not line.isascii():
            self._require_known_script(line)
        return line

    def end_record(self) -> None:
        """The record that the lines since the last one belong to is complete."""
        self.record = []
        self._characters = 0

    def _require_known_script(self, line: str) -> None:
        """Some bytes are text in any encoding: what looks like none of the expected ones is not understood."""
        if self._announced is not None and _is_mostly(_FOREIGN, line):
            msg = f"line {self.number} does not look like {self._announced.upper()}, which its first bytes announce"
            raise NotCsvError(msg)
        if self._announced is None and _is_mostly(_UNDECODABLE, line):
            msg = f"line {self.number} is in an unknown encoding"
            raise NotCsvError(msg)


def _is_mostly(characters: re.Pattern[str], line: str) -> bool:
    found = sum(1 for _ in characters.finditer(line))
    return found > 3 and found * 3 > len(line)
