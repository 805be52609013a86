"""What the live view remembers from one start to the next: grouping, sorting, hidden finished jobs and the theme.

The file is the view's own. What cannot be read or written of it is passed over: nobody's work depends on it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from jobrunner_cli.tui.listing import Grouping, Sorting
from jobrunner_cli.tui.preferences import Preferences


def default_path() -> Path:
    """Where the file is."""
    from platformdirs import user_state_path

    return user_state_path("jobrunner", appauthor=False) / "tui.json"


def with_memory(preferences: Preferences, path: Path) -> Preferences:
    """The preferences, with what is remembered in place of what the user has said nothing about."""
    found = {name: value for name, value in _recalled(path).items() if name not in preferences.said}
    return replace(preferences, **found, said=preferences.said | found.keys())


def remember(path: Path, before: Preferences, now: Preferences) -> None:
    """Write what is other now than it was at the start; what else is remembered stays."""
    changed = {name: getattr(now, name) for name in _FORMS if getattr(now, name) != getattr(before, name)}
    if not changed:
        return
    values = {**_recalled(path), **changed}
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = tempfile.NamedTemporaryFile(  # noqa: SIM115 - it is closed, and stays
            "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
        )
        try:
            with handle:
                json.dump(values, handle)
            Path(handle.name).replace(path)
        except BaseException:
            Path(handle.name).unlink(missing_ok=True)
            raise


def _recalled(path: Path) -> dict[str, Any]:
    """What the file says, as far as it can be believed."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(values, dict):
        return {}
    found = {}
    for name, form in _FORMS.items():
        with suppress(KeyError, ValueError, TypeError):
            found[name] = form(values[name])
    return found


def _theme(value: Any) -> str:
    from textual.theme import BUILTIN_THEMES

    if value not in BUILTIN_THEMES:
        raise ValueError(value)
    return str(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(value)
    return value


#: Name of a preference that is remembered -> how its value is read.
_FORMS: Mapping[str, Any] = {"theme": _theme, "grouping": Grouping, "sorting": Sorting, "hide_finished": _flag}
