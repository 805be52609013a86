"""`jobrunner workspaces`: what there is of each workspace, and moving one into an archive and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from jobrunner_cli.commands.groups import CommandGroup, Entry

if TYPE_CHECKING:
    from jobrunner_cli.engine.archiving import Moved, Tell
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.database import Connection
    from jobrunner_cli.engine.workspaces import WorkspaceView


class Workspaces(CommandGroup):
    """`jobrunner workspaces`."""

    entries: ClassVar[dict[str, Entry]] = {
        "ls": Entry(module=__name__, attribute="ls", summary="List the workspaces."),
        "show": Entry(module=__name__, attribute="show", summary="Show everything about one workspace."),
        "archive": Entry(module=__name__, attribute="archive", summary="Pack workspaces away."),
        "unarchive": Entry(module=__name__, attribute="unarchive", summary="Bring archived workspaces back."),
    }


app = typer.Typer(cls=Workspaces, add_completion=False, rich_markup_mode=None)


@app.callback()
def workspaces() -> None:
    """List workspaces, look at one, pack one away, bring it back.

    \b
    Examples:
      jobrunner workspaces ls
      jobrunner workspaces archive old-study
    """


_Json = Annotated[bool, typer.Option("--json", help="Print JSON with stable keys.")]
_Names = Annotated[list[str], typer.Argument(metavar="NAME…", help="The whole name of each.")]
_NoSpaceCheck = Annotated[
    bool, typer.Option("--no-space-check", help="Try even where the files may not fit on the disk.")
]


def ls(as_json: _Json = False) -> None:
    """List the workspaces that have jobs, files or an archive, with the sizes of what is in both stores.

    \b
    Examples:
      jobrunner workspaces ls
      jobrunner workspaces ls --json | jq '.[] | select(.archived | not) | .name'
    """
    from jobrunner_cli import diagnostics, output
    from jobrunner_cli.commands.loading import load_for_database, reading
    from jobrunner_cli.engine import workspaces

    settings = load_for_database()
    with reading(settings) as database:
        conn = database.connection
        views = [workspaces.look_at(settings, conn, name) for name in workspaces.names(settings, conn)]
    if as_json:
        output.as_json([_as_dict(view) for view in views])
    elif not views:
        diagnostics.notice("No workspaces yet; jobrunner add-job makes one.")
    else:
        output.table(
            views,
            [
                output.Column(title="WORKSPACE", value=lambda view: view.name),
                output.Column(title="ACTIVE", value=lambda view: str(len(view.active)), right=True),
                output.Column(title="OUTPUTS", value=lambda view: _count(view.outputs), right=True),
                output.Column(title="HIGH", value=lambda view: output.size(view.high_size), right=True),
                output.Column(title="MEDIUM", value=lambda view: output.size(view.medium_size), right=True),
                output.Column(title="ARCHIVED", value=lambda view: "yes" if view.archive else "", optional=True),
                output.Column(title="LAST JOB", value=_last_job, yields=2),
                output.Column(title="PROBLEM", value=lambda view: view.problem or "", optional=True, yields=1),
            ],
        )


def show(name: Annotated[str, typer.Argument(metavar="NAME", help="Its whole name.")], as_json: _Json = False) -> None:
    """Show everything about one workspace: its jobs, its outputs and where they are.

    \b
    Examples:
      jobrunner workspaces show test
      jobrunner workspaces show test --json
    """
    from jobrunner_cli import output, theme
    from jobrunner_cli.commands.loading import load_for_database, reading
    from jobrunner_cli.engine import workspaces

    settings = load_for_database()
    with reading(settings) as database:
        view = workspaces.look_at(settings, database.connection, name)
    if as_json:
        output.as_json(_as_dict(view))
        return
    active = [f"{job.action} ({job.id}) {theme.word(job.status_code)}" for job in view.active]
    output.pairs(
        {
            "workspace": view.name,
            "problem": view.problem or "",
            "active jobs": "\n".join(active) or "none",
            "last job": _last_job(view),
            "outputs": _count(view.outputs),
            "archive": f"{view.archive}  {output.size(view.archive_size)}" if view.archive else "",
            "high privacy": f"{view.high}  {output.size(view.high_size)}" if view.archive is None else "",
            "medium privacy": f"{view.medium}  {output.size(view.medium_size)}",
        }
    )


def archive(names: _Names, no_space_check: _NoSpaceCheck = False, as_json: _Json = False) -> None:
    """Pack the high privacy directory of workspaces into HIGH_PRIVACY_ARCHIVE_DIR, and remove the directory.

    The archive is compared with the directory, byte by byte, before anything is removed. A workspace
    with active jobs is refused, and nothing can run in an archived one. What was killed half-way goes
    on when the command is given again. What is in the medium privacy store stays there.

    \b
    Examples:
      jobrunner workspaces archive old-study
      jobrunner workspaces archive study-1 study-2 --json
    """
    from jobrunner_cli.engine import archiving

    def move(settings: Settings, conn: Connection, name: str, tell: Tell) -> Moved:
        return archiving.archive(settings, conn, name, check_space=not no_space_check, tell=tell)

    _each(names, move, _archived, as_json=as_json)


def unarchive(
    names: _Names,
    keep_archive: Annotated[bool, typer.Option("--keep-archive", help="Leave the archive where it is.")] = False,
    no_space_check: _NoSpaceCheck = False,
    as_json: _Json = False,
) -> None:
    """Bring archived workspaces back: unpack the archive, compare, and remove the archive.

    Reads .tar.gz, .tar.xz and, with the zstd program, .tar.zstd. An archiving that was killed
    half-way is taken back, as long as the directory is whole.

    \b
    Examples:
      jobrunner workspaces unarchive old-study
      jobrunner workspaces unarchive old-study --keep-archive
    """
    from jobrunner_cli.engine import archiving

    def move(settings: Settings, conn: Connection, name: str, tell: Tell) -> Moved:
        return archiving.unarchive(settings, conn, name, keep=keep_archive, check_space=not no_space_check, tell=tell)

    _each(names, move, _brought_back, as_json=as_json)


def _each(
    names: Sequence[str],
    move: Callable[[Settings, Connection, str, Tell], Moved],
    sentence: Callable[[Moved], str],
    *,
    as_json: bool,
) -> None:
    """Move one after the other; trouble with one keeps none of the others from being moved."""
    from jobrunner_cli import diagnostics, output
    from jobrunner_cli.commands.loading import load_for_database
    from jobrunner_cli.commands.steps import Steps
    from jobrunner_cli.engine.errors import ExitCode, JobrunnerError
    from jobrunner_cli.engine.store.database import Database

    settings, tell = load_for_database(), Steps()
    done: list[dict[str, Any]] = []
    codes: list[ExitCode] = []
    with Database(settings.database_path) as database:
        for name in dict.fromkeys(names):
            try:
                moved = move(settings, database.connection, name, tell)
            except JobrunnerError as problem:
                diagnostics.error(problem)
                codes.append(problem.exit_code)
                done.append({"workspace": name, "done": False, "archive": None, "error": problem.message})
                continue
            if not as_json:
                output.line(sentence(moved))
            done.append(
                {
                    "workspace": name,
                    "done": moved.done,
                    "archive": str(moved.archive) if moved.archive else None,
                    "files": moved.files,
                    "size": moved.size,
                    "error": None,
                }
            )
    if as_json:
        output.as_json(done)
    if codes:
        raise typer.Exit(codes[0] if len(set(codes)) == 1 else ExitCode.FAILED)


def _archived(moved: Moved) -> str:
    from jobrunner_cli import output

    if not moved.done:
        return f"{moved.workspace} is archived already: {moved.archive}"
    return f"{moved.workspace} is archived: {moved.files} files, {output.size(moved.size)}, in {moved.archive}"


def _brought_back(moved: Moved) -> str:
    from jobrunner_cli import output

    left = f"; its archive is still there: {moved.archive}" if moved.archive else ""
    if not moved.done:
        return f"{moved.workspace} is not archived{left}"
    what = f": {moved.files} files, {output.size(moved.size)}" if moved.files else ""
    return f"{moved.workspace} is back{what}{left}"


def _count(outputs: int | None) -> str:
    return "?" if outputs is None else str(outputs)


def _last_job(view: WorkspaceView) -> str:
    from jobrunner_cli import output, theme

    job = view.last_job
    return "" if job is None else f"{job.action} {theme.word(job.status_code)}, {output.ago(job.updated_at)} ago"


def _as_dict(view: WorkspaceView) -> dict[str, Any]:
    from jobrunner_cli import output

    job = view.last_job
    return {
        "name": view.name,
        "active_jobs": [{"id": job.id, "action": job.action, "status": job.status_code.value} for job in view.active],
        "last_job": None
        if job is None
        else {
            "id": job.id,
            "action": job.action,
            "status": job.status_code.value,
            "created_at": output.utc(job.created_at),
            "updated_at": output.utc(job.updated_at),
        },
        "outputs": view.outputs,
        "high_privacy": {"path": str(view.high), "size": view.high_size},
        "medium_privacy": {"path": str(view.medium), "size": view.medium_size},
        "archived": view.archive is not None,
        "archive": None if view.archive is None else {"path": str(view.archive), "size": view.archive_size},
        "problem": view.problem,
    }
