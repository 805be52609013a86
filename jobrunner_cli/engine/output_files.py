"""The outputs of a job as files: where each is, a copy of one, and the program that shows one."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jobrunner_cli.engine.errors import NotFoundError, UsageError
from jobrunner_cli.engine.work import REVIEWABLE_SUFFIXES

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.models import Job
    from jobrunner_cli.engine.work import Outcome

#: What a pager makes nothing of.
_PICTURES = {".jpg", ".jpeg", ".png", ".svg", ".svgz", ".html"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFile:
    """One output of a job."""

    #: below the directory of the workspace
    path: str
    level: str
    #: in bytes; None where no verdict tells
    size: int | None
    content_hash: str | None
    #: why it was kept from release; None if it was not
    held_back: str | None
    #: where it was stored, and where it, or the message in its place, was released to
    file: Path
    release: Path
    workspace: str

    @property
    def exists(self) -> bool:
        """Whether it is where it was stored; a link is not an output."""
        return _is_file(self.file)

    @property
    def released(self) -> Path | None:
        """Where it, or the message in its place, is for those who may see what is released."""
        return self.release if self.level == "moderately_sensitive" and _is_file(self.release) else None


def output_files(settings: Settings, job: Job, outcome: Outcome | None) -> list[OutputFile]:
    """The outputs of a job by their paths; `outcome` is its verdict. Looks at no disk."""
    stored = {each.path: each for each in outcome.outputs} if outcome is not None else {}
    high, medium = settings.high_workspace(job.workspace), settings.medium_workspace(job.workspace)
    found = []
    for path, level in sorted(job.outputs.items()):
        held_back, known = job.level4_excluded_files.get(path), stored.get(path)
        found.append(
            OutputFile(
                path=path,
                level=level,
                size=known.size if known is not None else None,
                content_hash=known.content_hash if known is not None else None,
                held_back=held_back,
                file=high / path,
                release=medium / (path if held_back is None else f"{path}.txt"),
                workspace=job.workspace,
            )
        )
    return found


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


def require_file(output: OutputFile) -> Path:
    """Where the output is. Raises NotFoundError if it is gone."""
    if not output.exists:
        msg = f"the output is gone: {output.file}"
        raise NotFoundError(msg, hint=f"jobrunner workspaces show {output.workspace} says whether it was archived")
    return output.file


def copy_output(source: Path, to: str | Path, *, force: bool) -> Path:
    """Copy a file to a file or into a directory, so that nobody reads a half; returns where the copy is.

    Only whoever asked can read the copy. Raises UsageError if a file is there and it is not to be copied over by
    `force`, or if there is no such directory.
    """
    place = Path(to)
    # Whoever writes a slash at the end means a directory.
    target = place / source.name if place.is_dir() or str(to).endswith("/") else place
    if not target.parent.is_dir():
        msg = f"there is no directory {target.parent}"
        raise UsageError(msg)
    if target.exists() and not force:
        msg = f"{target} exists"
        raise UsageError(msg, hint="--force copies over it")
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as into, source.open("rb") as stream:
            shutil.copyfileobj(stream, into, 1 << 20)
        # What was kept from others stays so: the copy is for whoever asked, as mkstemp makes it.
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return target


def pager_words() -> list[str]:
    """The user's pager, `less` if there is none. Raises UsageError if PAGER is not the words of a command."""
    try:
        return shlex.split(os.environ.get("PAGER", "")) or ["less"]
    except ValueError as error:
        msg = f"PAGER is not a command: {error}"
        raise UsageError(msg) from error


def viewer_of(path: Path, *, on_terminal: bool) -> list[str]:
    """The program, and its words, that shows a file: on a terminal $PAGER, if it is text; else what the desktop has.

    Raises UsageError where there is no such program.
    """
    if path.suffix.lower() in set(REVIEWABLE_SUFFIXES) - _PICTURES and on_terminal:
        command = [*pager_words(), str(path)]
    else:
        opener = next((name for name in ("xdg-open", "open") if shutil.which(name)), None)
        if opener is None:
            msg = f"nothing here can show {path.name}"
            raise UsageError(msg, hint=f"copy it, or look at {path}")
        command = [opener, str(path)]
    if shutil.which(command[0]) is None:
        msg = f"there is no program {command[0]}"
        raise UsageError(msg, hint="PAGER names the one to use")
    return command
