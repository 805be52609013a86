"""What is legal in a project.yaml and probably wrong all the same: warnings that `project check` gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from jobrunner_cli.engine.study.action_rules import Draft, Output
from jobrunner_cli.engine.study.output_paths import suffix_of
from jobrunner_cli.engine.study.overlap import can_overlap
from jobrunner_cli.engine.study.pipeline import is_generate_cohort, split_reference
from jobrunner_cli.engine.study.problems import Findings, Problem, shown
from jobrunner_cli.engine.study.reader import ScalarNode
from jobrunner_cli.engine.study.rules import CURRENT_VERSION, DEFAULT_POPULATION, EXPECTATIONS_IN, Checked
from jobrunner_cli.engine.work import PRIVACY_LEVELS

# Patterns are compared in pairs, and files may be hostile.
_MOST_COMPARISONS = 200_000
_MOST_OF_A_KIND = 100


def advise(checked: Checked) -> tuple[Problem, ...]:
    """The warnings about a file, in its order; what could not be read of it is passed over."""
    findings = Findings()
    _advise_on_version(checked, findings)
    _advise_on_expectations(checked, findings)
    _advise_on_latest(checked, findings)
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
    if checked.version < EXPECTATIONS_IN:
        message = f"not used in version {checked.version}: a made-up cohort has {DEFAULT_POPULATION} patients"
        findings.add(node, message, key="expectations")
    elif checked.version == EXPECTATIONS_IN:
        cohorts = [draft for draft in checked.drafts if is_generate_cohort(draft.words)]
        if not any(draft.dummy_data_file is None for draft in cohorts):
            message = f"no action uses this: only `generate_cohort` without `dummy_data_file` does; version {CURRENT_VERSION} has none"
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
    """Patterns of different levels that can name one file; each is compared with those before it."""
    wild, literal = _ByLevel(), _ByLevel()
    by_path: dict[str, list[tuple[Draft, Output]]] = {}
    budget = _Budget()
    for draft in drafts:
        for output in draft.outputs:
            is_wild = "*" in output.path
            same = by_path.setdefault(output.path, [])
            rivals = chain(wild.of_others(output.level), literal.of_others(output.level) if is_wild else same)
            for other, rival in rivals:
                if budget.is_spent():
                    return
                if budget.overlap(output.path, rival.path) and rival.level != output.level:
                    budget.warnings -= 1
                    _report_levels(draft, output, other, rival, findings)
                    break
            same.append((draft, output))
            (wild if is_wild else literal).add(draft, output)


class _ByLevel:
    """Outputs and their actions, by privacy level: most files of a study have one, and need no comparing."""

    def __init__(self) -> None:
        self._levels: dict[str, list[tuple[Draft, Output]]] = {level: [] for level in PRIVACY_LEVELS}

    def add(self, draft: Draft, output: Output) -> None:
        """Take one more."""
        self._levels[output.level].append((draft, output))

    def of_others(self, level: str) -> Iterator[tuple[Draft, Output]]:
        """All that have another level, the last one first: an action's own come before those of others."""
        return chain.from_iterable(reversed(found) for name, found in self._levels.items() if name != level)


def _report_levels(draft: Draft, output: Output, other: Draft, rival: Output, findings: Findings) -> None:
    owner = "" if other is draft else f" of action {shown(other.name)}"
    where = f"{shown(rival.path)}{owner} (line {rival.place.line}, {rival.level})"
    message = f"{shown(output.path)} can name the same file as {where}; a file should have one level"
    findings.add(output.place, message, action=draft.name, key=output.key, value=output.path)


def _advise_on_needs(drafts: Sequence[Draft], findings: Findings) -> None:
    """Files in the arguments of an action that are outputs of one it does not need, and so will not be there."""
    owned = [(draft, output) for draft in drafts for output in draft.outputs]
    literal: dict[str, list[Draft]] = {}
    for draft, output in owned:
        if "*" not in output.path:
            literal.setdefault(output.path, []).append(draft)
    wild = [(draft, output) for draft, output in owned if "*" in output.path]
    needs = {draft.name: {need for need, _ in draft.needs} for draft in drafts}
    budget = _Budget()
    for draft in drafts:
        for word in dict.fromkeys(_files_named(draft.words[1:])):
            if budget.is_spent():
                return
            makers = {maker.name for maker in literal.get(word, ())}
            makers.update(
                maker.name for maker, output in (owned if "*" in word else wild) if budget.overlap(word, output.path)
            )
            if draft.name in makers or not makers.isdisjoint(needs[draft.name]):
                continue
            maker = next((name for name in needs if name in makers), None)
            if maker is None or _depends_on(maker, draft.name, needs, budget):
                continue
            budget.warnings -= 1
            message = f"its arguments name {shown(word)}, an output of action {shown(maker)}; add that to `needs`"
            findings.add(draft.run_place, message, action=draft.name, key="run", value=word)


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
