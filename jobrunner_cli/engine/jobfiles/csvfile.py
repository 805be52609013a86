"""Reading a CSV file that nobody vouches for: its rows, its columns, and whether one of them identifies patients.

Delimiter and encoding are found out; memory stays small whatever the file holds.
"""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import os
import re
import string
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from jobrunner_cli.engine.jobfiles.walk import look

#: Characters of one line, and of one record, beyond which a file is no longer taken for CSV.
_LONGEST_LINE = 1 << 20
_LONGEST_RECORD = 1 << 22
_LINES_PER_LOOK = 2048

_DELIMITERS = ",;\t|"
_RARE_DELIMITERS = re.compile(r"[\s:^~]+")
_ALL_DELIMITERS = re.compile(r"[,;\t|\r\n]")
_QUOTED = re.compile(r'"[^"]*"')
_SEPARATOR_LINE = re.compile(r'"?sep=([^"\r\n])"?[\r\n]*')
#: Control characters that no text has.
_BINARY = re.compile(r"[\x00-\x08\x0e-\x1f]")
#: What may stand around a column's name without being part of it.
_AROUND_NAMES = string.whitespace + "\"'`#\ufeff\u200b\u00a0"
_IDENTIFIER = "patient_id"

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
    #: names in the header
    columns: int
    has_patient_id: bool


def read_csv(handle: int, *, stop: threading.Event) -> CsvFacts:
    """Read an open file from its start. Raises NotCsvError, Stopped, OSError."""
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
        lines = _Lines(file, stop)
        try:
            return _read(lines)
        except UnicodeError as error:
            msg = f"it is not {encoding.upper()}, which its first bytes announce"
            raise NotCsvError(msg) from error
        except csv.Error as error:
            msg = f"line {lines.number}: {error}"
            raise NotCsvError(msg) from error


def _read(lines: _Lines) -> CsvFacts:
    comments, first, delimiter = _first_line(lines)
    if first is None:
        return CsvFacts(rows=0, columns=0, has_patient_id=_identifies([], comments))
    # Strict: a quote that is never closed would otherwise hide all rows after it.
    reader = csv.reader(itertools.chain((first,), lines), delimiter=delimiter, strict=True)
    lines.keep = []
    header = next(reader)
    text = comments + first + "".join(lines.keep)
    lines.keep = None
    rows = 0
    for row in reader:
        lines.record = 0
        if row:
            rows += 1
    return CsvFacts(rows=rows, columns=len(header), has_patient_id=_identifies(header, text))


def _first_line(lines: _Lines) -> tuple[str, str | None, str]:
    """The comments before the header, the header's first line (None if there is none), and the delimiter."""
    comments = ""
    delimiter = None
    for line in lines:
        if not line.strip():
            lines.record = 0
        elif delimiter is None and not comments and (named := _SEPARATOR_LINE.fullmatch(line)):
            delimiter = named[1]
        elif line.startswith("#") and not any(candidate in line for candidate in _DELIMITERS):
            comments += line
        else:
            return comments, line, delimiter or _delimiter_of(line)
    return comments, None, ","


def _delimiter_of(header: str) -> str:
    bare = _QUOTED.sub('""', header)
    if '" "' in bare and not any(delimiter in bare for delimiter in _DELIMITERS):
        return " "
    return max(_DELIMITERS, key=bare.count)


def _identifies(header: list[str], text: str) -> bool:
    """Whether a column of the header is the identifier, by its delimiter or by any other that a reader may try."""
    names = itertools.chain(header, _ALL_DELIMITERS.split(text))
    if not any(delimiter in text for delimiter in _DELIMITERS):
        names = itertools.chain(names, _RARE_DELIMITERS.split(text))
    return any(name.strip(_AROUND_NAMES).casefold() == _IDENTIFIER for name in names)


class _Lines:
    """The lines of a file, none of them endless, and no endless record made of them."""

    def __init__(self, file: io.TextIOWrapper, stop: threading.Event) -> None:
        self._file = file
        self._stop = stop
        self.number = 0
        #: characters since a record ended
        self.record = 0
        #: the lines read, while somebody wants them
        self.keep: list[str] | None = None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._file.readline(_LONGEST_LINE)
        if not line:
            raise StopIteration
        self.number += 1
        self.record += len(line)
        if self.number % _LINES_PER_LOOK == 0:
            look(self._stop)
        if len(line) == _LONGEST_LINE or self.record > _LONGEST_RECORD:
            msg = f"line {self.number} does not end"
            raise NotCsvError(msg)
        if _BINARY.search(line):
            msg = f"line {self.number} has characters that are not text"
            raise NotCsvError(msg)
        if self.keep is not None:
            self.keep.append(line)
        return line
