"""YAML's core schema: what a word without quotes stands for."""

from __future__ import annotations

import re
from typing import TypeAlias

from jobrunner_cli.engine.study.problems import Timestamp

#: The most characters of a number; Python refuses to convert far longer ones.
MAX_NUMBER = 1_000

Value: TypeAlias = str | int | float | bool | Timestamp | None

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT = re.compile(
    r"[-+]?(?:(0b)_*[01][01_]*|(0o)_*[0-7][0-7_]*|(0x)_*[0-9a-fA-F][0-9a-fA-F_]*|[0-9][0-9_]*)|[-+]_+[0-9][0-9_]*"
)
_FLOAT = re.compile(
    r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+|\._*[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?)"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_TIMESTAMP = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?"
    r"(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::?[0-9]{2})?))?"
)


def resolve_plain(text: str) -> Value:
    """What a word without quotes stands for: the 1.2 core schema (section 10.3 of its specification), with `_` between
    digits, `0b` and dates besides. Raises ValueError for a number that is too long to convert.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    whole, broken = _INT.fullmatch(text), _FLOAT.fullmatch(text)
    if whole is None and broken is None:
        return Timestamp(text) if _TIMESTAMP.fullmatch(text) else text
    if len(text) > MAX_NUMBER:
        raise ValueError(f"a number of {len(text):,} characters; the most is {MAX_NUMBER:,}")
    digits = text.replace("_", "").lower()
    if whole is None:
        return float(digits.replace(".inf", "inf").replace(".nan", "nan"))
    base = {"0b": 2, "0o": 8, "0x": 16}.get(next(filter(None, whole.groups()), ""), 10)
    return int(digits, base)
