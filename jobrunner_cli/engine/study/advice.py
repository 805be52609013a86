"""What is legal in a project.yaml and probably wrong all the same: warnings that `project check` gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from jobrunner_cli.engine.study.action_rules import Draft, Output
from jobrunner_cli.engine.study.output_paths import suffix_of
from jobrunner_cli.engine.study.overlap import can_overlap
from jobrunner_cli.engine.study.pipeline import split_reference
from jobrunner_cli.engine.study.problems import Findings, Problem, shown
from jobrunner_cli.engine.study.reader import ScalarNode
from jobrunner_cli.engine.study.reusable_actions import is_repository_name, is_reusable, meant_image
from jobrunner_cli.engine.study.rules import CURRENT_VERSION, DEFAULT_POPULATION, EXPECTATIONS_IN, Checked
from jobrunner_cli.engine.work import PRIVACY_LEVELS

# Patterns are compared in pairs, and files may be hostile.
_MOST_COMPARISONS = 200_000
_MOST_OF_A_KIND = 100

#: Image -> its commands that are long enough to be misspelt, and that studies use.
_COMMANDS = {"ehrql": ("generate-dataset", "generate-measures"), "databuilder": ("generate-dataset",)}
_NEARLY = 0.85
_LONGEST_WORD = 40
#: What programs are written in.
_CODE = frozenset({".py", ".r", ".do", ".ado", ".ipynb", ".rmd", ".qmd", ".sql", ".sh", ".jl"})


def advise(checked: Checked) -> tuple[Problem, ...]:
    """The warnings about a file, in its order; what could not be read of it is passed over."""
    findings = Findings()
    _advise_on_version(checked, findings)
    _advise_on_expectations(checked, findings)
    _advise_on_latest(checked, findings)
    _advise_on_programs(checked.drafts, findings)
    _advise_on_no_outputs(checked.drafts, findings)
    _advise_on_levels(checked.drafts, findings)
    _advise_on_needs(checked.drafts, findings)
    return findings.in_order()


def _advise_on_version(checked: Checked, findings: Findings) -> None:
    version = checked.version
    if version is not None and version < CURRENT_VERSION:
        message = f"version {version} is old; {CURRENT_VERSION} is current"
        findings.add(checked.top["version"], message, key="version", value=version)


def _advise_on_expectations(checked: Checked, findings: Findings) -> None:
    node = checked.top.get("expectations")
    if checked.version is None or node is None or (isinstance(node, ScalarNode) and node.value is None):
        return
    # Version 3 demands it, whether or not an action uses it.
    if checked.version < EXPECTATIONS_IN:
        message = f"not used in version {checked.version}: a made-up cohort has {DEFAULT_POPULATION} patients"
        findings.add(node, message, key="expectations")


def _advise_on_latest(checked: Checked, findings: Findings) -> None:
    """Once for an image: in older studies every action has it."""
    if checked.version is None or checked.version >= CURRENT_VERSION:
        return
    users: dict[str, list[Draft]] = {}
    for draft in checked.drafts:
        if draft.words:
            image, tag = split_reference(draft.words[0])
            if tag == "latest":
                users.setdefault(image, []).append(draft)
    for image, drafts in users.items():
        others = f" (in {len(drafts):,} actions)" if len(drafts) > 1 else ""
        message = f"{shown(f'{image}:latest')}{others} may be another program tomorrow; name a version, such as v1"
        first = drafts[0]
        findings.add(first.run_place, message, action=first.name, key="run", value=f"{image}:latest")


def _advise_on_programs(drafts: Sequence[Draft], findings: Findings) -> None:
    """Images and commands that are nearly those that everybody uses; once for each spelling."""
    guesses: dict[tuple[str, ...], str | None] = {}
    for draft in drafts:
        if len(guesses) >= _MOST_OF_A_KIND:
            return
        image = draft.words[0].partition(":")[0] if draft.words else ""
        written = (image, *draft.words[1:2]) if image in _COMMANDS else (image,)
        if not image or written in guesses:
            continue
        guess = guesses[written] = meant_image(image) if len(written) == 1 else _meant_command(*written)
        is_nameless = len(written) == 1 and is_reusable(image) and not is_repository_name(image)
        if guess is None and not is_nameless:
            continue
        if is_nameless:
            message = f"{shown(image)} is none of the images, and no reusable action can have that name"
        elif len(written) == 1:
            message = f"{shown(image)} is none of the images, and so taken for a reusable action"
        else:
            message = f"{shown(written[1])} is no command of {image}"
        findings.add(draft.run_place, message, action=draft.name, key="run", value=written[-1], suggestion=guess)


def _meant_command(image: str, word: str) -> str | None:
    """The command that was probably meant, if this is none and nearly one; slips of a letter or two."""
    # A module of some ten milliseconds.
    import difflib

    if word in _COMMANDS[image] or len(word) > _LONGEST_WORD:
        return None
    return next(iter(difflib.get_close_matches(word, _COMMANDS[image], n=1, cutoff=_NEARLY)), None)


def _advise_on_no_outputs(drafts: Sequence[Draft], findings: Findings) -> None:
    for draft in drafts:
        if draft.names_no_output:
            place = next(iter(draft.levels.values()))
            message = "no path is given, so nothing that the action makes is kept"
            findings.add(place, message, action=draft.name, key="outputs")


@dataclass(slots=True)
class _Budget:
    """How much more may be compared and said."""

    comparisons: int = _MOST_COMPARISONS
    warnings: int = _MOST_OF_A_KIND

    def is_spent(self) -> bool:
        """Whether nothing more is to be looked at."""
        return self.comparisons <= 0 or self.warnings <= 0

    def overlap(self, one: str, other: str) -> bool:
        """Whether the patterns can name the same file."""
        self.comparisons -= 1
        return can_overlap(one, other)


def _advise_on_levels(drafts: Sequence[Draft], findings: Findings) -> None:
    """Patterns of different levels that can name one file of a working copy: its outputs, and those it gets as inputs.

    What actions make that do not need each other lies in different working copies, and never meets.
    """
    by_name = {draft.name: draft for draft in drafts}
    budget = _Budget()
    for draft in drafts:
        _compare_own(draft, findings, budget)
        wild = [output for output in draft.outputs if "*" in output.path and output.level != PRIVACY_LEVELS[0]]
        needed = dict.fromkeys(need for need, _ in draft.needs if need in by_name and need != draft.name)
        for output in wild:
            _compare_with_inputs(draft, output, [by_name[need] for need in needed], findings, budget)


def _compare_own(draft: Draft, findings: Findings, budget: _Budget) -> None:
    """Compare each pattern with those before it."""
    wild, literal = _ByLevel(), _ByLevel()
    by_path: dict[str, list[Output]] = {}
    for output in draft.outputs:
        is_wild = "*" in output.path
        same = by_path.setdefault(output.path, [])
        rivals = chain(wild.of_others(output.level), literal.of_others(output.level) if is_wild else same)
        for rival in rivals:
            if budget.is_spent():
                return
            if budget.overlap(output.path, rival.path) and rival.level != output.level:
                budget.warnings -= 1
                where = f"{shown(rival.path)} (line {rival.place.line}, {rival.level})"
                message = f"{shown(output.path)} can name the same file as {where}; a file should have one level"
                findings.add(output.place, message, action=draft.name, key=output.key, value=output.path)
                break
        same.append(output)
        (wild if is_wild else literal).add(output)


def _compare_with_inputs(
    draft: Draft, output: Output, needed: Sequence[Draft], findings: Findings, budget: _Budget
) -> None:
    """Warn of a wildcard that can take an input, and give it a level that is less private than its own."""
    stricter = frozenset(PRIVACY_LEVELS[: PRIVACY_LEVELS.index(output.level)])
    for other in needed:
        for rival in other.outputs:
            if budget.is_spent():
                return
            if rival.level in stricter and budget.overlap(output.path, rival.path):
                budget.warnings -= 1
                where = f"{shown(rival.path)} of action {shown(other.name)} (line {rival.place.line}, {rival.level})"
                message = f"{shown(output.path)} can name the same file as {where}, which it needs"
                message += f"; that input would be its output, and {output.level}"
                findings.add(output.place, message, action=draft.name, key=output.key, value=output.path)
                return


class _ByLevel:
    """Outputs by privacy level: most files of a study have one, and need no comparing."""

    def __init__(self) -> None:
        self._levels: dict[str, list[Output]] = {level: [] for level in PRIVACY_LEVELS}

    def add(self, output: Output) -> None:
        """Take one more."""
        self._levels[output.level].append(output)

    def of_others(self, level: str) -> Iterator[Output]:
        """All that have another level, the last one first."""
        return chain.from_iterable(reversed(found) for name, found in self._levels.items() if name != level)


def _advise_on_needs(drafts: Sequence[Draft], findings: Findings) -> None:
    """Files in the arguments or the config of an action that are outputs of one it does not need, and will not be there."""
    makers = _Makers(drafts)
    needs = {draft.name: {need for need, _ in draft.needs} for draft in drafts}
    budget = _Budget()
    for draft in drafts:
        for word, key in _files_of(draft).items():
            if budget.is_spent():
                return
            found = makers.of(word, budget)
            if draft.name in found or not found.isdisjoint(needs[draft.name]):
                continue
            maker = next((name for name in needs if name in found), None)
            if maker is None or _depends_on(maker, draft.name, needs, budget):
                continue
            budget.warnings -= 1
            what = "arguments name" if key == "run" else "`config` names"
            message = f"its {what} {shown(word)}, an output of action {shown(maker)}; add that to `needs`"
            place = draft.run_place if key == "run" else draft.place
            findings.add(place, message, action=draft.name, key=key, value=word)


class _Makers:
    """Which actions make a file."""

    def __init__(self, drafts: Sequence[Draft]) -> None:
        self._owned = [(draft.name, output.path) for draft in drafts for output in draft.outputs]
        self._literal: dict[str, set[str]] = {}
        for name, path in self._owned:
            if "*" not in path:
                self._literal.setdefault(path, set()).add(name)
        # Where a study keeps files of its own, a wildcard says nothing of where one comes from.
        kept = {_directory(word) for draft in drafts for word in draft.words[1:] if suffix_of(word).lower() in _CODE}
        kept.add("")
        self._wild = [(name, path) for name, path in self._owned if "*" in path and _directory(path) not in kept]

    def of(self, word: str, budget: _Budget) -> set[str]:
        """The actions with an output that this path or pattern can name."""
        makers = set(self._literal.get(word, ()))
        wild = self._owned if "*" in word else self._wild
        makers.update(name for name, path in wild if budget.overlap(word, path))
        return makers


def _directory(path: str) -> str:
    return path.removeprefix("./").rpartition("/")[0]


def _files_of(draft: Draft) -> dict[str, str]:
    """The paths of files that an action names, each with the key in which it does."""
    found = dict.fromkeys(_files_named(draft.words[1:]), "run")
    for path in _files_named(list(_texts_of(draft.config or {}))):
        found.setdefault(path, "config")
    return found


def _texts_of(value: object) -> Iterator[str]:
    """The texts in a config; its keys are names of options."""
    pending = [value]
    while pending:
        match pending.pop():
            case str() as text:
                yield text
            case dict() as entries:
                pending += reversed(entries.values())
            case list() as items:
                pending += reversed(items)


def _files_named(words: Sequence[str]) -> Iterator[str]:
    """The arguments, and the values of options, that look like paths of files."""
    for word in words:
        value = word.partition("=")[2] if word.startswith("-") else word
        path = value.removeprefix("./")
        if suffix_of(path):
            yield path


def _depends_on(name: str, other: str, needs: Mapping[str, set[str]], budget: _Budget) -> bool:
    """Whether an action needs another, if only by way of others."""
    seen = {name}
    pending = [name]
    while pending and other not in seen:
        new = needs.get(pending.pop(), set()) - seen
        budget.comparisons -= 1 + len(new)
        seen |= new
        pending += new
    return other in seen
