"""The forms that values have as text: from a text to a value, what to say of one that does not fit, and back."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_LARGEST = 2**63 - 1
#: The largest number that has a meaning for anything here: seconds are thirty years then, and threads can wait for it.
_MOST = 10**9
_DURATIONS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


class MalformedError(ValueError):
    """A text is not of the form that its variable has; the message says which form that is."""


Parse = Callable[[str, Path], Any]


def parse_text(text: str, base: Path) -> str:
    """Any text. Raises MalformedError for bytes that are none, which an environment may have."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise MalformedError("text in UTF-8") from None
    return text


def matching(pattern: str, form: str) -> Parse:
    """Text that matches a pattern; `form` says so in words."""

    def parse(text: str, base: Path) -> str:
        if re.fullmatch(pattern, text, re.ASCII) is None:
            raise MalformedError(form)
        return text

    return parse


def one_of(*choices: str, also: Mapping[str, str] | None = None, fold: Callable[[str], str] = str.lower) -> Parse:
    """One of some words; `also` are other names of them, folded or not, `fold` says how case is ignored."""

    def parse(text: str, base: Path) -> str:
        for name in (text, fold(text)):
            if also and name in also:
                return also[name]
        if fold(text) not in choices:
            raise MalformedError(f"one of {', '.join(choices)}")
        return fold(text)

    return parse


def parse_bool(text: str, base: Path) -> bool:
    """A truth value in any case. Raises MalformedError."""
    if text.lower() in {"true", "1", "yes", "on"}:
        return True
    if text.lower() in {"false", "0", "no", "off"}:
        return False
    raise MalformedError("true or false")


def whole(least: int, most: int | None = None) -> Parse:
    """A whole number that is no less than this, and no more than that."""

    def parse(text: str, base: Path) -> int:
        form = f"a whole number, {least} or more" if most is None else f"a whole number from {least} to {most}"
        if re.fullmatch(r"\+?[0-9]{1,18}", text) is None or not least <= int(text) <= (most or _LARGEST):
            raise MalformedError(form)
        return int(text)

    return parse


def parse_positive(text: str, base: Path) -> float:
    """A number above 0, and not above what can be waited for in seconds. Raises MalformedError."""
    form = "a number above 0"
    if re.fullmatch(r"\+?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text) is None:
        raise MalformedError(form)
    value = float(text)
    if value > _MOST:
        raise MalformedError(f"a number up to {_MOST}")
    if not value > 0:
        raise MalformedError(form)
    return value


def size(least: int) -> Parse:
    """A size of no less than so many bytes."""

    def parse(text: str, base: Path) -> int:
        value = parse_size(text)
        if value < least:
            raise MalformedError(f"at least {format_size(least)}")
        return value

    return parse


def parse_size(text: str) -> int:
    """Bytes from a size such as `4G`, `512m`, `4GiB`, `1.5g` or `1048576`; units are powers of 1024.

    Raises MalformedError.
    """
    match = re.fullmatch(r"([0-9]{1,19}(?:\.[0-9]{1,18})?) ?([kmgt]?)(?:i?b)?", text.strip().lower())
    if match is None or (text.strip().lower().endswith("ib") and not match[2]):
        raise MalformedError("a size such as 4G, 512m or 4GiB")
    digits, _, decimals = match[1].partition(".")
    scale: int = 10 ** len(decimals)
    bytes_ = int(digits + decimals) * _UNITS[match[2]] // scale
    if bytes_ > _LARGEST:
        raise MalformedError("a size that a machine can have")
    return bytes_


def parse_duration(text: str, base: Path | None = None) -> float:
    """Seconds, more than 0, from a duration such as `90`, `90s`, `30m`, `1.5h`, `7d` or `2w`. Raises MalformedError."""
    seconds = _seconds(text)
    if not seconds:
        raise MalformedError("a duration such as 90s, 30m, 2h or 7d")
    return seconds


def parse_age(text: str) -> float:
    """Seconds, 0 or more, from an age such as `0d`, `90m`, `12h`, `30d` or `8w`: always with a unit. Raises MalformedError."""
    seconds = None if text.strip()[-1:].isdigit() else _seconds(text)
    if seconds is None:
        raise MalformedError("an age such as 12h, 30d or 8w")
    return seconds


def _seconds(text: str) -> float | None:
    match = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,9})?) ?([smhdw]?)", text.strip().lower(), re.ASCII)
    return None if match is None else float(match[1]) * _DURATIONS[match[2]]


