"""Which program of this machine stands for which image, where jobs run without containers.

An image's entry point is what its arguments are given to: `r:v2 analysis/model.R` runs Rscript, `ehrql:v1
generate-dataset …` runs ehrql. Here the program of that name on the search path takes the image's place.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from jobrunner_cli.engine.errors import ExecutorError, ImageMissingError
from jobrunner_cli.engine.executors.protocol import ImageInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What an image stands for."""

    #: the image's name, without registry and tag
    image: str
    #: the program's names on the search path, the preferred one first
    names: tuple[str, ...]
    #: what it is given before the action's arguments
    before: tuple[str, ...] = ()
    #: arguments that begin with one of these words name the program themselves
    spoken: tuple[str, ...] = ()
    #: the image runs any command: other first words are commands of their own, unless it is a script of the program
    runs_commands: bool = False
    script_suffix: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramCommand:
    """What is executed for one job."""

    #: absolute path of the program that stands for the image, or the first argument if none does
    program: str
    #: the words to execute; the first is looked up on the job's search path unless it has a slash
    words: tuple[str, ...]
    #: variables that the program needs to find what its user installed for it
    env: Mapping[str, str] = field(default_factory=dict)


#: The allowed images (section 7).
PROGRAMS = (
    Program(image="cohortextractor", names=("cohortextractor",), spoken=("cohortextractor",)),
    Program(image="databuilder", names=("databuilder",), spoken=("databuilder",)),
    Program(image="ehrql", names=("ehrql",), spoken=("ehrql",)),
    Program(image="jupyter", names=("jupyter",), spoken=("jupyter",), runs_commands=True),
    Program(
        image="python",
        names=("python3", "python"),
        spoken=("python3", "python"),
        runs_commands=True,
        script_suffix=".py",
    ),
    Program(image="r", names=("Rscript",), spoken=("Rscript",)),
    Program(image="sqlrunner", names=("sqlrunner",), spoken=("sqlrunner",)),
    Program(image="stata-mp", names=("stata-mp",), before=("-b", "do"), spoken=("stata-mp",)),
)


def search_path() -> str:
    """Where this machine's programs are looked for."""
    return os.environ.get("PATH") or os.defpath


def command_for(image: str, args: tuple[str, ...]) -> ProgramCommand:
    """What to execute for these arguments of this image (full name, with or without registry and tag).

    An image that no program stands for has its arguments executed as they are. Raises ImageMissingError if the
    program is not installed, ExecutorError if there is nothing to execute.
    """
    program = _program_of(image)
    if program is None:
        if not args:
            msg = f"nothing to run: the image {image} was given no arguments"
            raise ExecutorError(msg)
        return ProgramCommand(program=args[0], words=args)
    path = _installed(program)
    if path is None:
        msg = f"{program.names[0]} is not installed on this machine, and without an engine it stands for the image {image}"
        raise ImageMissingError(msg, hint=f"install {program.names[0]}, or run jobs in containers: EXECUTOR=docker")
    return ProgramCommand(program=path, words=_words(program, path, args), env=_user_environment(program))


def installed_programs() -> list[ImageInfo]:
    """The programs of this machine that stand for images, sorted by the image's name, which has no tag."""
    found = []
    for program in PROGRAMS:
        path = _installed(program)
        if path is not None:
            status = Path(path).stat()
            created = datetime.fromtimestamp(status.st_mtime, UTC).isoformat(timespec="seconds")
            found.append(ImageInfo(name=program.image, id=f"process:{path}", size=status.st_size, created=created))
    return sorted(found, key=lambda image: image.name)


def _program_of(image: str) -> Program | None:
    name = image.rpartition("/")[2].partition(":")[0].partition("@")[0]
    return next((program for program in PROGRAMS if program.image == name), None)


def _installed(program: Program) -> str | None:
    for name in program.names:
        path = shutil.which(name, path=search_path())
        if path is not None:
            return str(Path(path).absolute())
    return sys.executable if program.image == "python" and sys.executable else None


def _words(program: Program, path: str, args: tuple[str, ...]) -> tuple[str, ...]:
    if args and args[0] in program.spoken:
        return (path, *args[1:])
    is_script = bool(args and program.script_suffix) and args[0].endswith(program.script_suffix or "")
    is_command = args[:1] == ("R",) if program.image == "r" else bool(args) and program.runs_commands
    return args if is_command and not is_script else (path, *program.before, *args)


def _user_environment(program: Program) -> dict[str, str]:
    """Jobs have a home directory of their own; what a user installed for R and Python is below the real one."""
    home = Path.home()
    if program.image in {"python", "jupyter"}:
        return {"PYTHONUSERBASE": os.environ.get("PYTHONUSERBASE") or f"{home}/.local"}
    if program.image == "r" and sys.platform == "linux":
        return {"R_LIBS_USER": os.environ.get("R_LIBS_USER") or f"{home}/R/%p-library/%v"}
    return {}
