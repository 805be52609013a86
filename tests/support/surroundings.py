"""The surroundings that every test finds: nothing of the machine's own settings, a home and a place of its own."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

#: What the suite itself was started with, for the few things that must see it: finding the engine, the bootstrap.
STARTED_WITH: Mapping[str, str] = dict(os.environ)

#: Everything else is taken away. A list of what stays needs no care when a variable is added to the settings.
_STAYS = re.compile(r"PATH|TMPDIR|USER|LOGNAME|SHELL|PYENV_ROOT|(COVERAGE|COV|PYTEST|JOBRUNNER_TESTS)_.*")

#: Commits are made by nobody in particular, and no configuration of the machine's git is read.
GIT = {
    "GIT_AUTHOR_NAME": "A Researcher",
    "GIT_AUTHOR_EMAIL": "researcher@example.org",
    "GIT_COMMITTER_NAME": "A Researcher",
    "GIT_COMMITTER_EMAIL": "researcher@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
}


def environment(home: Path) -> dict[str, str]:
    """The whole environment of a test whose home is this directory."""
    return {
        **{name: value for name, value in os.environ.items() if _STAYS.fullmatch(name)},
        **GIT,
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_DATA_HOME": str(home / ".local/share"),
        "XDG_STATE_HOME": str(home / ".local/state"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_RUNTIME_DIR": str(home / ".run"),
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
    }
