"""Which jobs a command is about, and the question before it touches them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobrunner_cli import diagnostics, output, theme
from jobrunner_cli.commands.confirming import require_consent
from jobrunner_cli.commands.job_filters import with_whole_request
from jobrunner_cli.commands.naming import find_job
from jobrunner_cli.engine.errors import NotFoundError, UsageError
from jobrunner_cli.engine.store import queries
from jobrunner_cli.engine.store.filtering import JobFilter, filtered_ids, filtered_jobs

if TYPE_CHECKING:
    from jobrunner_cli.engine.operations import Step
    from jobrunner_cli.engine.states import StatusCode
    from jobrunner_cli.engine.store.database import Connection
    from jobrunner_cli.engine.store.models import Job

#: Jobs that are named one by one before a question; the rest is counted.
_MOST_NAMED = 30
#: Why a verb would do nothing to what options chose: to one job, to several.
_LEFT_ALONE = {
    "cancel": ("it has ended", "all of them have ended"),
    "kill": ("it has ended and left nothing", "all of them have ended and left nothing"),
    "pause": ("it is paused already", "all of them are paused already"),
    "resume": ("it is not paused", "none of them is paused"),
    "retry": (
        "its action has a newer job, or it never had a command",
        "each has a newer job of its action, or never had a command",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The jobs that a command is about."""

    jobs: tuple[Job, ...]
    #: every one was given by its whole id, so that nothing had to be guessed
    exact: bool
    #: they were chosen by a filter, not by names
    by_filter: bool = False


def select(conn: Connection, names: Sequence[str], wanted: JobFilter, codes: Collection[StatusCode]) -> Selection:
    """The jobs that are named, or, without names, those with one of these codes that a filter lets through.

    Raises UsageError without names and filter, or with both; NotFoundError, AmbiguousError.
    """
    if names:
        if not wanted.is_empty:
            msg = "jobs are either named or chosen by options, not both"
            raise UsageError(msg, hint="leave the names or the options out")
        found = {job.id: job for job in (find_job(conn, name) for name in names)}
        exact = all(name.strip().lower() in found for name in names)
        return Selection(jobs=tuple(found.values()), exact=exact)
    if wanted.is_empty:
        msg = "no job is named"
        raise UsageError(msg, hint="name some by part of their ids, or choose them with --workspace, --action …")
    chosen = filtered_jobs(conn, with_whole_request(conn, wanted).narrowed(codes))
    if not chosen:
        raise _none(conn, wanted, codes)
    return Selection(jobs=tuple(chosen), exact=False, by_filter=True)


def _none(conn: Connection, wanted: JobFilter, codes: Collection[StatusCode]) -> NotFoundError:
    """That no job is chosen, and whether that is so because those that are like that are not in the right state."""
    from jobrunner_cli.engine.states import ACTIVE_CODES

    hint = "jobrunner jobs ls takes the same options and shows what there is"
    if not filtered_ids(conn, with_whole_request(conn, wanted), limit=1):
        return NotFoundError("no job is like that", hint=hint)
    if frozenset(codes) <= ACTIVE_CODES:
        return NotFoundError("all jobs that are like that have ended", hint=hint)
    if not ACTIVE_CODES.intersection(codes):
        return NotFoundError("no job that is like that has failed", hint=hint)
    return NotFoundError("all jobs that are like that have ended, and none left anything", hint=hint)


def require_some(conn: Connection, verb: str, selection: Selection, steps: Sequence[Step]) -> None:
    """Raises NotFoundError if these are no steps: the jobs that options chose are all as `verb` would have them."""
    if steps:
        return
    one, many = _LEFT_ALONE[verb]
    number = len(selection.jobs)
    hint = "jobrunner jobs ls takes the same options and shows them"
    msg = f"one job is like that, and {one}" if number == 1 else f"{number} jobs are like that, and {many}"
    raise NotFoundError(msg, hint=(_place_to_resume(conn, selection.jobs) if verb == "resume" else None) or hint)


def _place_to_resume(conn: Connection, jobs: Sequence[Job]) -> str | None:
    """The pause that holds up jobs which are not paused by themselves, and what ends it."""
    places = {pause.name for pause in queries.pauses(conn) if pause.scope == "workspace"}
    found = [name for name in dict.fromkeys(job.workspace for job in jobs) if name in places]
    if found:
        return f"workspace {found[0]} is paused as a whole: jobrunner jobs resume --workspace {found[0]}"
    return "the backend is paused: jobrunner jobs resume" if queries.backend_paused(conn) is not None else None


def show_steps(verb: str, steps: Sequence[Step], *, lost: Sequence[Job] = (), to_stdout: bool) -> None:
    """Say of every job what would be done; `lost` are those that would fail with them."""
    say = output.line if to_stdout else diagnostics.notice
    touching = [step for step in steps if step.touches]
    for step in steps[:_MOST_NAMED]:
        job = step.job
        say(output.one_line(f"{job.id}  {job.workspace}/{job.action}  {theme.word(job.status_code)}: {step.what}"))
    if len(steps) > _MOST_NAMED:
        rest = steps[_MOST_NAMED:]
        say(f"… and {len(rest)} more, of which {verb} would touch {sum(step.touches for step in rest)}")
    if lost and touching:
        names = [f"{job.workspace}/{job.action} ({job.id})" for job in lost[:5]]
        more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
        say(f"What waits for them fails with them: {', '.join(names)}{more}")


def may_go_on(
    verb: str,
    steps: Sequence[Step],
    *,
    ask: bool,
    yes: bool,
    dry_run: bool,
    as_json: bool = False,
    lost: Sequence[Job] = (),
) -> bool:
    """Whether to do it: not in a dry run, and, where `ask` says so, only with consent.

    Raises UsageError where nobody can be asked.
    """
    touched = sum(step.touches for step in steps)
    if dry_run:
        if as_json:
            say_done(
                [(step.job, step.what) for step in steps],
                as_json=True,
                more=[{"touches": step.touches, "done": False} for step in steps],
            )
        else:
            show_steps(verb, steps, lost=lost, to_stdout=True)
        diagnostics.notice(f"{verb} would touch {count(touched)}; nothing was done.")
        return False
    if not ask or not touched:
        return True
    if not yes:
        show_steps(verb, steps, lost=lost, to_stdout=False)
    require_consent(f"{verb} {count(touched)}?", yes=yes)
    return True


def count(number: int) -> str:
    """So many jobs, in words."""
    return "1 job" if number == 1 else f"{number} jobs"


def say_done(done: Sequence[tuple[Job, str]], *, as_json: bool, more: Sequence[dict[str, Any]] = ()) -> None:
    """What became of each job: a line, or as JSON; `more` has further keys for each."""
    if as_json:
        rows = [
            {"id": job.id, "workspace": job.workspace, "action": job.action, "outcome": outcome}
            for job, outcome in done
        ]
        output.as_json([{**row, **extra} for row, extra in zip(rows, more or [{}] * len(rows), strict=True)])
        return
    for job, outcome in done:
        output.line(output.one_line(f"{job.id}  {job.workspace}/{job.action}  {outcome}"))
