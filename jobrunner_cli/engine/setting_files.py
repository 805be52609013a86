"""Files with settings: `.env` and `config.toml`, and whether a `.env` may be believed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from jobrunner_cli.engine.variables import UNUSED, VARIABLES

#: Seconds that git gets to say whether it tracks a file.
_GIT_PATIENCE = 10


def distrust(path: Path) -> str | None:
    """Why a `.env` is not believed, or None: a cloned study must not redirect stores or tokens (section 10)."""
    try:
        owners = {path.lstat().st_uid, path.stat().st_uid}
    except OSError as error:
        return f"it cannot be looked at ({error.strerror})"
    if owners != {os.getuid()}:
        return "another user owns it"
    return _tracked(path)


def _tracked(path: Path) -> str | None:
    # Without variables that point git elsewhere, and without programs that the repository's configuration names.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-c", "core.fsmonitor=false", "ls-files", "--error-unmatch", "--", path.name]
    try:
        answer = subprocess.run(
            command,
            cwd=path.parent,
            env={**clean, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_GIT_PATIENCE,
            check=False,
        )
    except FileNotFoundError:
        # A machine without git has cloned nothing.
        return None
    except (OSError, subprocess.TimeoutExpired):
        return "git cannot say whether it tracks it"
    if answer.returncode == 0:
        return "git tracks it"
    if answer.returncode == 1 or b"not a git repository" in answer.stderr:
        return None
    return "git cannot say whether it tracks it"


def read_dotenv(path: Path, problems: list[str]) -> Mapping[str, str]:
    """Variable -> text; lines that cannot be read go to the problems."""
    from dotenv import dotenv_values
    from dotenv.parser import parse_stream

    try:
        # A mark at its beginning would become a part of the first name, which then nobody knows.
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        problems.append(f"{path} cannot be read: {reason}")
        return {}
    broken = [binding.original.line for binding in parse_stream(StringIO(text)) if binding.error]
    if broken:
        problems.extend(f"{path}, line {line}: not of the form NAME=value" for line in broken)
        return {}
    return {name: value for name, value in dotenv_values(stream=StringIO(text)).items() if value is not None}


def read_config(path: Path, problems: list[str]) -> Mapping[str, str]:
    """Variable -> text, from keys in either case; whatever does not belong there goes to the problems."""
    import tomllib

    try:
        with path.open("rb") as stream:
            document = tomllib.load(stream)
    except OSError as error:
        problems.append(f"{path} cannot be read: {error.strerror}")
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.append(f"{path} is not TOML: {error}")
        return {}
    names = {name: variable.name for variable in VARIABLES for name in (variable.name.lower(), variable.field)}
    values: dict[str, str] = {}
    for key, value in document.items():
        name = names.get(key.lower())
        text = _as_text(value)
        if name is None:
            if key.upper() not in UNUSED:
                problems.append(f"{path}: there is no setting {key}{_suggestion(key, names)}")
        elif name in values:
            problems.append(f"{path}: {name} is set twice")
        elif text is None:
            problems.append(f"{path}: {name} must be a text, a number, a truth value or a list of texts")
        else:
            values[name] = text
    return values


def _as_text(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        # An empty list allows nothing, while an empty text would mean the default.
        return ",".join(value) or "none"
    return None


def _suggestion(key: str, names: Mapping[str, str]) -> str:
    # Only for a mistake.
    import difflib

    near = difflib.get_close_matches(key.lower(), names, n=1)
    return f"; did you mean {near[0]}?" if near else ""
