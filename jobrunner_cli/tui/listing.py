"""Which jobs the list shows, in which order and groups. Pure, and quick enough for a hundred thousand."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from operator import attrgetter
from typing import Any, TypeVar

from jobrunner_cli.engine.states import ACTIVE_CODES, TABLE, Legend, State
from jobrunner_cli.engine.store.overview import CODES, Brief

#: Before the key of a line that is a group's head: no id has it.
_GROUP = "\0"
_Kind = TypeVar("_Kind", State, Legend)

# By the place of a code in the table.
_STATES = [TABLE[code].state for code in CODES]
_LEGENDS = [TABLE[code].legend for code in CODES]
_TEXTS = [f"{code.value} {TABLE[code].state.value}" for code in CODES]
_RANK_OF_STATE, _ENDED = {State.RUNNING: 0, State.PENDING: 1}, 2
_RANKS = [_RANK_OF_STATE.get(state, _ENDED) for state in _STATES]
_UNFINISHED = [code in ACTIVE_CODES for code in CODES]


class Grouping(StrEnum):
    """What the list is grouped by."""

    WORKSPACE = "workspace"
    REQUEST = "request"
    FLAT = "flat"


class Sorting(StrEnum):
    """What the jobs of a group are sorted by."""

    ACTIVITY = "activity"
    AGE = "age"
    TIME = "time"
    STATE = "state"
    NAME = "name"
    CPU = "cpu"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the user wants to see."""

    text: str = ""
    #: None is all
    legend: Legend | None = None
    hide_finished: bool = False
    grouping: Grouping = Grouping.WORKSPACE
    sorting: Sorting = Sorting.ACTIVITY
    #: names of groups of which only the head is shown
    folded: frozenset[str] = frozenset()

    @property
    def narrows(self) -> bool:
        """Whether something is left out."""
        return bool(self.text.strip()) or self.legend is not None or self.hide_finished

    @property
    def restriction(self) -> str:
        """What is left of all jobs, in words; empty if nothing is left out."""
        parts = ["only failed" if self.legend is Legend.ERROR else f"only {self.legend}"] if self.legend else []
        parts += ["unfinished"] if self.hide_finished else []
        parts += [f"“{self.text.strip()}”"] if self.text.strip() else []
        return ", ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The line above a group."""

    name: str
    #: how many of its jobs are in each state
    counts: Mapping[State, int]
    #: how many wait for something other than their turn
    blocked: int
    folded: bool
    #: the workspace of a request's jobs; empty where it is the group's own name
    workspace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The lines of the list."""

    #: the id of a job, or the key of a group's head, line by line
    keys: tuple[str, ...] = ()
    #: key -> line
    index: Mapping[str, int] = field(default_factory=dict, repr=False)
    heads: Mapping[str, Head] = field(default_factory=dict, repr=False)
    #: how many jobs are shown, folded ones too, of how many
    shown: int = 0
    total: int = 0
    #: of all jobs, whatever is filtered
    legend: Mapping[Legend, int] = field(default_factory=dict)
    states: Mapping[State, int] = field(default_factory=dict)


def group_key(name: str) -> str:
    """The key of a group's head."""
    return _GROUP + name


def is_group(key: str) -> bool:
    """Whether a key is that of a group's head."""
    return key.startswith(_GROUP)


def group_name(key: str) -> str:
    """The group that a head's key is of."""
    return key.removeprefix(_GROUP)


def make_listing(jobs: Mapping[str, Brief], wanted: Wanted, usage: Mapping[str, Mapping[str, Any]]) -> Listing:
    """The lines for what is wanted of these jobs; `usage` has the samples of running ones."""
    places = Counter(map(attrgetter("place"), jobs.values()))
    found = _sorted(_matching(jobs.values(), wanted), wanted.sorting, usage)
    keys: list[str] = []
    heads: dict[str, Head] = {}
    if wanted.grouping is Grouping.FLAT:
        keys = [job.id for job in found]
    else:
        groups: defaultdict[str, list[Brief]] = defaultdict(list)
        name_of = _group_of(wanted.grouping)
        for job in found:
            groups[name_of(job)].append(job)
        by_request = wanted.grouping is Grouping.REQUEST
        unordered = [
            (_head(name, members, folded=name in wanted.folded, by_request=by_request), members)
            for name, members in groups.items()
        ]
        for head, members in sorted(unordered, key=_liveliness):
            key = group_key(head.name)
            heads[key] = head
            keys.append(key)
            if not head.folded:
                keys += [job.id for job in members]
    return Listing(
        keys=tuple(keys),
        index=dict(zip(keys, range(len(keys)), strict=True)),
        heads=heads,
        shown=len(found),
        total=len(jobs),
        legend=_sums(places, _LEGENDS),
        states=_sums(places, _STATES),
    )


