"""The rules of project.yaml for the file as a whole: version, expectations, and what actions owe to one another.

Every rule takes down what it finds and goes on, so that a user sees all problems of a file at once. The rules for
one action by itself are in `action_rules`.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from jobrunner_cli.engine.study.action_rules import Draft, check_action, fields
from jobrunner_cli.engine.study.nodes import kind_of, name_text
from jobrunner_cli.engine.study.pipeline import RUN_ALL, Action, Pipeline, config_json
from jobrunner_cli.engine.study.problems import Findings, Problem, dotted, shown
from jobrunner_cli.engine.study.reader import Document, MappingNode, Node, ScalarNode

#: The newest version of the format.
CURRENT_VERSION = 5
#: Patients in a made-up cohort where the file has no say, in versions 1 and 2.
DEFAULT_POPULATION = 1000

_UNIQUE_OUTPUTS_FROM = 2
EXPECTATIONS_IN = 3
RUN_ALL_RESERVED_FROM = 5
_KEYS = ("version", "expectations", "actions")
_MARK = "\u0301"
#: Parts that begin with a letter, a digit, `_`, `-` or `.`, any of which may bear marks, as in é or हिन्दी.
_NAME = re.compile(rf"[\w.-][\w.{_MARK}-]*(?: +[\w.-][\w.{_MARK}-]*)*")
#: Joiners and variation selectors: two names would look the same.
_INVISIBLE_MARK = re.compile("[\u034f\u180b-\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
# A log is named after its action, and file systems allow 255 bytes with the suffix and a temporary name's additions.
LONGEST_NAME = 200
_MOST_CYCLES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What the rules made of a project.yaml."""

    #: None if there are problems
    pipeline: Pipeline | None
    #: in the order of the file
    problems: tuple[Problem, ...]
    #: None if the file names none that is known
    version: int | None = None
    #: the values at the top of the file, by their keys
    top: Mapping[str, Node] = field(default_factory=dict)
    #: as far as each action could be read, in the order of the file
    drafts: tuple[Draft, ...] = ()


def check(document: Document) -> Checked:
    """The pipeline that a project.yaml describes, or every problem that it has."""
    findings = Findings(map(_attributed, document.problems))
    root = document.root
    if root is None:
        return Checked(pipeline=None, problems=findings.in_order())
    if not isinstance(root, MappingNode):
        empty = isinstance(root, ScalarNode) and root.value is None
        message = f"the file must be a mapping with `version` and `actions`, not {kind_of(root)}"
        findings.add(root, "the file is empty" if empty else message)
        return Checked(pipeline=None, problems=findings.in_order())
    top = fields(root, _KEYS, findings)
    version = _version(top.get("version"), findings)
    population = None if version is None else _population(top.get("expectations"), version, findings)
    drafts = _actions(top.get("actions"), version, findings)
    _check_together(drafts, version, findings)
    problems = findings.in_order()
    pipeline = None
    if not problems and version is not None:
        actions = {draft.name: _finished(draft, population) for draft in drafts}
        pipeline = Pipeline(version=float(version), population_size=population, actions=actions)
    return Checked(pipeline=pipeline, problems=problems, version=version, top=top, drafts=tuple(drafts))


def _attributed(problem: Problem) -> Problem:
    """A problem of the reader with the action and the key that its path means here."""
    top, *inner = problem.path or ("",)
    action = inner.pop(0) if top == "actions" and inner else None
    key = dotted(problem.path if action is None else inner)
    return replace(problem, action=action, key=key or None, path=())


def _finished(draft: Draft, population: int | None) -> Action:
    return Action(
        name=draft.name,
        run=draft.run or "",
        words=draft.words,
        needs=tuple(text for text, _ in draft.needs),
        outputs=draft.by_level(),
        config=draft.config or {},
        dummy_data_file=draft.dummy_data_file,
        population_size=population,
    )


