"""`jobrunner backup` and `jobrunner restore`: a checked copy of the database, and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The copy; must not exist yet.")],
    as_json: Annotated[bool, typer.Option("--json", help="Say what was done as JSON.")] = False,
) -> None:
    """Copy the database to a file while everything goes on, and check the copy.

    The stores of outputs are not part of it. The copy holds what the database holds: names of
    studies, actions and messages, but no outputs and no tokens.

    \b
    Examples:
      jobrunner backup /srv/backups/jobrunner-monday.sqlite
      jobrunner backup before-upgrade.sqlite --json
    """
    from jobrunner_cli import output
    from jobrunner_cli.commands.loading import load_settings
    from jobrunner_cli.engine.store.backups import back_up

    path = load_settings().database_path
    report = back_up(path, file.absolute())
    if as_json:
        output.as_json(
            {
                "database": str(path),
                "backup": str(report.path),
                "level": report.level,
                "jobs": report.jobs,
                "size": report.size,
            }
        )
        return
    output.line(
        f"Copied {path} to {report.path}: {output.counted(report.jobs, 'job')}, level {report.level}, {output.size(report.size)}."
    )


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The copy that becomes the database.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Say what was done as JSON.")] = False,
) -> None:
    """Make a copy the database, while nobody is at work; the one that it replaces is kept beside it.

    A copy that is damaged, or from a newer version, is refused. One from an older version has to be
    migrated afterwards, unless that older version is to go on with it.

    \b
    Examples:
      jobrunner restore /srv/backups/jobrunner-monday.sqlite
      jobrunner restore before-upgrade.sqlite --yes
    """
    from jobrunner_cli import diagnostics, output
    from jobrunner_cli.commands.confirming import require_consent
    from jobrunner_cli.commands.loading import load_settings
    from jobrunner_cli.engine.store.backups import restore as restore_database

    settings = load_settings()
    path = settings.database_path
    if path.exists():
        require_consent(f"replace the database {path} with {file}?", yes=yes)
    report = restore_database(path, file.absolute(), (settings.runner_lock_path, settings.sync_lock_path))
    if as_json:
        output.as_json(
            {
                "database": str(path),
                "level": report.level,
                "jobs": report.jobs,
                "replaced": str(report.aside) if report.aside else None,
            }
        )
    else:
        output.line(f"{path} is now the copy: {output.counted(report.jobs, 'job')}, level {report.level}.")
        if report.aside:
            output.line(f"The database as it was is kept in {report.aside}.")
    if report.is_old:
        diagnostics.notice("It is of an older version. Before this one can use it: jobrunner migrate")
