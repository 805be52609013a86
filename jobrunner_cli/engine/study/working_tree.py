"""What a local repository has that its commits do not: the branch that is checked out, and changes that are not committed.

A study's own configuration can name programs that git runs when it compares files (filters, a monitor of the file
system, those of submodules). So git is given an empty repository of ours, which only borrows the study's objects and
index: there is no configuration of the study's in it, and nothing is written to the study.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from jobrunner_cli.engine.errors import GitError
from jobrunner_cli.engine.study.git import Git

#: Seconds until a tree that is too large to be looked through is given up.
_PATIENCE = 3.0

_STATUS = ("status", "--porcelain", "-z", "--untracked-files=normal", "--no-renames", "--ignore-submodules=all")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkingTree:
    """How a working tree stands."""

    #: the branch that is checked out; None if none is
    branch: str | None
    #: the full SHA of the commit that is checked out
    head: str
    #: files differ from that commit, or are new and not ignored
    is_changed: bool


def look_at(git: Git, path: Path, *, besides: Iterable[Path] = ()) -> WorkingTree | None:
    """The working tree at the top of a repository; None if it has none, no commit, or cannot be looked at in time.

    `besides` are directories that do not count where the repository does not have them, such as the work directory.
    """
    marker = path / ".git"
    if not marker.exists():
        return None
    try:
        places = _ask(
            git, marker, "rev-parse", "--path-format=absolute",
            "--git-path", "objects", "--git-path", "index", "--git-path", "info/exclude",
        )  # fmt: skip
        head = _ask(git, marker, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        if places is None or head is None:
            return None
        branch = _ask(git, marker, "symbolic-ref", "--quiet", "--short", "HEAD")
        changed = _changed(git, path, head, *places.splitlines())
    except (GitError, OSError, TypeError, ValueError):
        return None
    if changed is None:
        return None
    own = [place.absolute() for place in besides]
    return WorkingTree(branch=branch, head=head, is_changed=any(_counts(path, entry, own) for entry in changed))


def _ask(git: Git, git_dir: Path, *args: str) -> str | None:
    result = git.run(*args, git_dir=git_dir, timeout=_PATIENCE)
    return os.fsdecode(result.stdout).strip() or None if result.returncode == 0 else None


def _changed(git: Git, path: Path, head: str, objects: str, index: str, exclude: str) -> list[str] | None:
    """The entries of `git status`; None without an index, as in a clone whose files were never laid out."""
    if not Path(index).is_file():
        return None
    with tempfile.TemporaryDirectory() as empty:
        git_dir = Path(empty)
        (git_dir / "refs").mkdir()
        (git_dir / "HEAD").write_text(f"{head}\n")
        result = git.run(
            *_STATUS,
            git_dir=git_dir,
            config=(("core.excludesFile", exclude), ("core.fsmonitor", "false")),
            variables={
                "GIT_WORK_TREE": str(path),
                "GIT_INDEX_FILE": index,
                "GIT_OBJECT_DIRECTORY": objects,
                "GIT_OPTIONAL_LOCKS": "0",
            },
            timeout=_PATIENCE,
        )
    if result.returncode != 0 or result.timed_out:
        return None
    return [entry for entry in os.fsdecode(result.stdout).split("\0") if entry]


def _counts(path: Path, entry: str, own: Iterable[Path]) -> bool:
    """Whether this is a change of the study, and not a directory of ours that happens to lie in it."""
    if not entry.startswith("?? "):
        return True
    place = (path / entry[3:]).absolute()
    return not any(directory.is_relative_to(place) for directory in own)
