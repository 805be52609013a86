"""The rules of project.yaml for one action by itself: its keys, run, needs, outputs, config, and its privacy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from jobrunner_cli.engine.study.action_config import read_config
from jobrunner_cli.engine.study.nodes import is_null, key_text, kind_of, name_text
from jobrunner_cli.engine.study.output_paths import path_problems
from jobrunner_cli.engine.study.pipeline import (
    is_generate_cohort,
    is_generate_dataset,
    output_directories,
    split_reference,
)
from jobrunner_cli.engine.study.problems import Findings, Place, printable, shown
from jobrunner_cli.engine.study.reader import ListNode, MappingNode, Node, ScalarNode
from jobrunner_cli.engine.study.words import UnbalancedError, split_words
from jobrunner_cli.engine.work import PRIVACY_LEVELS

_KEYS = ("run", "needs", "config", "dummy_data_file", "outputs")
_HIGHLY = PRIVACY_LEVELS[0]
COHORTEXTRACTOR_UNTIL = 3
LATEST_UNTIL = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One output path as the file has it, sound or not."""

    level: str
    id: str
    path: str
    place: Place

    @property
    def key(self) -> str:
        """Its key, dotted from the action."""
        return f"outputs.{self.level}.{self.id}"


@dataclass(slots=True, kw_only=True)
class Draft:
    """What could be read of one action."""

    name: str
    place: Place
    #: the raw command and where it is; None if it is no text
    run: str | None = None
    run_place: Place | None = None
    #: empty if it cannot be split
    words: tuple[str, ...] = ()
    needs: list[tuple[str, Place]] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    #: the privacy levels that have a mapping, which may be empty
    levels: dict[str, MappingNode] = field(default_factory=dict)
    #: None if it cannot be written as JSON
    config: dict[str, Any] | None = field(default_factory=dict)
    dummy_data_file: str | None = None

    @property
    def names_no_output(self) -> bool:
        """Whether privacy levels are given, and no path in any of them."""
        return bool(self.levels) and not any(paths.entries for paths in self.levels.values())

    def by_level(self) -> dict[str, dict[str, str]]:
        """Privacy level -> id -> path, strictest level first; levels that are null are absent."""
        levels: dict[str, dict[str, str]] = {level: {} for level in PRIVACY_LEVELS if level in self.levels}
        for output in self.outputs:
            levels[output.level][output.id] = output.path
        return levels


def fields(
    node: MappingNode, allowed: Sequence[str], findings: Findings, *, action: str | None = None, key: str | None = None
) -> dict[str, Node]:
    """The allowed entries of a mapping; the others are taken down."""
    found: dict[str, Node] = {}
    for name, value in node.entries:
        if name.value in allowed and isinstance(name.value, str):
            found[name.value] = value
            continue
        suggestion = None
        if not isinstance(name.value, str):
            message = f"the key {shown(name.value)} is {kind_of(name)}; keys are text"
        elif isinstance(value, MappingNode) and any(inner.value == "run" for inner, _ in value.entries):
            message = f"the key {shown(name.value)} does not belong here; if it is an action, indent it like the others"
        elif action is not None and key is None and name.value in PRIVACY_LEVELS:
            message = f"the key {shown(name.value)} belongs under `outputs`"
        else:
            message = f"the key {shown(name.value)} is not known here"
            suggestion = findings.closest(name.value, allowed)
        findings.add(name, message, action=action, key=key, value=name.value, suggestion=suggestion)
    return found


def check_action(name: str, place: Place, node: Node, version: int | None, findings: Findings) -> Draft:
    """Take down what is wrong with one action; `version` is None if the file's is unknown."""
    draft = Draft(name=name, place=place)
    if not isinstance(node, MappingNode):
        findings.add(place, f"an action must be a mapping with `run` and `outputs`, it is {kind_of(node)}", action=name)
        return draft
    found = fields(node, _KEYS, findings, action=name)
    _read_run(draft, found.get("run"), version, findings)
    _read_needs(draft, found.get("needs"), findings)
    _read_config(draft, found.get("config"), findings)
    _read_dummy_data_file(draft, found.get("dummy_data_file"), findings)
    _read_outputs(draft, found.get("outputs"), findings)
    if draft.words and (draft.outputs or draft.names_no_output):
        _check_privacy(draft, findings)
    return draft


def _text(node: Node, findings: Findings, *, action: str, key: str) -> str | None:
    if isinstance(node, ScalarNode) and isinstance(node.value, str):
        return node.value
    value = node.value if isinstance(node, ScalarNode) else None
    what = f"{shown(value)} is {kind_of(node)}" if value is not None else f"it is {kind_of(node)}"
    quotes = "; put it in quotes" if value is not None else ""
    findings.add(node, f"must be text, but {what}{quotes}", action=action, key=key, value=value)
    return None


