"""What a user prefers in the live view: keys, theme, grouping and sorting, from `tui.toml` beside `config.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jobrunner_cli.engine.errors import ConfigurationError
from jobrunner_cli.tui.listing import Grouping, Sorting
from jobrunner_cli.tui.registry import Keys, resolve

#: What the file calls a preference -> its field.
_FIELDS = {"theme": "theme", "group": "grouping", "sort": "sorting", "hide_finished": "hide_finished"}
_SHORT_KEYS = {"/": "slash", "-": "minus", "?": "question_mark", "esc": "escape", " ": "space"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """What the file says, or what holds without it."""

    keys: Keys = field(default_factory=lambda: resolve({}))
    theme: str = "textual-dark"
    grouping: Grouping = Grouping.WORKSPACE
    sorting: Sorting = Sorting.ACTIVITY
    hide_finished: bool = False
    #: names of those of the above that the user has chosen, here or, as far as it is remembered, in the view
    said: frozenset[str] = frozenset()


def default_path() -> Path:
    """Where the file is."""
    from platformdirs import user_config_path

    return user_config_path("jobrunner", appauthor=False) / "tui.toml"


def read_preferences(path: Path) -> Preferences:
    """What the file says; the defaults where there is none. Raises ConfigurationError that names what is wrong."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Preferences()
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read: {error}"
        raise ConfigurationError(msg) from error
    try:
        return _preferences(values)
    except ValueError as error:
        msg = f"{path}: {error}"
        raise ConfigurationError(msg, hint="docs/tui.md lists what may be there") from error


def _preferences(values: dict[str, Any]) -> Preferences:
    from textual.theme import BUILTIN_THEMES

    unknown = values.keys() - {"keys", *_FIELDS}
    if unknown:
        msg = f"{min(unknown)!r} is not one of keys, {', '.join(_FIELDS)}"
        raise ValueError(msg)
    theme = values.get("theme", "textual-dark")
    if theme not in BUILTIN_THEMES:
        msg = f"theme is one of {', '.join(sorted(BUILTIN_THEMES))}"
        raise ValueError(msg)
    try:
        grouping = Grouping(values.get("group", Grouping.WORKSPACE))
        sorting = Sorting(values.get("sort", Sorting.ACTIVITY))
    except ValueError:
        msg = f"group is one of {', '.join(map(str, Grouping))}, sort one of {', '.join(map(str, Sorting))}"
        raise ValueError(msg) from None
    hide_finished = values.get("hide_finished", False)
    if not isinstance(hide_finished, bool):
        msg = "hide_finished is true or false"
        raise ValueError(msg)  # noqa: TRY004 - the caller takes all that is wrong with the file alike
    keys = values.get("keys", {})
    if not isinstance(keys, dict):
        msg = 'keys is a table of lines such as cancel = "x"'
        raise ValueError(msg)  # noqa: TRY004 - the caller takes all that is wrong with the file alike
    return Preferences(
        keys=resolve({name: _keys(name, given) for name, given in keys.items()}),
        theme=theme,
        grouping=grouping,
        sorting=sorting,
        hide_finished=hide_finished,
        said=frozenset(field_name for name, field_name in _FIELDS.items() if name in values),
    )


def _keys(name: str, given: object) -> tuple[str, ...]:
    found: list[object] = given if isinstance(given, list) else [given]
    keys = [_SHORT_KEYS.get(key, key) for key in found if isinstance(key, str) and key]
    if len(keys) < len(found):
        msg = f"keys.{name} is a key or a list of keys"
        raise ValueError(msg)
    return tuple(keys)


def with_theme(preferences: Preferences, theme: str) -> Preferences:
    """The preferences with another theme. Raises ConfigurationError if there is none of that name."""
    from textual.theme import BUILTIN_THEMES

    if theme not in BUILTIN_THEMES:
        msg = f"there is no theme {theme!r}"
        raise ConfigurationError(msg, hint=f"there are {', '.join(sorted(BUILTIN_THEMES))}")
    return replace(preferences, theme=theme, said=preferences.said | {"theme"})
