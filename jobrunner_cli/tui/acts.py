"""What each entry of the registry does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from textual.widgets import Input

from jobrunner_cli import output
from jobrunner_cli.engine.operations import Operation
from jobrunner_cli.engine.states import Legend
from jobrunner_cli.tui import pager
from jobrunner_cli.tui.adding import AddJob
from jobrunner_cli.tui.conditions import chosen_output, workspace_of
from jobrunner_cli.tui.copying import CopyTo
from jobrunner_cli.tui.dialogs import Ask, Confirm, Help
from jobrunner_cli.tui.listing import Grouping, Sorting, group_name, is_group, revealing
from jobrunner_cli.tui.pane import Tab

if TYPE_CHECKING:
    from jobrunner_cli.engine.operations import Step
    from jobrunner_cli.engine.requests import Submission
    from jobrunner_cli.tui.deeds import Outlined
    from jobrunner_cli.tui.screen import MainScreen

Act = Callable[["MainScreen"], object]

_T = TypeVar("_T")
_ENLARGED = ("", "only-pane", "only-list")


# Jobs.


def _operate(operation: Operation) -> Act:
    def act(screen: MainScreen) -> None:
        ids = [job.id for job in screen.table.touched()]
        deeds = screen.view.deeds

        def outlined(found: Outlined) -> None:
            def again(cleanup: bool, then: Callable[[Outlined], object]) -> None:
                deeds.outline(operation, ids, then, cleanup=cleanup)

            screen.app.push_screen(Confirm(found, again), answered)

        def answered(answer: tuple[tuple[str, ...], bool] | None) -> None:
            if answer is not None:
                chosen, cleanup = answer
                deeds.carry_out(operation, chosen, cleanup=cleanup)
                screen.table.mark(chosen, marked=False)

        deeds.outline(operation, ids, outlined)

    return act


def _add_job(screen: MainScreen) -> None:
    current = screen.table.current
    facts = screen.pane.facts
    repo = facts.job.repo_url if facts is not None else ""
    workspace = current.workspace if current is not None else "test"

    def submitted(submission: Submission | None) -> None:
        if submission is not None:
            count = len(submission.runnable)
            screen.notify(f"{output.counted(count, 'job')} added")
            screen.view.feed.look()

    form = AddJob(screen.view.settings, screen.view.deeds, repo=repo, workspace=workspace)
    screen.app.push_screen(form, submitted)


def _pause_backend(screen: MainScreen) -> None:
    def answered(yes: bool | None) -> None:
        if yes:
            screen.view.deeds.pause_backend()

    text = "No waiting job starts until it is resumed; what runs carries on."
    screen.app.push_screen(Ask(f"Pause the backend {screen.view.settings.backend}?", text, "Pause"), answered)


def _resume_backend(screen: MainScreen) -> None:
    def answered(yes: bool | None) -> None:
        if yes:
            screen.view.deeds.resume_backend()

    text = "What waits may start again."
    screen.app.push_screen(Ask(f"Resume the backend {screen.view.settings.backend}?", text, "Resume"), answered)


def _change_workspace(operation: Operation) -> Act:
    def act(screen: MainScreen) -> None:
        workspace = workspace_of(screen)
        if workspace is None:
            return
        deeds = screen.view.deeds

        def answered(yes: bool | None) -> None:
            if yes:
                deeds.change_workspace(operation, workspace)

        def outlined(steps: Sequence[Step]) -> None:
            waiting = sum(step.touches for step in steps)
            counts = f"{waiting} waiting, {len(steps) - waiting} running."
            says = {
                Operation.PAUSE: "None of its jobs starts until it is resumed, nor those that it will get; "
                "what runs carries on.",
                Operation.RESUME: "What waits in it may start again, unless something else holds it up.",
            }[operation]
            verb = operation.value.capitalize()
            screen.app.push_screen(
                Ask(f"{verb} the workspace {workspace}?", f"{says}\n{counts}\n", verb, steps=steps), answered
            )

        deeds.outline_workspace(operation, workspace, outlined)

    return act


def _go_to_cause(screen: MainScreen) -> None:
    facts = screen.pane.facts
    if facts is None or facts.cause is None:
        return
    cause = screen.table.brief(facts.cause)
    if cause is None:
        screen.say_absent(facts.cause)
    elif cause.id in screen.table.listing.index:
        screen.table.go_to(cause.id)
    else:
        # It is there, and the list does not show it: whoever wants to go there wants to see it.
        wanted = revealing(screen.wanted, cause)
        if wanted.text != screen.wanted.text:
            field = screen.query_one("#filter", Input)
            field.value, field.display = wanted.text, False
        screen.show_as(wanted)
        screen.table.go_to_soon(cause.id)


def _copy_id(screen: MainScreen) -> None:
    ids = [job.id for job in screen.table.touched()]
    screen.app.copy_to_clipboard("\n".join(ids))
    screen.notify(ids[0] if len(ids) == 1 else f"{len(ids):,} ids", title="Copied", markup=False, timeout=3)


# The list.


def _mark_all(screen: MainScreen) -> None:
    screen.table.mark(key for key in screen.table.listing.keys if not is_group(key))


def _unmark(screen: MainScreen) -> None:
    screen.table.mark(screen.table.marks, marked=False)


def _filter(screen: MainScreen) -> None:
    field = screen.query_one("#filter")
    field.display = True
    # At once: what is typed next belongs to it.
    screen.set_focus(field)


def _keep_filter(screen: MainScreen) -> None:
    screen.set_focus(screen.table)
    if not screen.wanted.text.strip():
        screen.query_one("#filter").display = False


def _legend(screen: MainScreen) -> None:
    screen.want(legend=_next([None, *Legend], screen.wanted.legend))


def _sort(screen: MainScreen) -> None:
    screen.want(sorting=_next(list(Sorting), screen.wanted.sorting))
    screen.notify(f"Sorted by {screen.wanted.sorting}", timeout=2)


def _group(screen: MainScreen) -> None:
    screen.want(grouping=_next(list(Grouping), screen.wanted.grouping), folded=frozenset())


def _fold(screen: MainScreen) -> None:
    key = screen.table.cursor
    if key is not None and is_group(key):
        screen.want(folded=screen.wanted.folded ^ {group_name(key)})


def _fold_all(screen: MainScreen) -> None:
    names = frozenset(head.name for head in screen.table.listing.heads.values())
    screen.want(folded=frozenset() if names <= screen.wanted.folded else names)


def _clear(screen: MainScreen) -> None:
    """Undo the nearest of search, filter and marks."""
    search, field = screen.query_one("#search", Input), screen.query_one("#filter", Input)
    if search.display:
        search.value, search.display = "", False
        screen.pane.focus_inside()
    elif field.display:
        field.value, field.display = "", False
        screen.set_focus(screen.table)
    elif screen.wanted.narrows:
        screen.want(legend=None, hide_finished=False, text="")
    else:
        _unmark(screen)


def _to_list(screen: MainScreen) -> None:
    screen.set_focus(screen.table)


def _next(values: list[_T], present: _T) -> _T:
    return values[(values.index(present) + 1) % len(values)]


# The pane.


def _tab(tab: Tab) -> Act:
    def act(screen: MainScreen) -> None:
        inside = screen.pane.has_focus_within
        if screen.has_class("only-list"):
            _show_parts(screen, "")
        screen.pane.go_to(tab)
        if inside:
            screen.pane.focus_inside()
        screen.open_log() if tab is Tab.LOG else screen.close_log()

    return act


def _show_parts(screen: MainScreen, part: str) -> None:
    for name in _ENLARGED[1:]:
        screen.set_class(name == part, name)
    if part == "only-pane":
        screen.pane.focus_inside()
    elif part == "only-list":
        screen.set_focus(screen.table)


def _enlarge(screen: MainScreen) -> None:
    present = next((name for name in _ENLARGED[1:] if screen.has_class(name)), "")
    _show_parts(screen, _next(list(_ENLARGED), present))


def _switch(screen: MainScreen) -> None:
    if screen.pane.has_focus_within:
        screen.set_focus(screen.table)
    else:
        screen.pane.focus_inside()


def _search(screen: MainScreen) -> None:
    field = screen.query_one("#search")
    field.display = True
    # At once: what is typed next belongs to it.
    screen.set_focus(field)


def _go_to_hit(way: int) -> Act:
    def act(screen: MainScreen) -> None:
        screen.pane.log_pane.next_hit(way)

    return act


def _follow(*, follows: bool) -> Act:
    return lambda screen: screen.pane.log_pane.set_follow(follows)


def _wrap(screen: MainScreen) -> None:
    log = screen.pane.log_pane
    log.set_wrap(not log.wraps)


def _pager(screen: MainScreen) -> None:
    pager.open_log(screen.app, screen.view.settings, screen.table.current)


def _open_output(screen: MainScreen) -> None:
    output = chosen_output(screen)
    if output is not None:
        pager.open_output(screen.app, output)


def _copy_output(screen: MainScreen) -> None:
    output = chosen_output(screen)
    if output is not None:
        screen.app.push_screen(CopyTo(output, screen.view.deeds))


# General.


def _help(screen: MainScreen) -> None:
    screen.app.push_screen(Help(screen.view.keys, read_only=screen.view.read_only))


def _theme(screen: MainScreen) -> None:
    names = sorted(screen.app.available_themes)
    screen.app.theme = _next(names, screen.app.theme)
    screen.notify(f"Theme {screen.app.theme}", timeout=2)


#: Name of an entry -> what it does.
ACTS: Mapping[str, Act] = {
    "cancel": _operate(Operation.CANCEL),
    "kill": _operate(Operation.KILL),
    "hold": _operate(Operation.PAUSE),
    "resume": _operate(Operation.RESUME),
    "retry": _operate(Operation.RETRY),
    "mark": lambda screen: screen.table.toggle_mark(),
    "mark_all": _mark_all,
    "unmark": _unmark,
    "go_to_cause": _go_to_cause,
    "copy_id": _copy_id,
    "add_job": _add_job,
    "pause_backend": _pause_backend,
    "resume_backend": _resume_backend,
    "pause_workspace": _change_workspace(Operation.PAUSE),
    "resume_workspace": _change_workspace(Operation.RESUME),
    "filter": _filter,
    "keep_filter": _keep_filter,
    "legend": _legend,
    "finished": lambda screen: screen.want(hide_finished=not screen.wanted.hide_finished),
    "sort": _sort,
    "group": _group,
    "fold": _fold,
    "fold_all": _fold_all,
    "clear": _clear,
    "to_list": _to_list,
    "switch": _switch,
    "tab_details": _tab(Tab.DETAILS),
    "tab_log": _tab(Tab.LOG),
    "tab_graph": _tab(Tab.GRAPH),
    "tab_outputs": _tab(Tab.OUTPUTS),
    "open_output": _open_output,
    "copy_output": _copy_output,
    "enlarge": _enlarge,
    "follow": _follow(follows=True),
    "stay": _follow(follows=False),
    "search": _search,
    "next_hit": _go_to_hit(1),
    "previous_hit": _go_to_hit(-1),
    "wrap": _wrap,
    "pager": _pager,
    "help": _help,
    "command_palette": lambda screen: screen.app.action_command_palette(),
    "next_theme": _theme,
    "suspend": lambda screen: screen.app.action_suspend_process(),
    "leave": lambda screen: screen.app.exit(),
}
