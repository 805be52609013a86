"""A study's pipeline as it was checked: its actions, the command of each, and what follows from them.

Pure values, cheap to import; reading a file happens in `reader`, judging it in `rules`.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from jobrunner_cli.engine.errors import ProjectValidationError
from jobrunner_cli.engine.study.problems import Problem, describe_problems

#: The name that requests use for "every action"; below version 5 an action may bear it as well.
RUN_ALL = "run_all"

#: The images whose `generate-dataset` writes patients' data.
DATASET_IMAGES = ("ehrql", "databuilder")
_DATABASE_COMMANDS = frozenset(
    {
        ("ehrql", "generate-dataset"),
        ("ehrql", "generate-measures"),
        ("databuilder", "generate-dataset"),
        ("cohortextractor", "generate_cohort"),
        ("cohortextractor", "generate_codelist_report"),
    }
)
#: What may stand after the colon of an image.
TAG_PATTERN = r"v[0-9.]*[0-9][0-9.]*(?:-pre)?|dev|latest"
_TAG = re.compile(TAG_PATTERN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One action of a checked project.yaml."""

    name: str
    #: the `run` text as it was written
    run: str
    #: that text, split as a shell would; the first word is `image:version`
    words: tuple[str, ...]
    #: the actions whose outputs it reads, in the order and as often as it names them
    needs: tuple[str, ...]
    #: privacy level -> output id -> pattern, strictest level first; levels that are null are absent
    outputs: Mapping[str, Mapping[str, str]]
    #: what `--config` is given; empty if there is none
    config: Mapping[str, Any] = field(default_factory=dict)
    #: a file of the study that stands in for a cohort on dummy data
    dummy_data_file: str | None = None
    #: patients in a made-up cohort; None from version 4 on
    population_size: int | None = None

    @property
    def image(self) -> str:
        """The image's name without its version; outside the allowed images, a reusable action's."""
        return split_reference(self.words[0])[0]

    @property
    def version(self) -> str:
        """The image's tag as written, such as `v1` or `latest`."""
        return split_reference(self.words[0])[1]

    @property
    def image_and_tag(self) -> str:
        """`image:version` as written: what runs and what is pulled."""
        return self.words[0]

    @property
    def args(self) -> tuple[str, ...]:
        """The words after the image."""
        return self.words[1:]

    @property
    def patterns(self) -> tuple[str, ...]:
        """Every output pattern, whatever its level."""
        return tuple(pattern for patterns in self.outputs.values() for pattern in patterns.values())

    @property
    def is_database_action(self) -> bool:
        """Whether its command reads the database."""
        return is_database_command(self.words)

    def command(self, *, dummy_data: bool) -> str:
        """The whole command that runs, its words quoted for a POSIX shell."""
        words = list(self.words)
        if self.config:
            words += ["--config", config_json(self.config)]
        if is_generate_cohort(self.words):
            if dummy_data and self.dummy_data_file is not None:
                words.append(f"--dummy-data-file={self.dummy_data_file}")
            elif dummy_data:
                words.append(f"--expectations-population={self.population_size}")
            directories = output_directories(self.patterns)
            if len(directories) == 1:
                words.append(f"--output-dir={directories.pop()}")
        return shlex.join(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """A checked project.yaml."""

    #: the version of the format, 1.0 to 5.0
    version: float
    #: patients in a made-up cohort; None from version 4 on
    population_size: int | None
    #: name -> action, in the order of the file
    actions: Mapping[str, Action]

    @property
    def all_actions(self) -> list[str]:
        """What `run_all` asks for, in the order of the file: every action but one that bears that name itself."""
        return [name for name in self.actions if name != RUN_ALL]

    @property
    def run_all_order(self) -> list[str]:
        """`all_actions`, each with its needs before it."""
        order: dict[str, None] = {}
        for requested in self.all_actions:
            pending = [requested]
            while pending:
                name = pending[-1]
                missing = [need for need in self.actions[name].needs if need not in order]
                if missing and name not in order:
                    pending.extend(reversed(missing))
                else:
                    order.setdefault(pending.pop())
        return list(order)

    @property
    def images(self) -> list[str]:
        """The `image:version` of every action, sorted, each once, `latest` reported as `v1`."""
        references = {split_reference(action.image_and_tag) for action in self.actions.values()}
        return sorted({f"{image}:{'v1' if tag == 'latest' else tag}" for image, tag in references})


def read_pipeline(content: bytes, *, name: str = "project.yaml") -> Pipeline:
    """Read and check a project.yaml. Raises ProjectValidationError, whose message lists every problem of the file."""
    pipeline, problems = examine(content)
    if pipeline is None:
        raise ProjectValidationError(
            describe_problems(problems, name=name),
            hint=f"correct {name} and commit it; jobrunner project check shows the lines",
        )
    return pipeline


def examine(content: bytes) -> tuple[Pipeline | None, tuple[Problem, ...]]:
    """The pipeline of a project.yaml, or None and its problems in the order of the file. Never raises for its content."""
    # Imported here because planning needs the types above at every start, and the reading of files does not.
    from jobrunner_cli.engine.study import reader, rules

    found = rules.check(reader.read(content))
    return found.pipeline, found.problems


def split_reference(word: str) -> tuple[str, str]:
    """`name:version` -> its two parts. Raises ValueError if the version is none that `run` takes."""
    name, _, version = word.partition(":")
    if not name or not _TAG.fullmatch(version):
        raise ValueError(word)
    return name, version


def is_database_command(words: Sequence[str]) -> bool:
    """Whether a command, split into words, reads the database."""
    image, command = _image_and_command(words)
    return image == "sqlrunner" or (image, command) in _DATABASE_COMMANDS


def is_generate_cohort(words: Sequence[str]) -> bool:
    """Whether a command is cohortextractor's `generate_cohort`."""
    return _image_and_command(words) == ("cohortextractor", "generate_cohort")


def is_generate_dataset(words: Sequence[str]) -> bool:
    """Whether a command extracts a dataset, whose privacy rules apply however it is spelled."""
    image, command = _image_and_command(words)
    return image in DATASET_IMAGES and command in {"generate-dataset", "generate_dataset"}


def _image_and_command(words: Sequence[str]) -> tuple[str, str]:
    return words[0].partition(":")[0] if words else "", words[1] if len(words) > 1 else ""


def output_directories(patterns: Iterable[str]) -> set[str]:
    """The directories in which output patterns lie; `.` is the top."""
    return {str(PurePosixPath(pattern).parent) for pattern in patterns}


def config_json(config: Mapping[str, Any], *, in_order: bool = True) -> str:
    """An action's configuration as `--config` takes it: JSON in ASCII, in the order of the file, without `'`.

    Not `in_order`, it is the same for all configurations that hold the same.
    """
    return json.dumps(config, sort_keys=not in_order).replace("'", "\\u0027")
