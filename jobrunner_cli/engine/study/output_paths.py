"""What an output path may look like."""

from __future__ import annotations

import re
from collections.abc import Iterator

from jobrunner_cli.engine.study.problems import printable
from jobrunner_cli.engine.work import PRIVACY_LEVELS, REVIEWABLE_SUFFIXES

_MODERATELY = PRIVACY_LEVELS[1]
#: By the rules of Windows: below the top of a drive, or of the directory that is current there.
_DRIVE = re.compile(r".:/|[A-Za-z]:")


def path_problems(path: str, level: str) -> Iterator[str]:
    """What is wrong with an output path, each as the end of a sentence that begins with the path."""
    if not path:
        yield "is not a path"
        return
    if any(c in path for c in "\0\n\r"):
        yield "holds a NUL or a line break"
    if "\\" in path:
        yield "holds a back slash; use `/` only"
    for sign in ("**", "?", "["):
        if sign in path:
            yield f"holds `{sign}`; the only wildcard is a single `*`"
    parts = path.split("/")
    if path.startswith("/") or _DRIVE.match(path):
        yield "is absolute; give a path from the top of the study"
    elif not all(parts) or "." in parts or ".." in parts:
        yield "is not in standard form; write it without `//`, `.`, `..` and a `/` at the end"
    if parts[0] == "metadata":
        yield "is in `metadata`, which is the runner's own"
    suffix = suffix_of(path)
    if not suffix or suffix.endswith("*"):
        yield "must end in the type of the file, such as `.csv`"
    elif level == _MODERATELY and suffix not in REVIEWABLE_SUFFIXES:
        yield f"ends in `{printable(suffix[:20])}`, and {_MODERATELY} outputs may only be {', '.join(REVIEWABLE_SUFFIXES)}"


def suffix_of(path: str) -> str:
    """The last suffix of a path's last component, with its dot; empty if there is none (`.x` and `x.` have none)."""
    name = path.rstrip("/").rpartition("/")[2]
    dot = name.rfind(".")
    return name[dot:] if 0 < dot < len(name) - 1 else ""
