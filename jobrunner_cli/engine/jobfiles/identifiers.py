"""Recognising the name of the column that identifies patients, however it is written."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

#: Its letters and digits; with what merging two tables, or reading a table with the name twice, adds to a name.
_KEY = re.compile(r"patientid(x|y|[0-9]{1,2})?")
_MENTION = re.compile(r"p\W*a\W*t\W*i\W*e\W*n\W*t[\W_]*i\W*d", re.IGNORECASE)
#: Characters that it has at least, if they are all ASCII.
_SHORTEST = len("patientid")
#: A UTF-8 byte order mark that was taken for Latin-1 and encoded once more.
_TWICE_ENCODED_MARK = "\u00ef\u00bb\u00bf"

#: Characters that are taken apart at once: what a run of accents takes grows with the square of its length, and nothing
#: else in this process moves meanwhile.
_PIECE = 256

#: Letters that look like one of the name's, in lower case, which compatibility forms do not cover.
_LOOK_ALIKES = {
    "a": "\u0430\u03b1\u0251\u1d00",
    "d": "\u0501\u0257\u1d05",
    "e": "\u0435\u0454\u04bd\u03b5\u212e\u1d07",
    "i": "\u0456\u03b9\u0131\u0269\u026a\u04cf",
    "n": "\u0578\u057c\u03b7\u03bd\u0274",
    "p": "\u0440\u03c1\u2ca3\u1d18",
    "t": "\u0442\u03c4\u1d1b",
}
#: Letters that show nothing at all.
_FILLERS = dict.fromkeys("\u115f\u1160")
_PLAIN = str.maketrans({other: letter for letter, others in _LOOK_ALIKES.items() for other in others} | _FILLERS)


def is_patient_id(name: str) -> bool:
    """Whether a column's name is `patient_id`.

    In any case; with blanks, quotes, punctuation or invisible characters around or in it, or none between its words;
    with letters that only look like its own; with a suffix such as `_x` or `.1` of a merge.
    """
    if len(name) < _SHORTEST and name.isascii():
        return False
    return _KEY.fullmatch("".join(c for c in _plain(name.removeprefix(_TWICE_ENCODED_MARK)) if c.isalnum())) is not None


def mentions_patient_id(text: str) -> bool:
    """Whether the name may occur somewhere in a text; quick, and true more often than `is_patient_id` of a part."""
    if not text.isascii():
        text = "".join(piece.encode("ascii", "ignore").decode() for piece in _plain_pieces(text))
    return _MENTION.search(text) is not None


def taken_apart(text: str) -> str:
    """Compatibility forms replaced by what they stand for, and accents as characters of their own behind their letters.

    The order of several accents on one letter is not that of the standard, and the time linear in the text's length.
    """
    return text if text.isascii() else "".join(_taken_apart(text))


def _taken_apart(text: str) -> Iterator[str]:
    return (unicodedata.normalize("NFKD", text[at : at + _PIECE]) for at in range(0, len(text), _PIECE))


def _plain(text: str) -> str:
    """In lower case, compatibility forms and accents taken apart, look-alikes as the letters that they resemble."""
    return text.lower() if text.isascii() else "".join(_plain_pieces(text))


def _plain_pieces(text: str) -> Iterator[str]:
    for piece in _taken_apart(text):
        yield from (part.translate(_PLAIN) for part in _taken_apart(piece.casefold()))
