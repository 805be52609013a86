"""`jobrunner jobs outputs`: what a job stored, and one of those files copied or opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobrunner_cli.commands.job_words import JobName, Json

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.models import Job


def outputs(
    job: JobName,
    output_path: Annotated[
        str | None, typer.Argument(metavar="PATH", help="One of the outputs, or the end of its path.")
    ] = None,
    copy: Annotated[
        Path | None, typer.Option(metavar="TO", help="Copy it to this file or into this directory.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Copy it over a file that is there.")] = False,
    open_it: Annotated[
        bool, typer.Option("--open", help="Show it: in $PAGER on a terminal if it is text, else by the desktop.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the outputs of a job with their levels and sizes, or print where one is, copy it, open it.

    Later jobs of the action may have replaced the files; that is said.

    \b
    Examples:
      jobrunner jobs outputs test/describe
      jobrunner jobs outputs test/describe table.csv
      jobrunner jobs outputs test/describe table.csv --copy .
      jobrunner jobs outputs test/describe table.csv --open
    """
    from jobrunner_cli import diagnostics, output
    from jobrunner_cli.commands.loading import load_for_database, reading
    from jobrunner_cli.commands.naming import find_job
    from jobrunner_cli.engine.errors import UsageError
    from jobrunner_cli.engine.store import queries

    if output_path is None and (copy is not None or open_it):
        msg = "--copy and --open are for one output"
        raise UsageError(msg, hint="name it behind the job; without a name, jobs outputs lists them")
    settings = load_for_database()
    with reading(settings) as database:
        found = find_job(database.connection, job)
        outcome = queries.result_of(database.connection, found.id)
        latest = queries.last_recorded_outputs(database.connection, found.workspace, found.action)
    stored = {each.path: each for each in outcome.outputs} if outcome else {}
    if latest is not None and latest.job_id != found.id:
        diagnostics.notice(f"A newer job of this action, {latest.job_id}, may have replaced these files.")
    rows = [_row(settings, found, path, stored.get(path)) for path in sorted(found.outputs)]
    if output_path is not None:
        _one(found, _pick(found, rows, output_path), copy=copy, force=force, open_it=open_it, as_json=as_json)
    elif as_json:
        output.as_json(rows)
    elif rows:
        output.table(rows, _columns())
    else:
        diagnostics.notice(
            f"{found.workspace}/{found.action} ({found.id}) has no outputs: it is {found.status_code.value}."
        )


def _row(settings: Settings, job: Job, path: str, stored: Any) -> dict[str, Any]:
    held_back = job.level4_excluded_files.get(path)
    level = job.outputs[path]
    place = settings.high_workspace(job.workspace) / path
    released = settings.medium_workspace(job.workspace) / (path if held_back is None else f"{path}.txt")
    return {
        "path": path,
        "level": level,
        "size": stored.size if stored is not None else None,
        "content_hash": stored.content_hash if stored is not None else None,
        "held_back": held_back,
        "file": str(place),
        "exists": _is_file(place),
        "released_file": str(released) if level == "moderately_sensitive" and _is_file(released) else None,
    }


def _is_file(path: Path) -> bool:
    import stat

    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


def _columns() -> list[Any]:
    from jobrunner_cli import output

    def note(row: dict[str, Any]) -> str:
        if not row["exists"]:
            return "gone"
        return f"held back: {row['held_back']}" if row["held_back"] else ""

    return [
        output.Column(title="PATH", value=lambda row: row["path"], yields=2, least=16),
        output.Column(
            title="SIZE", value=lambda row: "" if row["size"] is None else output.size(row["size"]), right=True
        ),
        output.Column(title="LEVEL", value=lambda row: row["level"]),
        output.Column(title="NOTE", value=note, optional=True, yields=1),
    ]


def _pick(job: Job, rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The one output that is meant. Raises NotFoundError, AmbiguousError."""
    from jobrunner_cli.engine.errors import AmbiguousError, NotFoundError

    exact = [row for row in rows if row["path"] == name]
    found = exact or [row for row in rows if f"/{row['path']}".endswith(f"/{name}")]
    if len(found) > 1:
        msg = "\n".join([f"{name!r} may be any of {len(found)} outputs:", *(f"  {row['path']}" for row in found[:10])])
        raise AmbiguousError(msg, hint="give more of its path")
    if not found:
        msg = f"{job.workspace}/{job.action} ({job.id}) has no output {name!r}"
        raise NotFoundError(msg, hint=f"jobrunner jobs outputs {job.id} lists them")
    if not found[0]["exists"]:
        msg = f"the output is gone: {found[0]['file']}"
        raise NotFoundError(msg, hint=f"jobrunner workspaces show {job.workspace} says whether it was archived")
    return found[0]


def _one(job: Job, row: dict[str, Any], *, copy: Path | None, force: bool, open_it: bool, as_json: bool) -> None:
    from jobrunner_cli import output

    source = Path(row["file"])
    if copy is not None:
        target = _copy(source, copy, force=force)
        output.line(str(target))
    elif as_json:
        output.as_json(row)
    elif not open_it:
        output.line(row["file"])
    if open_it:
        _open(source)


def _copy(source: Path, to: Path, *, force: bool) -> Path:
    """Copy the file, of which nobody reads a half; returns where it is. Raises UsageError."""
    import os
    import shutil
    import tempfile

    from jobrunner_cli.engine.errors import UsageError

    target = to / source.name if to.is_dir() else to
    if not target.parent.is_dir():
        msg = f"there is no directory {target.parent}"
        raise UsageError(msg)
    if target.exists() and not force:
        msg = f"{target} exists"
        raise UsageError(msg, hint="--force copies over it")
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as into, source.open("rb") as stream:
            shutil.copyfileobj(stream, into, 1 << 20)
        # What was kept from others stays so: the copy is for whoever asked, as mkstemp makes it.
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return target


def _open(path: Path) -> None:
    """Show a file to whoever sits at the terminal. Raises UsageError where nobody can be shown anything."""
    import os
    import shlex
    import shutil
    import subprocess
    import sys

    from jobrunner_cli.engine.errors import UsageError
    from jobrunner_cli.engine.work import REVIEWABLE_SUFFIXES

    pictures = {".jpg", ".jpeg", ".png", ".svg", ".svgz", ".html"}
    if path.suffix.lower() in set(REVIEWABLE_SUFFIXES) - pictures and sys.stdout.isatty():
        pager = shlex.split(os.environ.get("PAGER", "")) or ["less"]
        command = [*pager, str(path)]
    else:
        opener = next((name for name in ("xdg-open", "open") if shutil.which(name)), None)
        if opener is None:
            msg = f"nothing here can show {path.name}"
            raise UsageError(msg, hint=f"copy it with --copy, or look at {path}")
        command = [opener, str(path)]
    if shutil.which(command[0]) is None:
        msg = f"there is no program {command[0]}"
        raise UsageError(msg, hint="PAGER names the one to use")
    subprocess.run(command, check=False)
