"""Reusable actions: what their names and their `action.yaml` mean. Fetching them is the business of others."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from jobrunner_cli.engine.errors import ReusableActionError
from jobrunner_cli.engine.study.pipeline import is_database_command, split_reference
from jobrunner_cli.engine.study.problems import describe_problems, shown

#: The images that actions may run in (section 7); any other name is a reusable action.
ALLOWED_IMAGES = frozenset(
    {"cohortextractor", "databuilder", "ehrql", "stata-mp", "r", "jupyter", "python", "sqlrunner"}
)

# Two letters in the wrong order are a slip; names of reusable actions that begin as an image's does are not.
_NEARLY = 0.75
_LONGEST_SLIP = 40

_NOT_THE_STUDY = "The study is not at fault: try another tag, and tell whoever maintains the reusable action."

# The name becomes part of a URL: what GitHub lets a repository be called, and nothing that leads elsewhere.
_REPOSITORY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


def is_reusable(image: str) -> bool:
    """Whether an image, with or without its version, is a reusable action's name."""
    return image.partition(":")[0] not in ALLOWED_IMAGES


def is_repository_name(name: str) -> bool:
    """Whether a repository of the organisation can have that name."""
    return _REPOSITORY.fullmatch(name) is not None and not name.endswith(".git")


def meant_image(name: str) -> str | None:
    """The image that was probably meant by a name that is none; None if it is one, or like none."""
    # A module of some ten milliseconds.
    import difflib

    if name in ALLOWED_IMAGES or len(name) > _LONGEST_SLIP:
        return None
    return next(iter(difflib.get_close_matches(name.lower(), sorted(ALLOWED_IMAGES), n=1, cutoff=_NEARLY)), None)


def parse_reference(word: str) -> tuple[str, str]:
    """`name:tag` -> the repository's name and the tag. Raises ReusableActionError if it names no repository."""
    try:
        name, tag = split_reference(word)
    except ValueError:
        raise ReusableActionError(
            f"{shown(word)} is not a reusable action and its tag, such as some-action:v1"
        ) from None
    if not is_repository_name(name):
        raise ReusableActionError(
            f"{shown(name)} is neither an image that may be used nor the name of a reusable action",
            hint=f"Images: {', '.join(sorted(ALLOWED_IMAGES))}.",
        )
    return name, tag


def resolve(action_name: str, run_words: Sequence[str], action_yaml: bytes, *, repo_url: str) -> str:
    """The command that an action runs by way of a reusable one.

    `run_words` is the study's command in words, the reference first; `action_yaml` the content of that file at the
    tag, in the repository `repo_url`. The result is the `run` of that file with the remaining words after it, quoted
    for a POSIX shell. Raises ReusableActionError, which names both actions and the repository.
    """
    # Imported here for the same reason as in `pipeline`: reading files is not part of every start.
    from jobrunner_cli.engine.study.reader import MappingNode, ScalarNode, read

    where = f"action {shown(action_name)} uses {shown(run_words[0])}, and the action.yaml of {repo_url} at that tag"
    document = read(action_yaml)
    if document.problems:
        problems = describe_problems(document.problems, name="action.yaml")
        raise ReusableActionError(f"{where} cannot be read\n{problems}", hint=_NOT_THE_STUDY)
    entries = document.root.entries if isinstance(document.root, MappingNode) else ()
    run = next((node for key, node in entries if key.value == "run"), None)
    if not isinstance(run, ScalarNode) or not isinstance(run.value, str):
        raise ReusableActionError(f"{where} has no `run` with a command", hint=_NOT_THE_STUDY)
    return shlex.join(_checked_words(run.value, run_words[1:], where))


def _checked_words(run: str, arguments: Sequence[str], where: str) -> list[str]:
    """The words of the whole command, checked with the study's arguments, which may be what names a subcommand."""
    try:
        words = shlex.split(run)
        image, _ = split_reference(words[0] if words else "")
    except ValueError:
        msg = f"{where} has a `run` that is no command with an image: {shown(run)}"
        raise ReusableActionError(msg, hint=_NOT_THE_STUDY) from None
    if is_reusable(image):
        allowed = ", ".join(sorted(ALLOWED_IMAGES))
        msg = f"{where} runs {shown(words[0])}, which is not an allowed image ({allowed})"
        raise ReusableActionError(msg, hint=_NOT_THE_STUDY)
    words += arguments
    # A program may take either spelling of its command, so both are refused.
    command = words[1] if len(words) > 1 else ""
    spellings = {command, command.replace("_", "-"), command.replace("-", "_")}
    if any(is_database_command((words[0], spelling)) for spelling in spellings):
        msg = f"{where} runs {shown(' '.join(words[:2]))}, which reads the database"
        raise ReusableActionError(msg, hint="Read the database in an action of the study, and use its outputs.")
    return words
