"""`jobrunner prune`: show what may go, and remove it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from jobrunner_cli.engine.pruning import Prunable
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.database import Database


def _age(text: str | float) -> float:
    """Seconds. Raises BadParameter."""
    from jobrunner_cli.engine.forms import MalformedError, parse_age

    try:
        return text if isinstance(text, float) else parse_age(text)
    except MalformedError as problem:
        msg = f"{text!r} is not {problem}"
        raise typer.BadParameter(msg) from problem


def prune(
    kept: Annotated[
        bool, typer.Option("--kept", help="What failed and killed jobs left; so without any of these options.")
    ] = False,
    logs: Annotated[bool, typer.Option("--logs", help="Logs of all jobs, by whole months.")] = False,
    mirrors: Annotated[
        bool, typer.Option("--mirrors", help="Copies of repositories; fetched again when needed.")
    ] = False,
    older_than: Annotated[
        float,
        typer.Option("--older-than", metavar="AGE", parser=_age, help="Such as 12h, 30d or 8w.", show_default="30d"),
    ] = 30 * 86400.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON with stable keys.")] = False,
) -> None:
    """Show what may go, ask, and remove it.

    That is, once it is 30 days old: containers and directories that jobs with an internal error, and
    killed ones, left for an operator; containers of this work directory whose jobs the database does
    not know; with --logs the logs of past months, with --mirrors copies of repositories that no
    unfinished job needs. Outputs are never touched. May be used beside a runner.

    \b
    Examples:
      jobrunner prune --dry-run
      jobrunner prune --older-than 0d --yes
      jobrunner prune --logs --mirrors --older-than 26w
    """
    import time

    from jobrunner_cli import output
    from jobrunner_cli.commands.confirming import require_consent
    from jobrunner_cli.commands.loading import load_for_database
    from jobrunner_cli.engine.errors import ExitCode
    from jobrunner_cli.engine.store.database import Database

    settings, before = load_for_database(), time.time() - older_than
    wants_kept = kept or not (logs or mirrors)
    with Database(settings.database_path) as database:
        found = _find(settings, database, before, kept=wants_kept, logs=logs, mirrors=mirrors)
        if not as_json:
            _show(found)
        problems: dict[str, str] = {}
        wanted = bool(found) and not dry_run
        if wanted:
            require_consent(_question(found), yes=yes)
            problems = _remove(settings, database, found, before)
            _say_what_was_removed(found, problems)
    if as_json:
        output.as_json([_as_dict(item, problems, removed=wanted) for item in found])
    if problems:
        raise typer.Exit(ExitCode.FAILED)


def _find(
    settings: Settings, database: Database, before: float, *, kept: bool, logs: bool, mirrors: bool
) -> list[Prunable]:
    from jobrunner_cli.commands.reaching import reached_executor
    from jobrunner_cli.engine import pruning

    found: list[Prunable] = []
    if kept:
        found += pruning.kept(settings, database.connection, reached_executor(settings), before=before)
    if logs:
        found += pruning.logs(settings, before=before)
    if mirrors:
        found += pruning.mirrors(settings, database.connection, before=before)
    return found


def _remove(settings: Settings, database: Database, found: Sequence[Prunable], before: float) -> dict[str, str]:
    """Remove all of it; the name of what could not be removed -> why."""
    from jobrunner_cli.engine import pruning
    from jobrunner_cli.engine.errors import JobrunnerError
    from jobrunner_cli.engine.pruning import Kind

    problems = _remove_kept(settings, database, found)
    for item in found:
        try:
            if item.kind is Kind.LOGS:
                pruning.remove_logs(item)
            elif item.kind is Kind.MIRROR and not pruning.remove_mirror(
                settings, database.connection, item, before=before
            ):
                problems[item.name] = "it is in use again"
        except JobrunnerError as problem:
            problems[item.name] = problem.message
    return problems


def _remove_kept(settings: Settings, database: Database, found: Sequence[Prunable]) -> dict[str, str]:
    """Have the loop remove what jobs left: that of the runner at work, or one in this process that holds its lock."""
    import time

    from jobrunner_cli.commands.driving import drive
    from jobrunner_cli.commands.waiting import wait_for_answers
    from jobrunner_cli.engine.endings import NOT_REMOVED
    from jobrunner_cli.engine.errors import RunnerActiveError
    from jobrunner_cli.engine.pruning import Kind
    from jobrunner_cli.engine.store import intents
    from jobrunner_cli.engine.work import IntentKind

    jobs = [item.name for item in found if item.kind is Kind.KEPT]
    unknown = [item.name for item in found if item.kind is Kind.UNKNOWN]
    problems: dict[str, str] = {}
    if jobs:
        with database.transaction() as conn:
            asked = {job: (intents.append(conn, IntentKind.CLEANUP, job, "prune", time.time()),) for job in jobs}
        answers = wait_for_answers(settings, asked)
        problems = {job_id: text for job_id, text in answers.items() if text.startswith(NOT_REMOVED)}
    if unknown:
        try:
            # A runner removes them when it starts.
            drive(settings, until_idle=True, only=lambda rows: (), quiet=True)
        except RunnerActiveError:
            problems |= dict.fromkeys(unknown, "a runner is at work: it is removed when the next one starts")
    return problems


def _show(found: Sequence[Prunable]) -> None:
    from jobrunner_cli import diagnostics, output

    if not found:
        diagnostics.notice("There is nothing that may go.")
        return
    output.table(
        found,
        [
            output.Column(title="KIND", value=lambda item: item.kind.value),
            output.Column(title="NAME", value=lambda item: item.name, yields=3, least=8),
            output.Column(title="WHAT", value=lambda item: item.what, yields=2),
            output.Column(title="AGE", value=lambda item: output.ago(item.since), right=True),
            output.Column(title="SIZE", value=lambda item: output.size(item.size), right=True),
            output.Column(title="PATH", value=lambda item: str(item.path or ""), yields=1),
        ],
    )


def _question(found: Sequence[Prunable]) -> str:
    from jobrunner_cli import output

    total = output.size(sum(item.size for item in found))
    return f"Remove {'this' if len(found) == 1 else f'these {len(found)}'} ({total}) for good?"


def _say_what_was_removed(found: Sequence[Prunable], problems: dict[str, str]) -> None:
    from jobrunner_cli import diagnostics, output

    gone = [item for item in found if item.name not in problems]
    diagnostics.notice(f"Removed {len(gone)} of {len(found)}, {output.size(sum(item.size for item in gone))}.")
    for name, why in problems.items():
        diagnostics.notice(f"{name} stays: {why}")


def _as_dict(item: Prunable, problems: dict[str, str], *, removed: bool) -> dict[str, Any]:
    from jobrunner_cli import output

    return {
        "kind": item.kind.value,
        "name": item.name,
        "what": item.what,
        "path": str(item.path) if item.path else None,
        "since": output.utc(item.since),
        "size": item.size,
        "removed": removed and item.name not in problems,
        "problem": problems.get(item.name),
    }
