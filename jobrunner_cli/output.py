"""stdout: the results of commands, as tables that fit the terminal, as plain text in a pipe, or as JSON."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobrunner_cli.engine.forms import spoken_duration

if TYPE_CHECKING:
    from jobrunner_cli.engine.states import StatusCode

_GAP = "  "
#: A text that is cut to less than this says nothing any more.
_LEAST = 8
#: Columns below which sentences are not folded any more.
_LEAST_PROSE = 20
#: What the styles of a legend are on a terminal (ECMA-48, section 8.3.117).
_SGR = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}

#: The pieces of a line: a text, and its style or "".
Line = list[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table."""

    title: str
    value: Callable[[Any], str]
    #: the style of a row's cell
    style: Callable[[Any], str] | None = None
    #: is left out where no row has anything in it
    optional: bool = False
    right: bool = False
    #: only on a terminal, where it says nothing that another column does not say in words
    ornament: bool = False
    #: where the terminal is too narrow, columns give way in this order; None never does
    yields: int | None = None
    #: how many characters it keeps then; with 0 it is left out before it says nothing any more
    least: int = 0
    #: further turns at which it gives way once more, each with what it keeps then
    further: tuple[tuple[int, int], ...] = ()
    #: its beginning stands for the whole, so it is cut without an ellipsis
    prefix: bool = False


def table(rows: Sequence[Any], columns: Sequence[Column]) -> None:
    """Rows as a table, one line each: fitted to a terminal, plain and uncut in a pipe."""
    fits = room()
    shown = [column for column in columns if not column.ornament] if fits is None else columns
    for pieces in lines(rows, shown, fits):
        print("".join(styled(text, style) for text, style in pieces))


def lines(rows: Sequence[Any], columns: Sequence[Column], width: int | None) -> list[Line]:
    """The title and the rows of a table, no wider than `width` as far as its columns give way."""
    cells = [[one_line(column.value(row)) for column in columns] for row in rows]
    widths = {
        n: max(display_width(text) for text in (columns[n].title, *(line[n] for line in cells)))
        for n in range(len(columns))
        if not columns[n].optional or any(line[n] for line in cells)
    }
    if width is not None:
        _give_way(widths, columns, width)
    titles = [(_fit(columns[n].title, widths[n], columns[n]), "bold") for n in widths]
    made = [titles]
    for row, line in zip(rows, cells, strict=True):
        styles = {n: pick(row) for n in widths if (pick := columns[n].style)}
        made.append([(_fit(line[n], widths[n], columns[n]), styles.get(n, "")) for n in widths])
    return [_spaced(pieces) for pieces in made]


def _spaced(pieces: Line) -> Line:
    """The pieces with gaps between them, and without blanks at the end."""
    spaced: Line = []
    for text, style in pieces:
        spaced += [(_GAP, ""), (text, style)]
    while spaced and not spaced[-1][0].strip():
        spaced.pop()
    return [*spaced[1:-1], (spaced[-1][0].rstrip(), spaced[-1][1])] if spaced else []


def _give_way(widths: dict[int, int], columns: Sequence[Column], width: int) -> None:
    """Take from the widths what the terminal has not; a column that is left out goes altogether."""
    wished = dict(widths)
    turns = [(turn, n, columns[n].least) for n in widths if (turn := columns[n].yields) is not None]
    turns += [(turn, n, least) for n in widths for turn, least in columns[n].further]
    for _, n, least in sorted(turns):
        excess = sum(widths.values()) + len(_GAP) * (len(widths) - 1) - width
        if excess <= 0:
            break
        left = widths[n] - excess
        if least:
            widths[n] = max(left, min(least, widths[n]))
        elif left >= _LEAST and not columns[n].right:
            widths[n] = left
        else:
            del widths[n]
    # What a column left that went altogether is for those that gave way before it, the most important one first.
    for _, n, _ in sorted(turns, reverse=True):
        rest = width - sum(widths.values()) - len(_GAP) * (len(widths) - 1)
        if rest > 0 and n in widths:
            widths[n] = min(wished[n], widths[n] + rest)


