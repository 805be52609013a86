"""What a YAML parser's complaint comes to: a plain sentence that says what to do, and the place of the mistake."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jobrunner_cli.engine.study.problems import printable, shown

if TYPE_CHECKING:
    import yaml

#: What ends a line for the parsers (section 5.4 of YAML 1.1).
_LINE_END = re.compile("\r\n|[\n\r\x85]")
_CONFLICT = re.compile(r"^(?:<<<<<<< |>>>>>>> )", re.MULTILINE)
_KEY_BEFORE = re.compile(r":[ \t]")
_FOUND = re.compile(r"but found '(.*)'$")


def lines_of(text: str) -> list[str]:
    """The lines of a text as YAML counts them, once separators are hidden, without their ends."""
    return _LINE_END.split(text)


def explained(
    text: str, error: yaml.MarkedYAMLError, last: yaml.Event | None, around: Sequence[yaml.Mark] = ()
) -> tuple[str, int | None, int | None]:
    """What is wrong, its line and its column, both from 1. `last` is the event before the error, `around` where the
    lists and mappings begin that it is in, as far as the parser knows.
    """
    if conflict := _CONFLICT.search(text):
        line = text.count("\n", 0, conflict.start()) + 1
        return "an unresolved merge conflict of git: keep one side and remove the markers", line, 1
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return f"not valid YAML: {_as_the_parser_says(error)}", None, None
    if error.context == "while parsing a flow node" and _is_end(text, mark) and around:
        message, mark = _open_bracket(text, mark, around[-1])
    else:
        message, mark = _sentence(text, error, mark, last)
    written = lines_of(text.rstrip())
    if mark.line >= len(written):
        return f"not valid YAML: {message}", len(written), 1
    return f"not valid YAML: {message}", mark.line + 1, mark.column + 1


def _as_the_parser_says(error: yaml.MarkedYAMLError) -> str:
    return ", ".join(printable(part) for part in (error.context, error.problem) if part)


def _sentence(
    text: str, error: yaml.MarkedYAMLError, mark: yaml.Mark, last: yaml.Event | None
) -> tuple[str, yaml.Mark]:
    context, problem, opened = error.context or "", error.problem or "", error.context_mark
    line = (lines_of(text)[mark.line : mark.line + 1] or [""])[0]
    before, sign = line[: mark.column], line[mark.column : mark.column + 1]
    if sign == "\t":
        return "a tab where only spaces may stand", mark
    if opened is not None:
        if context.endswith("quoted scalar") and "unexpected" in problem:
            return "the quote that is opened here is never closed", opened
        if context in {"while parsing a flow sequence", "while parsing a flow mapping"}:
            return _open_bracket(text, mark, opened)
        if context == "while scanning a simple key":
            advice = "write `: ` after a key, indent a value's further lines, or put text in quotes"
            return f"neither a key nor a part of the value above; {advice}", opened
        if problem.startswith("expected <block end>"):
            return _misplaced(before, sign, problem, mark, opened, last), mark
        if context in {"while scanning an alias", "while scanning an anchor", "while scanning a tag"}:
            return f"text that begins with `{text[opened.index : opened.index + 1]}` must be in quotes", opened
        if context == "while scanning a block scalar" and problem.startswith(
            ("expected chomping", "expected a comment")
        ):
            return "text after `|` or `>` begins in the next line; put other text in quotes", mark
    return _cannot_stand(before, sign, problem) or _as_the_parser_says(error), mark


def _cannot_stand(before: str, sign: str, problem: str) -> str | None:
    """What cannot stand where it does, whatever is around it."""
    if problem.startswith("expected '<document start>'"):
        if before.strip():
            return "one value ends before this; put the whole in quotes, or begin a new line"
        advice = "the keys at the top of a file all begin in one column"
        return f"wrong indentation: what is above this line is indented further; {advice}"
    if problem.startswith("mapping values are not allowed"):
        if _KEY_BEFORE.search(before):
            return "a second `: ` in one line; put the whole value in quotes"
        return "a key cannot begin here; indent it like the keys beside it, or put the value above in quotes"
    if problem.startswith("sequence entries are not allowed"):
        return "a list cannot begin in the line of its key; begin it in the next one, or put the value in quotes"
    if problem.endswith("cannot start any token") or (
        problem.startswith("expected the node content") and sign in "]},"
    ):
        return f"text that begins with {shown(sign)} must be in quotes"
    if problem.startswith("found unknown escape"):
        escape = printable(sign)
        return f"`\\{escape}` means nothing in double quotes; write `\\\\{escape}`, or use single quotes"
    return None


def _is_end(text: str, mark: yaml.Mark) -> bool:
    return mark.index >= len(text.rstrip())


def _open_bracket(text: str, mark: yaml.Mark, opened: yaml.Mark) -> tuple[str, yaml.Mark]:
    bracket = text[opened.index : opened.index + 1]
    closing = "]" if bracket == "[" else "}"
    if _is_end(text, mark):
        return f"the `{bracket}` that is opened here is never closed", opened
    return f"a comma or `{closing}` is missing before this; the `{bracket}` is opened in line {opened.line + 1}", mark


def _misplaced(
    before: str, sign: str, problem: str, mark: yaml.Mark, opened: yaml.Mark, last: yaml.Event | None
) -> str:
    """What begins where the mapping or list around it cannot go on."""
    import yaml

    if sign in {"]", "}", ","}:
        return f"this `{sign}` closes or parts nothing; remove it, or put the whole value in quotes"
    if before.strip():
        if isinstance(last, yaml.ScalarEvent) and last.style in {"'", '"'}:
            start = last.start_mark
            if start is not None and start.line < mark.line:
                return f"the quote that is opened in line {start.line + 1} ends here; close it where its text ends"
            return "there is text after the closing quote; put the whole value in quotes of the other kind"
        return "one value ends before this; put the whole in quotes, or begin a new line"
    found = _FOUND.search(problem)
    if found is not None and found[1] == "-":
        return f"a list's item among keys (from line {opened.line + 1} on); put it below its own key"
    if found is not None and found[1] == "?":
        return f"a key among the items of a list (from line {opened.line + 1} on); indent it like what it belongs to"
    where = f"from line {opened.line + 1} on, what is around it begins in column {opened.column + 1}"
    return f"wrong indentation: {where}; indent this line like those that it belongs to"