def _read_run(draft: Draft, node: Node | None, version: int | None, findings: Findings) -> None:
    if node is None:
        findings.add(draft.place, "the key `run` is missing", action=draft.name, key="run")
        return
    draft.run, draft.run_place = _text(node, findings, action=draft.name, key="run"), node
    if draft.run is None:
        return
    try:
        words = split_words(draft.run)
    except UnbalancedError as error:
        findings.add(node, f"cannot be split into words: {error}", action=draft.name, key="run", value=draft.run)
        return
    if not words:
        findings.add(node, "the command is empty", action=draft.name, key="run")
        return
    if "\0" in draft.run:
        message = "a command cannot hold the character NUL"
        findings.add(node, message, action=draft.name, key="run", value=draft.run)
    try:
        image, tag = split_reference(words[0])
    except ValueError:
        _report_reference(draft, node, words[0], findings)
        return
    draft.words = words
    for message in _unsupported(image, tag, version):
        findings.add(node, message, action=draft.name, key="run", value=words[0])


def _report_reference(draft: Draft, node: Node, word: str, findings: Findings) -> None:
    image, _, tag = word.partition(":")
    suggestion = f"{image}:v{tag}" if image and re.fullmatch(r"[0-9][0-9.]*", tag) else None
    example = f"{printable(image) or 'python'}:v1"
    message = f"{shown(word)} must be an image and its version, such as {shown(example)}"
    findings.add(node, message, action=draft.name, key="run", value=word, suggestion=suggestion)


def _unsupported(image: str, tag: str, version: int | None) -> Iterator[str]:
    if version is None:
        return
    if version > COHORTEXTRACTOR_UNTIL and image.startswith("cohortextractor"):
        yield f"{printable(image)} is not supported from version {COHORTEXTRACTOR_UNTIL + 1} on; use ehrql"
    if version > LATEST_UNTIL and tag == "latest":
        yield f"the version `latest` is refused from version {LATEST_UNTIL + 1} on; name one, such as v1"


def _read_needs(draft: Draft, node: Node | None, findings: Findings) -> None:
    if node is None or is_null(node):
        return
    if not isinstance(node, ListNode):
        value = node.value if isinstance(node, ScalarNode) and isinstance(node.value, str) else None
        message = f"must be a list of actions, not {kind_of(node)}"
        meant = f"[{value}]" if value is not None else None
        findings.add(node, message, action=draft.name, key="needs", value=value, suggestion=meant)
        return
    for item in node.items:
        need = name_text(item)
        if need is None:
            _text(item, findings, action=draft.name, key="needs")
        else:
            draft.needs.append((need, item))


def _read_dummy_data_file(draft: Draft, node: Node | None, findings: Findings) -> None:
    if node is None or is_null(node):
        return
    text = _text(node, findings, action=draft.name, key="dummy_data_file")
    if text is None:
        return
    if not text or "\0" in text:
        findings.add(node, f"{shown(text)} is not a path", action=draft.name, key="dummy_data_file", value=text)
        return
    draft.dummy_data_file = text.replace("\\", "/")


def _read_config(draft: Draft, node: Node | None, findings: Findings) -> None:
    if node is None or is_null(node):
        return
    if not isinstance(node, MappingNode):
        message = f"must be a mapping, not {kind_of(node)}"
        findings.add(node, message, action=draft.name, key="config")
        draft.config = None
        return
    draft.config = read_config(node, findings, action=draft.name)


def _read_outputs(draft: Draft, node: Node | None, findings: Findings) -> None:
    name = draft.name
    if node is None:
        findings.add(draft.place, "the key `outputs` is missing", action=name, key="outputs")
        return
    levels = ", ".join(PRIVACY_LEVELS)
    if not isinstance(node, MappingNode):
        message = f"must be a mapping with at least one of {levels}; it is {kind_of(node)}"
        findings.add(node, message, action=name, key="outputs")
        return
    given = False
    known = fields(node, PRIVACY_LEVELS, findings, action=name, key="outputs")
    for level, patterns in known.items():
        if is_null(patterns):
            continue
        given = True
        if not isinstance(patterns, MappingNode):
            message = f"must be a mapping from ids to paths, not {kind_of(patterns)}"
            findings.add(patterns, message, action=name, key=f"outputs.{level}")
            continue
        draft.levels[level] = patterns
        _read_level(draft, level, patterns, findings)
    if not given and len(known) == len(node.entries):
        findings.add(node, f"at least one output is needed, under one of {levels}", action=name, key="outputs")