def _fit(text: str, width: int, column: Column) -> str:
    """A text in exactly so many columns of the terminal."""
    if display_width(text) > width:
        mark = "" if column.prefix else "…" if has_glyphs() else "..."
        mark = mark[:width]
        text = beginning(text, width - len(mark)) + mark
    blanks = " " * (width - display_width(text))
    return blanks + text if column.right else text + blanks


def display_width(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    # Only for texts of other scripts, and the glyphs of the legend.
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(char) else 2 if east_asian_width(char) in {"W", "F"} else 1 for char in text)


def beginning(text: str, width: int) -> str:
    """As much of the beginning of a text as fits in so many columns of a terminal; none if there are fewer than one."""
    if text.isascii():
        return text[: max(0, width)]
    end = 0
    while end < len(text) and (width := width - display_width(text[end])) >= 0:
        end += 1
    return text[:end]


def one_line(text: str) -> str:
    """A text without line ends and without anything that a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or "\ud800" <= char <= "\udfff" else " " for char in text)


def styled(text: str, style: str) -> str:
    """A text as it is written to stdout: in its style, if that is a terminal with colours."""
    capable = sys.stdout.isatty() and os.environ.get("TERM", "") not in {"", "dumb"}
    if not style or not capable or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{';'.join(_SGR[word] for word in style.split())}m{text}\x1b[0m"


def is_plain() -> bool:
    """Whether stdout takes nothing but ASCII for sure: its encoding lacks lines and glyphs, or its terminal is `dumb`."""
    return not has_glyphs() or os.environ.get("TERM") == "dumb"


def has_glyphs() -> bool:
    """Whether the encoding of stdout has lines, glyphs and an ellipsis."""
    try:
        "╭─┬▼✔…".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def glyph(code: StatusCode) -> str:
    """The legend's character for a code, as far as stdout has it."""
    from jobrunner_cli import theme

    return theme.glyph(code, plain=not has_glyphs())


def width(in_a_pipe: int) -> int:
    """The columns that stdout has: COLUMNS, or the terminal's; in a pipe without either, so many."""
    import shutil

    return shutil.get_terminal_size((in_a_pipe, 24)).columns


def room(indent: int = 0) -> int | None:
    """The columns that are left on a terminal behind an indentation; None where nothing has to fit."""
    return _terminal_width() - indent if sys.stdout.isatty() else None


def pieces(found: Line) -> None:
    """A line of pieces in their styles."""
    print("".join(styled(text, style) for text, style in found))


def _terminal_width() -> int:
    # COLUMNS, then the terminal itself, then 80.
    import shutil

    return shutil.get_terminal_size().columns


def json_text(value: Any, *, indent: int | None = None) -> str:
    """A value as JSON that stdout takes as it is and no terminal obeys: what is no character to be seen is escaped."""
    import json

    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    text = json.dumps(value, indent=indent, ensure_ascii=not unicode, default=str)
    if text.isascii() and "\x7f" not in text:
        return text
    # JSON itself ends lines, and has other control characters escaped already.
    return "".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text)


def as_json(value: Any) -> None:
    """A value as JSON with stable keys."""
    print(json_text(value, indent=2))


def json_rows(rows: Iterable[Any]) -> None:
    """Values as an array of JSON, each written as soon as it is there; what `as_json` prints of a list of them."""
    begin = "["
    for row in rows:
        text = json_text(row, indent=2).replace("\n", "\n  ")
        sys.stdout.write(f"{begin}\n  {text}")
        begin = ","
    print("[]" if begin == "[" else "\n]")


def line(text: str = "") -> None:
    """A line of text."""
    print(text)


