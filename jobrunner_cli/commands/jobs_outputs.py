"""`jobrunner jobs outputs`: what a job stored, and one of those files copied or opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobrunner_cli.commands.job_words import JobName, Json

if TYPE_CHECKING:
    from jobrunner_cli.engine.output_files import OutputFile
    from jobrunner_cli.engine.store.models import Job


def outputs(
    job: JobName,
    output_path: Annotated[
        str | None, typer.Argument(metavar="PATH", help="One of the outputs, or the end of its path.")
    ] = None,
    copy: Annotated[str | None, typer.Option(metavar="TO", help="Copy it to this file or into this directory.")] = None,
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
    from jobrunner_cli import diagnostics, output, theme
    from jobrunner_cli.commands.loading import load_for_database, reading
    from jobrunner_cli.commands.naming import find_job
    from jobrunner_cli.engine.errors import UsageError
    from jobrunner_cli.engine.output_files import output_files
    from jobrunner_cli.engine.store import queries

    if output_path is None and (copy is not None or open_it):
        msg = "--copy and --open are for one output"
        raise UsageError(msg, hint="name it behind the job; without a name, jobs outputs lists them")
    settings = load_for_database()
    with reading(settings) as database:
        found = find_job(database.connection, job)
        outcome = queries.result_of(database.connection, found.id)
        latest = queries.last_recorded_outputs(database.connection, found.workspace, found.action)
    if latest is not None and latest.job_id != found.id:
        diagnostics.notice(f"A newer job of this action, {latest.job_id}, may have replaced these files.")
    files = output_files(settings, found, outcome)
    if output_path is not None:
        _one(_pick(found, files, output_path), copy=copy, force=force, open_it=open_it, as_json=as_json)
    elif as_json:
        output.as_json([_row(file) for file in files])
    elif files:
        output.table([_row(file) for file in files], _columns())
    else:
        diagnostics.notice(
            f"{found.workspace}/{found.action} ({found.id}) has no outputs: it is {theme.word(found.status_code)}."
        )


def _row(file: OutputFile) -> dict[str, Any]:
    released = file.released
    return {
        "path": file.path,
        "level": file.level,
        "size": file.size,
        "content_hash": file.content_hash,
        "held_back": file.held_back,
        "file": str(file.file),
        "exists": file.exists,
        "released_file": str(released) if released is not None else None,
    }


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


def _pick(job: Job, files: list[OutputFile], name: str) -> OutputFile:
    """The one output that is meant. Raises NotFoundError, AmbiguousError."""
    from jobrunner_cli.engine.errors import AmbiguousError, NotFoundError
    from jobrunner_cli.engine.output_files import require_file

    exact = [file for file in files if file.path == name]
    found = exact or [file for file in files if f"/{file.path}".endswith(f"/{name}")]
    if len(found) > 1:
        msg = "\n".join([f"{name!r} may be any of {len(found)} outputs:", *(f"  {file.path}" for file in found[:10])])
        raise AmbiguousError(msg, hint="give more of its path")
    if not found:
        msg = f"{job.workspace}/{job.action} ({job.id}) has no output {name!r}"
        raise NotFoundError(msg, hint=f"jobrunner jobs outputs {job.id} lists them")
    require_file(found[0])
    return found[0]


def _one(file: OutputFile, *, copy: str | None, force: bool, open_it: bool, as_json: bool) -> None:
    import subprocess
    import sys

    from jobrunner_cli import output
    from jobrunner_cli.engine.errors import JobrunnerError
    from jobrunner_cli.engine.output_files import copy_output, viewer_of

    if copy is not None:
        output.line(str(copy_output(file.file, copy, force=force)))
    elif as_json:
        output.as_json(_row(file))
    elif not open_it:
        output.line(str(file.file))
    if open_it:
        command = viewer_of(file.file, on_terminal=sys.stdout.isatty())
        code = subprocess.run(command, check=False).returncode
        if code:
            msg = f"{command[0]} could not show {file.path} (exit code {code})"
            raise JobrunnerError(msg, hint=f"copy it, or look at {file.file}")
