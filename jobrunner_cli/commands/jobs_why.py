"""`jobrunner jobs why`: why a job is where it is, and what would change that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobrunner_cli.commands.job_words import JobName, Json

if TYPE_CHECKING:
    from jobrunner_cli.engine.running.reasons import Account
    from jobrunner_cli.engine.store.models import Job


def why(job: JobName, as_json: Json = False) -> None:
    """Say why a job is where it is, and what would change that.

    Names what really holds it up, however far away: the job at the end of a chain of needs, who holds
    the slots and since when something is paused; its place in the queue; and, where the last runs of
    the actions tell, about when it starts. Of a failure, what the job that failed printed last.

    \b
    Examples:
      jobrunner jobs why 7ujg
      jobrunner jobs why test/describe --json
    """
    from jobrunner_cli.commands.loading import load_for_database, reading
    from jobrunner_cli.commands.naming import find_job
    from jobrunner_cli.engine.running.log_reading import last_words
    from jobrunner_cli.engine.running.reasons import account, culprit
    from jobrunner_cli.log_text import in_short

    settings = load_for_database()
    with reading(settings) as database:
        found = find_job(database.connection, job)
        told = account(settings, database, found)
        failed = culprit(database, found)
        printed = [in_short(line) for line in last_words(settings, failed)]
    if as_json:
        _as_json(found, told, printed)
    else:
        _show(found, told)
        if printed:
            _show_last_words("its log" if failed is found else f"the log of {failed.action}", printed)
        _show_start(told)


def _as_json(job: Job, told: Account, printed: list[str]) -> None:
    import time

    from jobrunner_cli import output
    from jobrunner_cli.commands.job_view import as_dict

    output.as_json(
        {
            **{key: as_dict(job)[key] for key in ("id", "workspace", "action", "state", "status_code")},
            "since": output.utc(job.status_code_updated_at / 1e9),
            "reasons": [
                {"text": reason.text, "change": reason.change, "jobs": list(reason.job_ids)} for reason in told.reasons
            ],
            "cause": told.cause,
            "place": told.place,
            "waiting": told.waiting,
            "expected_start": None if told.expected_start is None else output.utc(time.time() + told.expected_start),
            "printed_last": printed,
        }
    )


def _show(job: Job, told: Account) -> None:
    """Where it is, and each reason for that with what would change it."""
    from jobrunner_cli import output, theme
    from jobrunner_cli.engine.states import ACTIVE_CODES

    code, ago = job.status_code, output.ago(job.status_code_updated_at / 1e9)
    how_long = f"for {ago}" if code in ACTIVE_CODES else f"{ago} ago"
    title = f"{output.glyph(code)} {job.workspace}/{job.action}: {theme.word(code)}, {how_long}"
    output.prose(title, rest="  ", style=theme.style(code))
    for reason in told.reasons:
        output.prose(reason.text, first="  ", rest="  ")
        if reason.change and reason.change not in reason.text:
            output.prose(reason.change, first="    -> ", rest="       ")


def _show_last_words(whose: str, printed: list[str]) -> None:
    from jobrunner_cli import output

    output.line(f"  {output.one_line(whose)} ends with")
    for line in printed:
        output.line(f"    | {line}")


def _show_start(told: Account) -> None:
    from jobrunner_cli import output

    if told.expected_start is not None:
        about = "soon" if told.expected_start < 1 else f"in about {output.duration(told.expected_start)}"
        output.line(f"  going by the last runs of these actions, it starts {about}")