def prose(text: str, *, first: str = "", rest: str = "", style: str = "") -> None:
    """A sentence behind `first`; on a terminal that is too narrow it is folded between words, further lines behind `rest`."""
    for number, part in enumerate(fold(one_line(text), room(max(len(first), len(rest))))):
        print(styled(f"{rest if number else first}{part}", style))


def fold(text: str, width: int | None, *, whole_words: bool = True) -> list[str]:
    """A text of one line in lines of so many columns, folded between words and between characters of two columns.

    A longer word stays whole for whoever copies it, unless `whole_words` says that nothing may be wider. With None, and
    where there are too few columns for whole words, so does the text.
    """
    if width is None or (whole_words and width < _LEAST_PROSE) or display_width(text) <= width:
        return [text]
    # Only for what does not fit.
    import re

    made, line, left = [], "", width
    for gap, word in re.findall(r"(\s*)(\S+)", text):
        for number, piece in enumerate(_inseparable(word)):
            more = piece if number else gap + piece
            if not whole_words and display_width(piece) > width:
                cut, line = _cut(line, more, width)
                made += cut
                left = width - display_width(line)
                continue
            if line and display_width(more) > left:
                made.append(line)
                line, left, more = "", width, piece
            line += more
            left -= display_width(more)
    return [*made, line]


def _cut(line: str, text: str, width: int) -> tuple[list[str], str]:
    """The lines that are filled if a text goes on behind a line, and what is left of it for the next line."""
    made = []
    while (room_left := width - display_width(line)) < display_width(text):
        # A character that is wider than a line has its own.
        part = beginning(text, room_left) or ("" if line else text[:1])
        made.append((line + part).rstrip())
        line, text = "", text[len(part) :].lstrip()
    return made, line + text


def _inseparable(word: str) -> list[str]:
    """The pieces of a word between which a line may end: as people who write them do, beside each wide character."""
    if word.isascii():
        return [word]
    found = [""]
    wide = False
    for char in word:
        columns = display_width(char)
        if columns and found[-1] and (wide or columns > 1):
            found.append("")
        found[-1] += char
        wide = columns > 1 if columns else wide
    return found


def pairs(values: Mapping[str, str], *, folded: Collection[str] = ()) -> None:
    """Names and values, aligned; empty ones are left out, and further lines of a value stand below its first.

    The values of those names that are `folded` are sentences, which go on in the next line where they do not fit.
    """
    shown = {name: value for name, value in values.items() if value}
    longest = max((len(name) for name in shown), default=0)
    for name, value in shown.items():
        parts = [one_line(part) for part in value.splitlines()]
        if name in folded:
            parts = [part for each in parts for part in fold(each, room(longest + len(_GAP)))]
        for number, part in enumerate(parts):
            print(f"{'' if number else name:<{longest}}{_GAP}{part}".rstrip())


def command(text: str) -> str:
    """A command line, quoted so that people can read it: what has single quotes in it stands in double ones if it can."""
    import shlex

    try:
        words = shlex.split(text)
    except ValueError:
        return text
    return " ".join(
        f'"{word}"' if "'" in word and not set('"$`\\!\n').intersection(word) else shlex.quote(word) for word in words
    )


def ago(timestamp: float | None, now: float | None = None) -> str:
    """How long ago a time was, as people say it: `12s`, `5m 03s`, `3h 10m`, `2d 4h`."""
    if timestamp is None:
        return ""
    return duration((time.time() if now is None else now) - timestamp)


def duration(seconds: float) -> str:
    """A length of time as people say it."""
    return spoken_duration(seconds)


def counted(number: int, noun: str) -> str:
    """So many of something whose plural has an s, such as `1 job`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def size(count: float) -> str:
    """A number of bytes as people say it."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError


def utc(timestamp: float | None) -> str | None:
    """A UNIX time as ISO 8601 in UTC; None also for a number that is no time, which rows of other programs may have."""
    try:
        return None if timestamp is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(timestamp))
    except (OverflowError, OSError, ValueError):
        return None
