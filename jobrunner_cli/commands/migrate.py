"""`jobrunner migrate`: make the database, or bring an older one up to this version."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def migrate(
    dbpath: Annotated[
        Path | None, typer.Option("--dbpath", metavar="FILE", help="Another database than that of WORKDIR.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Say what was done as JSON.")] = False,
) -> None:
    """Make the database, or upgrade an existing one after a backup of it.

    Does nothing to a database that is up to date. An upgrade waits for no runner: stop it first.

    \b
    Examples:
      jobrunner migrate
      jobrunner migrate --dbpath /srv/jobrunner/workdir/db.sqlite
    """
    from jobrunner_cli import output
    from jobrunner_cli.commands.loading import load_settings
    from jobrunner_cli.engine.store.migrating import migrate as migrate_database

    path = dbpath if dbpath is not None else load_settings().database_path
    report = migrate_database(path)
    if as_json:
        output.as_json(
            {
                "database": str(path),
                "created": report.created,
                "from_level": report.from_level,
                "to_level": report.to_level,
                "backup": str(report.backup_path) if report.backup_path else None,
            }
        )
    elif report.created:
        output.line(f"Made the database {path} at level {report.to_level}.")
    elif report.from_level == report.to_level:
        output.line(f"The database {path} is up to date (level {report.to_level}).")
    else:
        output.line(f"Upgraded {path} from level {report.from_level} to {report.to_level}.")
        output.line(f"The database as it was is kept in {report.backup_path}.")
