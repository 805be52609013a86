"""Rows in a form that the user gives: a text in which `{name}` stands for a value of the row."""

from __future__ import annotations

import string
from collections.abc import Callable, Collection, Mapping
from typing import Any

from jobrunner_cli.engine.errors import UsageError


def row_writer(form: str, names: Collection[str]) -> Callable[[Mapping[str, Any]], str]:
    r"""A function that fills in the form from a row with these names; `\t` and `\n` in the form are what they say.

    Raises UsageError for a name that no row has, and for a form that cannot be read.
    """
    try:
        pieces = list(string.Formatter().parse(form.replace("\\t", "\t").replace("\\n", "\n")))
    except ValueError as error:
        msg = f"--format {form!r} cannot be read: {str(error).lower()}"
        raise UsageError(msg, hint="{{ and }} stand for braces") from None
    for _, name, spec, conversion in pieces:
        if name is not None and (name not in names or spec or conversion):
            msg = f"--format knows no {{{name}{'!' + conversion if conversion else ''}{':' + spec if spec else ''}}}"
            raise UsageError(msg, hint=f"it knows: {', '.join(sorted(names))}")

    def write(row: Mapping[str, Any]) -> str:
        return "".join(text + (_shown(row[name]) if name is not None else "") for text, name, _, _ in pieces)

    return write


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
