"""`jobrunner prepare-for-reboot`: put every running job back before the machine is restarted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from jobrunner_cli.engine.running.rebooting import Plan


def prepare_for_reboot(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON with stable keys.")] = False,
) -> None:
    """Put every running job back before the machine is restarted: its container and files are removed.

    The jobs start over when a runner is at work again. Only while no runner is; stop the service first.
    A job whose row cannot be read is named and left as it is, and the exit code is 1.

    \b
    Examples:
      jobrunner prepare-for-reboot --dry-run
      jobrunner prepare-for-reboot --yes
    """
    from jobrunner_cli import diagnostics, output
    from jobrunner_cli.commands.confirming import require_consent
    from jobrunner_cli.commands.loading import load_for_database
    from jobrunner_cli.commands.reaching import reached_executor
    from jobrunner_cli.engine.errors import ExitCode
    from jobrunner_cli.engine.running import rebooting
    from jobrunner_cli.engine.store.database import Database
    from jobrunner_cli.engine.store.locks import RunnerLock

    settings = load_for_database()
    lock = RunnerLock(settings.runner_lock_path)
    lock.acquire(0.0)
    try:
        with Database(settings.database_path) as database:
            plan = rebooting.plan(database.connection)
            for text in plan.damaged:
                diagnostics.notice(f"Left as it is: {text}")
            if not plan.put_back and not as_json:
                which = "that can be read runs and" if plan.damaged else "runs that"
                diagnostics.notice(f"No job {which} would have to be put back.")
            _show(plan, aloud=not as_json and (dry_run or not yes), to_stdout=dry_run)
            if dry_run or not plan.put_back:
                if as_json:
                    output.as_json([{"id": job.id, "outcome": "would be put back"} for job in plan.put_back])
                raise typer.Exit(ExitCode.FAILED if plan.damaged and not dry_run else ExitCode.FINE)
            question = f"end and put back {output.counted(len(plan.put_back), 'running job')}?"
            require_consent(question, yes=yes)
            done = rebooting.put_back(settings, database, reached_executor(settings), plan.put_back)
    finally:
        lock.release()
    if as_json:
        output.as_json([{"id": each.job.id, "outcome": each.error or "put back"} for each in done])
    else:
        for each in done:
            job = each.job
            output.line(f"{job.id}  {job.workspace}/{job.action}  {each.error or 'put back'}")
    all_done = not plan.damaged and all(each.error is None for each in done)
    raise typer.Exit(ExitCode.FINE if all_done else ExitCode.FAILED)


def _show(plan: Plan, *, aloud: bool, to_stdout: bool) -> None:
    from jobrunner_cli import diagnostics, output, theme

    if not aloud:
        return
    say = output.line if to_stdout else diagnostics.notice
    for job in plan.put_back:
        say(
            f"{job.id}  {job.workspace}/{job.action}  {theme.word(job.status_code)}: end it, remove container and files"
        )
    for job in plan.left:
        say(
            f"{job.id}  {job.workspace}/{job.action}  {theme.word(job.status_code)}: nothing; its outputs are decided on"
        )