def _read_level(draft: Draft, level: str, patterns: MappingNode, findings: Findings) -> None:
    seen: set[str] = set()
    for key, value in patterns.entries:
        output_id = key_text(key)
        if output_id is None or output_id in seen:
            wrong = "there twice, as text and as a number" if output_id in seen else kind_of(key)
            message = f"the key {shown(key.value)} is {wrong}; put it in quotes"
            findings.add(key, message, action=draft.name, key=f"outputs.{level}", value=key.value)
            continue
        seen.add(output_id)
        path = _text(value, findings, action=draft.name, key=f"outputs.{level}.{output_id}")
        if path is None:
            continue
        output = Output(level=level, id=output_id, path=path, place=value)
        draft.outputs.append(output)
        for message in path_problems(path, level):
            findings.add(value, f"{shown(path)} {message}", action=draft.name, key=output.key, value=path)


def _check_privacy(draft: Draft, findings: Findings) -> None:
    if is_generate_cohort(draft.words):
        messages = _cohort_problems(draft)
    elif is_generate_dataset(draft.words):
        messages = _dataset_problems(draft)
    else:
        return
    places = [output.place for output in draft.outputs] or list(draft.levels.values())
    for fault in messages:
        place = draft.run_place if fault.key == "run" else places[0]
        suggestion = None
        if fault.meant and fault.value is not None:
            suggestion = findings.closest(fault.value, fault.meant)
        findings.add(place, fault.message, action=draft.name, key=fault.key, value=fault.value, suggestion=suggestion)


@dataclass(frozen=True, slots=True)
class _Fault:
    """What makes a command and its outputs no match."""

    message: str
    key: str
    value: str | None = None
    #: what the value was probably meant to be one of
    meant: Sequence[str] = ()


def _cohort_problems(draft: Draft) -> Iterator[_Fault]:
    if len(draft.by_level()) > 1:
        yield _Fault("all outputs of `generate_cohort` must have one privacy level", "outputs")
    directories = output_directories(output.path for output in draft.outputs)
    if len(directories) != 1 and not any(word.partition("=")[0] == "--output-dir" for word in draft.words[2:]):
        message = "the outputs of `generate_cohort` must lie in one directory, or `--output-dir` must be given"
        yield _Fault(message, "outputs")


def _dataset_problems(draft: Draft) -> Iterator[_Fault]:
    command = draft.words[1]
    if any(output.level != _HIGHLY for output in draft.outputs):
        yield _Fault(f"all outputs of `{command}` must be {_HIGHLY}: they hold patients' data", "outputs")
    targets = list(_output_options(draft.words[2:]))
    if not targets:
        message = f"`{command}` must be given `--output` and one of the outputs"
        yield _Fault(message, "run", _nearly_output(draft.words[2:]), ("--output",))
    paths = [output.path for output in draft.outputs]
    for target in targets:
        directory, colon, extension = target.rpartition(":")
        if not colon and target not in paths:
            message = f"the value of --output, {shown(target)}, is not one of the outputs"
            yield _Fault(message, "run", target, paths)
        elif colon and str(PurePosixPath(directory)) == ".":
            message = f"--output {shown(target)} must name a directory before the colon, such as output:csv"
            yield _Fault(message, "run", target)
        elif colon and not all(_lies_in(path, directory, extension) for path in paths):
            pattern = shown(f"{directory}/*.{extension}")
            yield _Fault(f"with --output {shown(target)}, all outputs must match {pattern}", "run", target)


def _output_options(words: Sequence[str]) -> Iterator[str]:
    """The values of `--output`. What follows a bare `--` is for the dataset definition."""
    for position, word in enumerate(words):
        if word == "--":
            return
        if word.startswith("--output="):
            yield word.removeprefix("--output=")
        elif word == "--output" and position + 1 < len(words):
            yield words[position + 1]


def _nearly_output(words: Sequence[str]) -> str | None:
    """An option that was probably meant to be `--output`: the first that begins nearly so."""
    options = (word.partition("=")[0] for word in words if word.startswith("-"))
    return next((option for option in options if option.lstrip("-").startswith("o")), None)


def _lies_in(path: str, directory: str, extension: str) -> bool:
    name = PurePosixPath(path).name
    in_directory = str(PurePosixPath(path).parent) == str(PurePosixPath(directory))
    return bool(directory and extension) and in_directory and name.endswith(f".{extension}")
