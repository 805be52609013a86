"""`jobrunner jobs why`: why a job is where it is, and what would change that."""

from __future__ import annotations

from jobrunner_cli.commands.job_words import JobName, Json


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
    import time

    from jobrunner_cli import output, theme
    from jobrunner_cli.commands.job_view import as_dict
    from jobrunner_cli.commands.loading import load_for_database, reading
    from jobrunner_cli.commands.naming import find_job
    from jobrunner_cli.engine.running.log_reading import last_words
    from jobrunner_cli.engine.running.reasons import account, culprit
    from jobrunner_cli.engine.states import ACTIVE_CODES
    from jobrunner_cli.log_text import in_short

    settings = load_for_database()
    with reading(settings) as database:
        found = find_job(database.connection, job)
        told = account(settings, database, found)
        failed = culprit(database, found)
        printed = [in_short(line) for line in last_words(settings, failed)]
    since = found.status_code_updated_at / 1e9
    if as_json:
        output.as_json(
            {
                **{key: as_dict(found)[key] for key in ("id", "workspace", "action", "state", "status_code")},
                "since": output.utc(since),
                "reasons": [
                    {"text": reason.text, "change": reason.change, "jobs": list(reason.job_ids)}
                    for reason in told.reasons
                ],
                "place": told.place,
                "waiting": told.waiting,
                "expected_start": None
                if told.expected_start is None
                else output.utc(time.time() + told.expected_start),
                "printed_last": printed,
            }
        )
        return
    code = found.status_code
    how_long = f"for {output.ago(since)}" if code in ACTIVE_CODES else f"{output.ago(since)} ago"
    title = f"{output.glyph(code)} {found.workspace}/{found.action}: {theme.word(code)}, {how_long}"
    output.prose(title, rest="  ", style=theme.style(code))
    for reason in told.reasons:
        output.prose(reason.text, first="  ", rest="  ")
        if reason.change and reason.change not in reason.text:
            output.prose(reason.change, first="    -> ", rest="       ")
    if printed:
        whose = "its log" if failed is found else f"the log of {failed.action}"
        output.line(f"  {output.one_line(whose)} ends with")
        for line in printed:
            output.line(f"    | {line}")
    if told.expected_start is not None:
        about = "soon" if told.expected_start < 1 else f"in about {output.duration(told.expected_start)}"
        output.line(f"  going by the last runs of these actions, it starts {about}")