def _version(node: Node | None, findings: Findings) -> int | None:
    if node is None:
        message = f'the key `version` is missing; {CURRENT_VERSION} is current: version: "{CURRENT_VERSION}.0"'
        findings.add(None, message, key="version")
        return None
    value = node.value if isinstance(node, ScalarNode) else None
    number = math.nan
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        except OverflowError:
            number = math.inf
    if number > CURRENT_VERSION:
        message = f"{shown(value)} is newer than this runner, which knows versions 1 to {CURRENT_VERSION}"
    elif number not in range(1, CURRENT_VERSION + 1):
        what = shown(value) if isinstance(node, ScalarNode) else kind_of(node)
        message = f"{what} is not a version of the format; it must be a whole number from 1 to {CURRENT_VERSION}"
    else:
        return int(number)
    known = [str(number) for number in range(1, CURRENT_VERSION + 1)]
    bare = value.strip().lstrip("vV").strip() if isinstance(value, str) else ""
    suggestion = bare if bare.removesuffix(".0") in known else None
    findings.add(node, message, key="version", value=value, suggestion=suggestion)
    return None


def _population(node: Node | None, version: int, findings: Findings) -> int | None:
    if version < EXPECTATIONS_IN:
        return DEFAULT_POPULATION
    absent = node is None or (isinstance(node, ScalarNode) and node.value is None)
    if version > EXPECTATIONS_IN:
        if not absent:
            message = f"`expectations` is not supported from version {EXPECTATIONS_IN + 1} on; remove it"
            findings.add(node, message, key="expectations")
        return None
    if absent or node is None:
        findings.add(node, "version 3 demands `expectations` with a `population_size`", key="expectations")
        return None
    if not isinstance(node, MappingNode):
        message = f"must be a mapping with `population_size`, not {kind_of(node)}"
        findings.add(node, message, key="expectations")
        return None
    size = fields(node, ("population_size",), findings, key="expectations").get("population_size")
    key = "expectations.population_size"
    if size is None:
        findings.add(node, "version 3 demands a `population_size`", key=key)
        return None
    value = size.value if isinstance(size, ScalarNode) else None
    if isinstance(value, str | int | float):
        try:
            return int(value)
        except (ValueError, OverflowError):
            pass
    what = shown(value) if isinstance(size, ScalarNode) else kind_of(size)
    findings.add(size, f"{what} is not a whole number", key=key, value=value)
    return None


def _actions(node: Node | None, version: int | None, findings: Findings) -> list[Draft]:
    if node is None:
        findings.add(None, "the key `actions` is missing", key="actions")
        return []
    if not isinstance(node, MappingNode):
        findings.add(node, f"must be a mapping from names to actions, not {kind_of(node)}", key="actions")
        return []
    drafts: dict[str, Draft] = {}
    for key, value in node.entries:
        name = _action_name(key, version, findings)
        if name is None:
            continue
        if name in drafts:
            first = drafts[name].place.line
            findings.add(key, f"the name {shown(name)} is on line {first} and again here", key="actions", value=name)
            continue
        drafts[name] = check_action(name, key, value, version, findings)
    return list(drafts.values())


def _action_name(key: ScalarNode, version: int | None, findings: Findings) -> str | None:
    """The name as text; None if it is no text at all."""
    name = name_text(key)
    if name is None:
        message = f"{shown(key.value)} is {kind_of(key)}, not a name; put it in quotes"
        findings.add(key, message, key="actions", value=key.value)
        return None
    wrong: str | None = None
    if not name:
        wrong = "an action must have a name"
    elif not _NAME.fullmatch(_with_plain_marks(name)) or name in {".", ".."}:
        wrong = f"{shown(name)} is not a name: letters, digits, `_`, `-`, `.` and spaces between them"
    elif name.startswith("__"):
        wrong = f"{shown(name)}: names that begin with `__` are the runner's own"
    elif len(name.encode()) > LONGEST_NAME:
        wrong = f"{shown(name)} is too long: files are named after it, so {LONGEST_NAME} bytes are the most"
    elif name == RUN_ALL and version is not None and version >= RUN_ALL_RESERVED_FROM:
        wrong = f"`{RUN_ALL}` means every action; no action may have that name from version {RUN_ALL_RESERVED_FROM} on"
    if wrong is not None:
        findings.add(key, wrong, key="actions", value=name)
    return name


def _with_plain_marks(name: str) -> str:
    """The name with one and the same visible mark for all: which letters take which is up to their script."""
    if name.isascii():
        return name
    return "".join(_MARK if _is_visible_mark(sign) else sign for sign in name)


