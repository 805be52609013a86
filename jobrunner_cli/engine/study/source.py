"""The bytes of a YAML file -> text -> events of PyYAML's parsers; what cannot be read becomes a `Problem`."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from jobrunner_cli.engine.study.problems import Problem
from jobrunner_cli.engine.study.syntax_errors import explained

if TYPE_CHECKING:
    import yaml

#: The most bytes of a file.
MAX_BYTES = 1024 * 1024


class UnreadableError(Exception):
    """Reading cannot go on."""

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.problem = Problem(message=message, line=line, column=column)


class YAMLSyntaxError(UnreadableError):
    """A parser does not take it as YAML."""


# Everything that YAML 1.2 lets a file consist of (section 5.1 of its specification).
_NOT_ALLOWED = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def decode(content: bytes) -> str:
    """The text of a file: UTF-8 with or without a byte order mark, or UTF-16 with one. Raises UnreadableError."""
    if len(content) > MAX_BYTES:
        raise UnreadableError(f"the file has more than {MAX_BYTES:,} bytes, and that is the most")
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = None if wide else content.count(b"\n", 0, error.start) + 1
        name = "UTF-16" if wide else "UTF-8"
        raise UnreadableError(f"the file is not {name} text (byte {error.start + 1} cannot be read)", line) from None
    if found := _NOT_ALLOWED.search(text):
        line = text.count("\n", 0, found.start()) + 1
        column = found.start() - text.rfind("\n", 0, found.start())
        raise UnreadableError(f"the character U+{ord(found.group()):04X} may not be in a YAML file", line, column)
    return text


def hide_separators(text: str) -> tuple[str, dict[int, str]]:
    """U+2028 and U+2029 end a line in YAML 1.1, which the parsers follow, and are text in 1.2: put private characters
    that the text does not use in their stead, and say how to undo it.
    """
    if "\u2028" not in text and "\u2029" not in text:
        return text, {}
    spare = (c for c in map(chr, range(0xE000, 0xF900)) if c not in text)
    stand_ins = dict(zip((0x2028, 0x2029), spare, strict=False))
    undo = {ord(stand_in): chr(separator) for separator, stand_in in stand_ins.items()}
    return text.translate(stand_ins), undo


#: A comment in a line without quotes; if the line belongs to a longer value, this is part of that value's text.
_COMMENT = re.compile(r"""^(?:[^#'"\n]*[ ])?#[^'"\n]*$""", re.MULTILINE)


#: The start of a text in lines, and a comment without a blank before it.
_CLOSE_COMMENT = re.compile("[|>][-+1-9]{0,2}#")


def parsers_may_disagree(text: str) -> bool:
    """Whether there is something that libyaml may take and PyYAML's own parser refuse: a tab, but in a comment both
    take it, or a comment close behind `|` or `>`.
    """
    if _CLOSE_COMMENT.search(text):
        return True
    return "\t" in text and "\t" in _COMMENT.sub(_up_to_the_comment, text)


def _up_to_the_comment(line: re.Match[str]) -> str:
    return line[0].partition("#")[0]


def parser_events(text: str, parser: Any) -> Iterator[yaml.Event]:
    """The events of one of PyYAML's parsers, but the last. Raises YAMLSyntaxError."""
    import yaml

    loader: Any = None
    event: yaml.Event | None = None
    try:
        loader = parser(text)
        try:
            while not isinstance(event := loader.get_event(), yaml.StreamEndEvent):
                yield event
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise YAMLSyntaxError(*explained(text, error, event, getattr(loader, "marks", ()))) from None
    except (yaml.YAMLError, ValueError, OverflowError):
        # The parser written in Python lets errors of `int` and `chr` through for absurd directives and escapes.
        raise YAMLSyntaxError("not valid YAML") from None
