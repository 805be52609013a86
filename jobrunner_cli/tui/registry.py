"""The one registry of what a user can do in the live view: keys, help page, palette and footer derive from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Group(StrEnum):
    """The sections of the help page."""

    JOBS = "Jobs"
    BACKEND = "Backend"
    LIST = "List"
    PANE = "Pane"
    GENERAL = "General"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that a user can do."""

    #: what bindings, preferences and the palette call it
    name: str
    #: the keys, the first of which is shown
    keys: tuple[str, ...]
    #: one or two words for the footer
    label: str
    #: a sentence for help and palette
    help: str
    group: Group
    #: it changes something: not there with --read-only
    changes: bool = False
    #: done before the next key is looked at, so that what is typed ahead goes to where this leads
    at_once: bool = False
    #: it has a place in the footer, the lower the further left; None is only in the help
    footer: int | None = None


def _entry(
    name: str,
    keys: str,
    label: str,
    text: str,
    group: Group,
    *,
    changes: bool = False,
    at_once: bool = False,
    footer: int | None = None,
) -> Entry:
    return Entry(
        name=name,
        keys=tuple(keys.split()),
        label=label,
        help=text,
        group=group,
        changes=changes,
        at_once=at_once,
        footer=footer,
    )


_J, _B, _L, _P, _G = Group.JOBS, Group.BACKEND, Group.LIST, Group.PANE, Group.GENERAL

#: Everything, in the order of the help page.
ENTRIES: tuple[Entry, ...] = (
    _entry("cancel", "c", "Cancel", "Cancel the marked jobs, or the one under the cursor", _J, changes=True, footer=10),
    _entry("kill", "K", "Kill", "Kill them as an operator; containers and files are kept", _J, changes=True, footer=11),
    _entry("hold", "p", "Pause", "Pause them: they do not start", _J, changes=True, footer=12),
    _entry("resume", "r", "Resume", "End their pause", _J, changes=True, footer=13),
    _entry("retry", "R", "Retry", "Finalize or run them again", _J, changes=True, footer=14),
    _entry("mark", "space", "Mark", "Mark or unmark the job and go to the next one", _J, footer=20),
    _entry("mark_all", "A", "Mark all", "Mark every job that the list shows", _J),
    _entry("unmark", "u", "Unmark", "Forget all marks", _J, footer=21),
    _entry(
        "go_to_cause",
        "b",
        "Blocker",
        "Go to the job that holds it up, or whose failure ended it",
        _J,
        footer=8,
    ),
    _entry("copy_id", "y", "Copy id", "Copy the ids of these jobs to the terminal's clipboard", _J, footer=46),
    _entry("add_job", "a", "Add", "Ask for actions of a study", _B, changes=True, footer=15),
    _entry("pause_backend", "P", "Pause all", "Pause the backend: nothing new starts", _B, changes=True),
    _entry("resume_backend", "P", "Resume all", "End the pause of the backend", _B, changes=True, footer=1),
    _entry(
        "pause_workspace",
        "W",
        "Pause workspace",
        "Pause the workspace under the cursor: nothing in it starts",
        _B,
        changes=True,
    ),
    _entry("resume_workspace", "W", "Resume workspace", "End the pause of the workspace", _B, changes=True, footer=2),
    _entry("filter", "slash", "Filter", "Filter the list as you type", _L, at_once=True, footer=30),
    _entry("keep_filter", "enter", "To list", "Go from the filter to the list", _L, at_once=True, footer=4),
    _entry("legend", "l", "Legend", "Only happy, only blocked, only failed, or all jobs", _L, footer=34),
    _entry("finished", "f", "Finished", "Hide or show finished jobs", _L, footer=33),
    _entry("sort", "s", "Sort", "Sort by activity, age, run time, state, name, CPU or memory", _L, footer=32),
    _entry("group", "g", "Group", "Group by workspace, by request, or not at all", _L, footer=31),
    _entry("fold", "enter", "Fold", "Fold or unfold the group under the cursor", _L, footer=5),
    _entry("fold_all", "minus", "Fold all", "Fold all groups, or unfold them", _L, footer=35),
    _entry("clear", "escape", "Clear", "Leave the search, the filter or the marks", _L, footer=3),
    _entry("to_list", "escape", "To list", "Go from the pane to the list", _P, footer=3),
    _entry("switch", "tab", "Switch", "Go from the list to the pane and back", _P, footer=45),
    _entry("tab_details", "1", "Details", "Show everything about the job", _P),
    _entry("tab_log", "2", "Log", "Show what the job printed", _P, footer=40),
    _entry("tab_graph", "3", "Graph", "Show what it needs and what needs it", _P, footer=41),
    _entry("tab_outputs", "4", "Outputs", "Show its outputs", _P, footer=42),
    _entry("open_output", "o", "Open", "Open the chosen output (there Enter, too), text in $PAGER", _P, footer=6),
    _entry("copy_output", "C", "Copy", "Copy the chosen output to a file or a directory", _P, changes=True, footer=7),
    _entry("enlarge", "z enter", "Zoom", "Give the pane the whole screen, or the list", _P, footer=43),
    _entry("follow", "F", "Follow", "Keep to the end of the log", _P, footer=6),
    _entry("stay", "F", "Stay", "Stay at these lines of the log", _P, footer=6),
    _entry("search", "ctrl+f", "Search", "Search the log", _P, at_once=True, footer=7),
    _entry("next_hit", "n", "Next", "Go to the next hit in the log", _P, footer=8),
    _entry("previous_hit", "N", "Previous", "Go to the hit before", _P),
    _entry("wrap", "w", "Wrap", "Wrap long lines of the log, or cut them", _P, footer=9),
    _entry("pager", "v", "Pager", "Open the whole log in $PAGER", _P, footer=44),
    _entry("help", "question_mark f1", "Help", "Show this page", _G, footer=50),
    _entry("command_palette", "ctrl+p", "Palette", "Find anything by its name", _G, footer=51),
    _entry("next_theme", "t", "Theme", "Change the colours of everything but the legend", _G),
    _entry("suspend", "ctrl+z", "Suspend", "Step aside for the shell; its fg comes back here", _G),
    _entry("leave", "q ctrl+c", "Quit", "Leave; nothing that runs is touched", _G, footer=52),
)

