"""`jobrunner jobs`: the group of the commands that look at jobs, wait for them, end them, hold them up, run them again."""

from __future__ import annotations

from typing import ClassVar

import typer

from jobrunner_cli.commands.groups import CommandGroup, Entry


def _entry(module: str, attribute: str, summary: str) -> Entry:
    return Entry(module=f"jobrunner_cli.commands.{module}", attribute=attribute, summary=summary)


class Jobs(CommandGroup):
    """`jobrunner jobs`."""

    entries: ClassVar[dict[str, Entry]] = {
        "ls": _entry("jobs_ls", "ls", "List the jobs."),
        "show": _entry("jobs_show", "show", "Show everything about one job."),
        "why": _entry("jobs_why", "why", "Say why a job is where it is, and what would change it."),
        "logs": _entry("jobs_logs", "logs", "Print what jobs printed."),
        "outputs": _entry("jobs_outputs", "outputs", "List a job's outputs, copy or open one."),
        "wait": _entry("jobs_wait", "wait", "Wait until jobs have ended."),
        "cancel": _entry("jobs_end", "cancel", "Cancel jobs."),
        "kill": _entry("jobs_end", "kill", "Kill jobs as an operator."),
        "pause": _entry("jobs_pause", "pause", "Start nothing, or not these jobs, until they are resumed."),
        "resume": _entry("jobs_pause", "resume", "End a pause."),
        "retry": _entry("jobs_retry", "retry", "Run failed jobs again, or store their outputs again."),
    }


app = typer.Typer(cls=Jobs, add_completion=False, rich_markup_mode=None)


@app.callback()
def jobs() -> None:
    """List jobs, look at one, read its log, end it, hold it up, run it again.

    A job is named by any unambiguous part of its id, or as workspace/action for the latest of those.

    \b
    Examples:
      jobrunner jobs ls --state failed --since 1d
      jobrunner jobs why test/describe
      jobrunner jobs logs -f 7ujg
      jobrunner jobs retry --workspace test --failed
    """
