"""`jobrunner manifests`: the lists of what is in each workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from jobrunner_cli.commands.groups import CommandGroup, Entry

if TYPE_CHECKING:
    from jobrunner_cli.commands.steps import Steps
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.database import Connection


class Manifests(CommandGroup):
    """`jobrunner manifests`."""

    entries: ClassVar[dict[str, Entry]] = {
        "backfill": Entry(module=__name__, attribute="backfill", summary="Complete manifests from the jobs' rows."),
    }


app = typer.Typer(cls=Manifests, add_completion=False, rich_markup_mode=None)


@app.callback()
def manifests() -> None:
    """See to the manifests, which say what is in each workspace and which job made it.

    \b
    Examples:
      jobrunner manifests backfill --dry-run
    """


def backfill(
    workspace: Annotated[
        list[str] | None, typer.Option("--workspace", metavar="NAME", help="Only this workspace; may be repeated.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be added.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON with stable keys.")] = False,
) -> None:
    """Make manifests that are absent, and complete older ones, from what the database knows of the jobs.

    Adds the outputs that jobs recorded, that are still in the high privacy store, and that the
    manifest does not know; each is read once, for its hash. What is in a manifest stays as it is. Safe
    beside a runner, and may be repeated. A damaged manifest is named and left alone: exit code 1.

    \b
    Examples:
      jobrunner manifests backfill --dry-run
      jobrunner manifests backfill --workspace test --workspace main
    """
    from jobrunner_cli import diagnostics, output
    from jobrunner_cli.commands.loading import load_for_database, reading
    from jobrunner_cli.commands.steps import Steps
    from jobrunner_cli.engine.errors import ExitCode, JobFilesError, NotFoundError
    from jobrunner_cli.engine.store import queries

    settings, steps = load_for_database(), Steps()
    done: list[dict[str, Any]] = []
    with reading(settings) as database:
        known = queries.known_workspaces(database.connection)
        unknown = [name for name in workspace or () if name not in known]
        if unknown:
            msg = f"there is no job in workspace {unknown[0]!r}"
            raise NotFoundError(msg, hint="jobrunner workspaces ls lists the workspaces")
        for name in dict.fromkeys(workspace or known):
            try:
                done.append(_backfill_one(settings, database.connection, name, dry_run=dry_run, steps=steps))
            except JobFilesError as problem:
                diagnostics.error(problem)
                done.append({"workspace": name, "added": [], "known": None, "gone": None, "problem": problem.message})
    if as_json:
        output.as_json(done)
    elif not done:
        diagnostics.notice("No workspaces yet.")
    else:
        output.table(
            done,
            [
                output.Column(title="WORKSPACE", value=lambda row: row["workspace"]),
                output.Column(title="KNOWN", value=lambda row: _count(row["known"]), right=True),
                output.Column(
                    title="TO ADD" if dry_run else "ADDED", value=lambda row: str(len(row["added"])), right=True
                ),
                output.Column(title="GONE", value=lambda row: _count(row["gone"]), right=True),
                output.Column(title="PROBLEM", value=lambda row: row["problem"] or "", optional=True, yields=1),
            ],
        )
    if any(row["problem"] for row in done):
        raise typer.Exit(ExitCode.FAILED)


def _count(number: int | None) -> str:
    return "" if number is None else str(number)


def _backfill_one(settings: Settings, conn: Connection, name: str, *, dry_run: bool, steps: Steps) -> dict[str, Any]:
    import threading

    from jobrunner_cli import diagnostics
    from jobrunner_cli.engine.archive import why_absent
    from jobrunner_cli.engine.jobfiles import rebuilding
    from jobrunner_cli.engine.store import queries
    from jobrunner_cli.engine.workspaces import stores_of

    absence = why_absent(settings, name)
    if absence is not None:
        diagnostics.notice(f"{absence.message}: its manifest is left as it is")
        return {"workspace": name, "added": [], "known": None, "gone": None, "problem": None}
    completion = rebuilding.complete(
        stores_of(settings, name),
        queries.recorded_outputs(conn, name),
        stop=threading.Event(),
        trial=dry_run,
        tell=lambda done, of: steps(f"reading the outputs of {name}", done, of),
    )
    return {
        "workspace": name,
        "added": list(completion.added),
        "known": completion.known,
        "gone": completion.gone,
        "problem": None,
    }