def _is_visible_mark(sign: str) -> bool:
    return unicodedata.category(sign) in {"Mn", "Mc"} and not _INVISIBLE_MARK.match(sign)


def _check_together(drafts: Sequence[Draft], version: int | None, findings: Findings) -> None:
    if version is not None and version >= _UNIQUE_OUTPUTS_FROM:
        _check_unique_outputs(drafts, findings)
    _check_unique_commands(drafts, findings)
    _check_needs(drafts, findings)


def _check_unique_outputs(drafts: Sequence[Draft], findings: Findings) -> None:
    first: dict[str, tuple[str, int]] = {}
    for draft in drafts:
        for output in draft.outputs:
            if output.path not in first:
                first[output.path] = (draft.name, output.place.line)
                continue
            name, line = first[output.path]
            owner = "this action" if name == draft.name else f"action {shown(name)}"
            message = f"{shown(output.path)} is already an output of {owner} (line {line}); a path may be given once"
            findings.add(output.place, message, action=draft.name, key=output.key, value=output.path)


def _check_unique_commands(drafts: Sequence[Draft], findings: Findings) -> None:
    first: dict[tuple[str, str], Draft] = {}
    for draft in drafts:
        if draft.run is None or draft.run_place is None or draft.config is None:
            continue
        command = (draft.run, config_json(draft.config, in_order=False))
        earlier = first.setdefault(command, draft)
        if earlier is not draft:
            message = f"the same command as action {shown(earlier.name)} (line {earlier.place.line})"
            if draft.config:
                message += ", with the same config"
            findings.add(draft.run_place, message, action=draft.name, key="run", value=draft.run)


def _check_needs(drafts: Sequence[Draft], findings: Findings) -> None:
    names = {draft.name: draft for draft in drafts}
    for draft in drafts:
        for need, place in draft.needs:
            if " " in need and need in names:
                message = f"{shown(need)} cannot be needed, because its name has a space; give that action another"
                findings.add(place, message, action=draft.name, key="needs", value=need)
            elif " " in need:
                parts = need.replace(",", " ").split()
                message = f"{shown(need)} is one name; put commas between names: [{', '.join(parts[:5])}]"
                findings.add(place, message, action=draft.name, key="needs", value=need)
            elif need not in names:
                suggestion = findings.closest(need, (name for name in names if name != draft.name))
                message = f"{shown(need)} is not an action"
                findings.add(place, message, action=draft.name, key="needs", value=need, suggestion=suggestion)
    for cycle in _cycles({name: [need for need, _ in draft.needs if need in names] for name, draft in names.items()}):
        closing = names[cycle[-1]]
        place = next(place for need, place in closing.needs if need == cycle[0])
        shortened = cycle if len(cycle) <= 10 else [*cycle[:5], "…", *cycle[-4:]]
        circle = " -> ".join((*shortened, cycle[0]))
        message = "an action cannot need itself" if len(cycle) == 1 else f"the needs go round in a circle: {circle}"
        findings.add(place, message, action=closing.name, key="needs", value=cycle[0])


@dataclass(slots=True)
class _Visit:
    name: str
    needs: Iterator[str]


def _cycles(needs: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Some circle of every group of actions that need one another, each from its first action on, the last one
    needing the first again. Walks without recursion: a chain may be as long as the file allows.
    """
    done: set[str] = set()
    circular: set[str] = set()
    cycles: list[list[str]] = []
    for start in needs:
        path: list[_Visit] = [] if start in done else [_Visit(start, iter(needs[start]))]
        position = {start: 0}
        while path:
            need = next(path[-1].needs, None)
            if need is None:
                done.add(path[-1].name)
                del position[path.pop().name]
            elif need in position:
                cycle = [visit.name for visit in path[position[need] :]]
                if not circular.issuperset((cycle[0], cycle[-1])):
                    cycles.append(cycle)
                    circular.update(cycle)
                if len(cycles) == _MOST_CYCLES:
                    return cycles
            elif need not in done:
                position[need] = len(path)
                path.append(_Visit(need, iter(needs[need])))
    return cycles