def revealing(wanted: Wanted, job: Brief) -> Wanted:
    """What is wanted, without that of it which keeps a job out of the list."""
    everything = Wanted()
    hides = [
        name
        for name in ("text", "legend", "hide_finished")
        if not _matching([job], replace(everything, **{name: getattr(wanted, name)}))
    ]
    changes = {name: getattr(everything, name) for name in hides}
    return replace(wanted, **changes, folded=wanted.folded - {_group_of(wanted.grouping)(job)})


def _group_of(grouping: Grouping) -> Callable[[Brief], str]:
    """The name of the group that a job is in."""
    return attrgetter("request" if grouping is Grouping.REQUEST else "workspace")


def _sums(places: Mapping[int, int], kinds: Sequence[_Kind]) -> dict[_Kind, int]:
    sums: dict[_Kind, int] = {}
    for place, count in places.items():
        sums[kinds[place]] = sums.get(kinds[place], 0) + count
    return sums


def _head(name: str, members: list[Brief], *, folded: bool, by_request: bool) -> Head:
    places = Counter(map(attrgetter("place"), members))
    blocked = _sums(places, _LEGENDS).get(Legend.BLOCKED, 0)
    # A request is for one workspace.
    workspace = members[0].workspace if by_request else ""
    return Head(name=name, counts=_sums(places, _STATES), blocked=blocked, folded=folded, workspace=workspace)


def _matching(jobs: Iterable[Brief], wanted: Wanted) -> list[Brief]:
    """What the filters let through. Each word has to be somewhere in what a job is called; one after `-` must not."""
    places = {
        place
        for place, code in enumerate(CODES)
        if wanted.legend in {None, _LEGENDS[place]} and (code in ACTIVE_CODES or not wanted.hide_finished)
    }
    found = [job for job in jobs if job.place in places]
    for term in wanted.text.lower().split():
        excluded, word = term.startswith("-") and len(term) > 1, term.removeprefix("-") or term
        found = [job for job in found if (word in _names(job)) is not excluded]
    return found


def _names(job: Brief) -> str:
    return f"{job.workspace}/{job.action} {job.id} {job.request} {_TEXTS[job.place]} {job.message}".lower()


def _sorted(jobs: list[Brief], sorting: Sorting, usage: Mapping[str, Mapping[str, Any]]) -> list[Brief]:
    """The jobs in order, the newest first among equals.

    One sort for each key, the last one first: they are stable, and quick with what is nearly in order already.
    """
    jobs.sort(key=attrgetter("row"), reverse=True)
    jobs.sort(key=attrgetter("created_at"), reverse=True)
    match sorting:
        case Sorting.ACTIVITY:
            jobs.sort(key=_rank)
        case Sorting.AGE:
            pass
        case Sorting.TIME:
            # What runs has no end yet, and counts as the longest.
            jobs.sort(key=_run_time, reverse=True)
        case Sorting.STATE:
            jobs.sort(key=attrgetter("place"))
        case Sorting.NAME:
            jobs.sort(key=attrgetter("workspace", "action"))
        case Sorting.CPU | Sorting.MEMORY:
            field_name = "cpu_sample" if sorting is Sorting.CPU else "mem_mb_sample"
            jobs.sort(key=_rank)
            jobs.sort(key=lambda job: _sample(usage, job, field_name), reverse=True)
    return jobs


def _rank(job: Brief) -> int:
    return _RANKS[job.place]


def _run_time(job: Brief) -> float:
    if job.started_at is None:
        return -1.0
    return float("inf") if job.completed_at is None else float(job.completed_at - job.started_at)


def _sample(usage: Mapping[str, Mapping[str, Any]], job: Brief, name: str) -> float:
    value = usage.get(job.id, {}).get(name) if _UNFINISHED[job.place] else None
    return float(value) if isinstance(value, int | float) else 0.0


def _liveliness(group: tuple[Head, list[Brief]]) -> tuple[int, int]:
    """Groups in which something moves come first, then the newest."""
    head, members = group
    return min(_RANK_OF_STATE.get(state, _ENDED) for state in head.counts), -max(map(attrgetter("row"), members))
