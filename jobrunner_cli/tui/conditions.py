"""When each entry of the registry does something at all, and what it does it to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from textual.widgets import Input

from jobrunner_cli.engine.states import ACTIVE_CODES, KEPT_CODES, State
from jobrunner_cli.tui.listing import Grouping, group_name, is_group
from jobrunner_cli.tui.pane import Tab

if TYPE_CHECKING:
    from jobrunner_cli.engine.output_files import OutputFile
    from jobrunner_cli.engine.store.overview import Brief
    from jobrunner_cli.tui.screen import MainScreen

Condition = Callable[["MainScreen"], bool]


def workspace_of(screen: MainScreen) -> str | None:
    """The workspace under the cursor: that of the group, or of the job."""
    key = screen.table.cursor
    if key is not None and is_group(key):
        return group_name(key) if screen.table.grouping is Grouping.WORKSPACE else None
    current = screen.table.current
    return current.workspace if current is not None else None


def chosen_output(screen: MainScreen) -> OutputFile | None:
    """The output that is chosen in the pane, if it is of the job under the cursor."""
    facts, path = screen.pane.facts, screen.pane.outputs_pane.chosen
    if facts is None or screen.table.cursor != facts.job.id:
        return None
    return next((file for file in facts.files if file.path == path), None)


def _touches(condition: Callable[[MainScreen, Brief], bool]) -> Condition:
    return lambda screen: any(condition(screen, job) for job in screen.table.touched()[:1000])


def _is_paused(screen: MainScreen, job: Brief) -> bool:
    return screen.standing is not None and job.id in screen.standing.paused_jobs


def _workspace_is_paused(screen: MainScreen) -> bool:
    return screen.standing is not None and workspace_of(screen) in screen.standing.paused_workspaces


def _workspace_may_be_paused(screen: MainScreen) -> bool:
    return screen.standing is not None and workspace_of(screen) is not None and not _workspace_is_paused(screen)


def _is_paused_backend(screen: MainScreen) -> bool:
    return screen.standing is not None and screen.standing.paused is not None


def _log_is_shown(screen: MainScreen) -> bool:
    shown = screen.pane.tab is Tab.LOG and screen.pane.group is None and not screen.has_class("only-list")
    return shown and bool(screen.pane.log_pane.lines)


def _has_log(screen: MainScreen) -> bool:
    current = screen.table.current
    return current is not None and current.started_at is not None


def _has_cause(screen: MainScreen) -> bool:
    facts = screen.pane.facts
    return facts is not None and facts.cause is not None and facts.job.id == screen.table.cursor


def _has_jobs(screen: MainScreen) -> bool:
    return bool(screen.table.listing.total)


def _can_clear(screen: MainScreen) -> bool:
    """Whether there is a search, a filter or marks to leave."""
    searched = screen.query_one("#search").display or screen.query_one("#filter").display
    return searched or screen.wanted.narrows or bool(screen.table.marks)


def _output_is_in_use(screen: MainScreen) -> bool:
    shown = screen.pane.tab is Tab.OUTPUTS and not screen.has_class("only-list")
    focused = screen.pane.outputs_pane.has_focus or (shown and screen.table.has_focus)
    return focused and chosen_output(screen) is not None


def _list_is_in_use(screen: MainScreen) -> bool:
    return screen.table.has_focus


def _has_hits(screen: MainScreen) -> bool:
    return _log_is_shown(screen) and bool(screen.pane.log_pane.needle)


def _is_typing(screen: MainScreen) -> bool:
    return isinstance(screen.focused, Input)


#: Name of an entry -> when it does something; one that is not here always does.
CONDITIONS: Mapping[str, Condition] = {
    "cancel": _touches(lambda _, job: job.code in ACTIVE_CODES),
    "kill": _touches(lambda _, job: job.code in ACTIVE_CODES | KEPT_CODES),
    "hold": _touches(lambda screen, job: job.code in ACTIVE_CODES and not _is_paused(screen, job)),
    "resume": _touches(_is_paused),
    "retry": _touches(lambda _, job: job.state is State.FAILED),
    "mark": lambda screen: _list_is_in_use(screen) and bool(screen.table.listing.keys),
    "mark_all": lambda screen: bool(screen.table.listing.shown),
    "unmark": lambda screen: bool(screen.table.marks),
    "pause_backend": lambda screen: screen.standing is not None and not _is_paused_backend(screen),
    "resume_backend": _is_paused_backend,
    "pause_workspace": _workspace_may_be_paused,
    "resume_workspace": _workspace_is_paused,
    "open_output": _output_is_in_use,
    "copy_output": _output_is_in_use,
    "fold": lambda screen: _list_is_in_use(screen) and is_group(screen.table.cursor or ""),
    "enlarge": lambda screen: not is_group(screen.table.cursor or "") or not _list_is_in_use(screen),
    "follow": lambda screen: _log_is_shown(screen) and not screen.pane.log_pane.follows,
    "stay": lambda screen: _log_is_shown(screen) and screen.pane.log_pane.follows,
    "search": lambda screen: _log_is_shown(screen) and not _is_typing(screen),
    "filter": lambda screen: _has_jobs(screen) and not _is_typing(screen),
    "group": _has_jobs,
    "sort": _has_jobs,
    "legend": _has_jobs,
    "finished": _has_jobs,
    "fold_all": lambda screen: bool(screen.table.listing.heads) and not _is_typing(screen),
    "clear": _can_clear,
    "to_list": lambda screen: not _list_is_in_use(screen) and not _can_clear(screen),
    "go_to_cause": _has_cause,
    "copy_id": lambda screen: bool(screen.table.touched()),
    # The focus itself: the field learns of it only later.
    "keep_filter": lambda screen: screen.focused is screen.query_one("#filter"),
    "next_hit": _has_hits,
    "previous_hit": _has_hits,
    "wrap": _log_is_shown,
    "pager": _has_log,
    "tab_log": lambda screen: screen.pane.tab is not Tab.LOG,
    "tab_graph": lambda screen: screen.pane.tab is not Tab.GRAPH,
    "tab_outputs": lambda screen: screen.pane.tab is not Tab.OUTPUTS,
    "tab_details": lambda screen: screen.pane.tab is not Tab.DETAILS,
}