BY_NAME: Mapping[str, Entry] = {entry.name: entry for entry in ENTRIES}

#: Of these only one does something at a time, so that they may have the same key.
_OPPOSITES = (
    {"pause_backend", "resume_backend"},
    {"pause_workspace", "resume_workspace"},
    {"follow", "stay"},
    {"clear", "to_list"},
)

_SHOWN = {
    "slash": "/",
    "minus": "-",
    "question_mark": "?",
    "escape": "Esc",
    "space": "Space",
    "enter": "Enter",
    "tab": "Tab",
    "f1": "F1",
}


def shown_key(key: str) -> str:
    """A key as people write it: `^P` for ctrl+p."""
    if key.startswith("ctrl+"):
        return f"^{key.removeprefix('ctrl+').upper()}"
    return _SHOWN.get(key, key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Which keys lead where, once a user's preferences are applied."""

    #: name of an entry -> its keys
    of: Mapping[str, tuple[str, ...]]

    def shown(self, name: str) -> str:
        """The first key of an entry, as people write it; empty if it has none."""
        keys = self.of[name]
        return shown_key(keys[0]) if keys else ""


def resolve(wanted: Mapping[str, tuple[str, ...]]) -> Keys:
    """The keys of every entry, given a user's own (name -> keys); a key that is taken over leaves where it was.

    Raises ValueError for a name that is none, and for a key that is given twice.
    """
    for name in wanted:
        if name not in BY_NAME:
            msg = f"{name!r} is nothing that a key can be given to"
            raise ValueError(msg)
    taken: dict[str, str] = {}
    for name, keys in wanted.items():
        for key in keys:
            if key in taken and {taken[key], name} not in _OPPOSITES:
                msg = f"the key {key!r} is given to {taken[key]} and to {name}"
                raise ValueError(msg)
            taken[key] = name
    return Keys(
        of={
            entry.name: wanted.get(entry.name, tuple(key for key in entry.keys if key not in taken))
            for entry in ENTRIES
        }
    )
