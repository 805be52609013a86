"""`jobrunner tui`: the live view of the jobs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobrunner_cli.engine.errors import JobrunnerError, UsageError

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9][0-9]{1,2})x([1-9][0-9]{0,2})", str(text))
    if match is None:
        msg = f"{text!r} is not of the form COLUMNSxLINES, such as 120x36"
        raise typer.BadParameter(msg)
    return int(match[1]), int(match[2])


def tui(
    read_only: Annotated[bool, typer.Option("--read-only", help="Look at everything, change nothing.")] = False,
    job: Annotated[str | None, typer.Option(metavar="JOB", help="Begin at this job.")] = None,
    tab: Annotated[
        str, typer.Option(metavar="NAME", help="What the pane shows at first: details, log, graph or outputs.")
    ] = "details",
    text: Annotated[str, typer.Option("--filter", metavar="WORDS", help="Begin with this filter.")] = "",
    theme: Annotated[str | None, typer.Option(metavar="NAME", help="Another theme than the preferred one.")] = None,
    screenshot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Save a picture (SVG) of it there, and exit.")
    ] = None,
    size: Annotated[str, typer.Option(metavar="COLUMNSxLINES", help="With --screenshot: how large it is.")] = "120x36",
    press: Annotated[
        str, typer.Option(metavar="KEYS", help="With --screenshot: press these keys first, with commas between them.")
    ] = "",
) -> None:
    """Watch the jobs live, look at each, and act on them.

    The list shows every job; below or beside it are details, the log, the graph and the outputs of the one
    under the cursor. ? shows all keys. It works over ssh and in tmux, and leaving it stops nothing.
    Keys, theme, grouping and sorting can be set in tui.toml beside config.toml; what it says nothing
    about is remembered from one start to the next.

    \b
    Examples:
      jobrunner tui
      jobrunner tui --read-only --filter "test -succeeded"
      jobrunner tui --job test/describe --tab log
      jobrunner tui --screenshot jobs.svg --size 100x30
    """
    import os
    import sys

    from jobrunner_cli.commands.loading import load_settings
    from jobrunner_cli.tui import memory
    from jobrunner_cli.tui.app import LiveView
    from jobrunner_cli.tui.pane import Tab
    from jobrunner_cli.tui.preferences import default_path, read_preferences, with_theme

    measures = _size(size)
    if tab not in set(Tab):
        msg = f"there is no tab {tab!r}"
        raise UsageError(msg, hint=f"it is one of {', '.join(Tab)}")
    settings = load_settings()
    preferences = read_preferences(default_path())
    if theme is not None:
        preferences = with_theme(preferences, theme)
    app = LiveView(
        settings,
        read_only=read_only,
        preferences=preferences,
        # A picture is of what was asked for, and nobody has chosen anything in it.
        memory=memory.default_path() if screenshot is None else None,
        first_job=None if job is None else _find(settings, job),
        first_tab=Tab(tab),
        text=text,
    )
    if screenshot is not None:
        from jobrunner_cli.tui.screenshot import save_screenshot

        save_screenshot(app, screenshot, size=measures, press=[key.strip() for key in press.split(",") if key.strip()])
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        msg = "the live view needs a terminal"
        raise UsageError(msg, hint="in scripts: jobrunner jobs ls --json")
    if os.environ.get("TERM") in {"dumb", "unknown"}:
        msg = f"the live view needs a terminal that can put text anywhere: TERM={os.environ['TERM']} cannot"
        raise UsageError(msg, hint="jobrunner jobs ls shows the jobs; TERM=xterm-256color is what most terminals are")
    app.run()
    if app.return_code:
        msg = "the live view broke off"
        raise JobrunnerError(msg)


def _find(settings: Settings, name: str) -> str:
    from jobrunner_cli.commands.loading import reading
    from jobrunner_cli.commands.naming import find_job
    from jobrunner_cli.engine.store.database import ensure_migrated

    ensure_migrated(settings.database_path)
    with reading(settings) as database:
        return find_job(database.connection, name).id