def format_duration(seconds: float) -> str:
    """A duration in the largest unit that it is a multiple of: `90m`, `2h`; `parse_duration` reads it back."""
    for unit in ("d", "h", "m"):
        if seconds % _DURATIONS[unit] == 0:
            return f"{seconds / _DURATIONS[unit]:.0f}{unit}"
    return f"{seconds:.12g}s"


def spoken_duration(seconds: float) -> str:
    """A length of time as people say it, in its two largest units: `12s`, `5m 03s`, `3h 10m`, `2d 4h`."""
    whole = max(0, int(seconds))
    if whole < _DURATIONS["m"]:
        return f"{whole}s"
    if whole < _DURATIONS["h"]:
        return f"{whole // _DURATIONS['m']}m {whole % _DURATIONS['m']:02}s"
    if whole < _DURATIONS["d"]:
        return f"{whole // _DURATIONS['h']}h {whole % _DURATIONS['h'] // _DURATIONS['m']:02}m"
    return f"{whole // _DURATIONS['d']}d {whole % _DURATIONS['d'] // _DURATIONS['h']}h"


def format_size(size: int) -> str:
    """A size in the largest unit that it is a multiple of; `parse_size` reads it back exactly."""
    for unit in ("t", "g", "m", "k"):
        if size and size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]}{unit.upper()}"
    return str(size)


def parse_path(text: str, base: Path) -> Path:
    """An absolute path; `~` is the home directory. Raises MalformedError."""
    if "\0" in text:
        raise MalformedError("a path")
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        raise MalformedError("a path, and there is no such home directory") from error
    # Only made absolute, not resolved: a link in it may be there to be moved.
    return base / path


def parse_organisations(text: str, base: Path) -> frozenset[str] | None:
    """GitHub organisations; None is no restriction. Raises MalformedError."""
    if text == "*":
        return None
    if text.lower() == "none":
        return frozenset()
    names = frozenset(name.strip() for name in text.split(",") if name.strip())
    if not names or any(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*", name) is None for name in names):
        raise MalformedError("names of GitHub organisations with commas between, or none, or *")
    return names


def parse_repositories(text: str, base: Path) -> str:
    """Where repositories are: an https address, or an absolute directory. Raises MalformedError."""
    if "://" not in text:
        return str(parse_path(text, base))
    if re.fullmatch(r"https://[^\s/@?#]+(/[^\s?#]*)?", text) is None:
        raise MalformedError("an https address without user, query or fragment, or a directory")
    return text.rstrip("/")


def parse_endpoint(text: str, base: Path) -> str:
    """The address of an HTTP API, with a slash at its end. Raises MalformedError."""
    if re.fullmatch(r"https?://[^\s/@?#]+(/[^\s?#]*)?", text) is None:
        raise MalformedError("an http or https address without user, query or fragment")
    return text.rstrip("/") + "/"


def parse_database_url(text: str, base: Path) -> str:
    """The address of a database, which says at least of what kind and on which host. Raises MalformedError."""
    # Only where a database is configured.
    from urllib.parse import urlsplit

    form = "a database address such as scheme://user:password@host:port/name"
    try:
        parts = urlsplit(text)
        complete = bool(parts.scheme and parts.hostname) and parts.port != 0
    except ValueError:
        complete = False
    if not complete:
        raise MalformedError(form)
    return parse_text(text, base)
