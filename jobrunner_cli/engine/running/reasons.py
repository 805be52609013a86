"""Why a job is where it is, asked of the table from outside the loop, and what would change that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobrunner_cli.engine.explaining import Reason, before_it, reasons_of, running_words
from jobrunner_cli.engine.foreseeing import seconds_until_start
from jobrunner_cli.engine.running.board import Board
from jobrunner_cli.engine.running.log_reading import stored_log
from jobrunner_cli.engine.running.second_chances import is_likely
from jobrunner_cli.engine.running.space import shortages_soon
from jobrunner_cli.engine.scheduling import WAITS_FOR_CAPACITY
from jobrunner_cli.engine.states import TABLE, State, StatusCode, state_of
from jobrunner_cli.engine.store import queries
from jobrunner_cli.engine.store.locks import holder_pid
from jobrunner_cli.engine.store.run_times import usual_run_times
from jobrunner_cli.engine.weights import load_weights

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.database import Database
    from jobrunner_cli.engine.store.models import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Why a job is where it is."""

    reasons: tuple[Reason, ...]
    #: those of them that keep an unfinished job from going on
    obstacles: tuple[Reason, ...] = ()
    #: its place among the jobs that wait for capacity, from 1, and how many those are
    place: int | None = None
    waiting: int | None = None
    #: seconds until it may start, going by the last runs of the actions before it; None where nobody can tell
    expected_start: float | None = None

    @property
    def cause(self) -> str | None:
        """The job to look at first: the one that has to move for this one, or whose failure ended it."""
        return next((each.cause for each in self.reasons if each.cause is not None), None)


#: What a retry is not for: a study that has been mended.
_SAME_COMMIT = "at the same commit (jobrunner add-job takes the study as it is now)"


def reasons(settings: Settings, database: Database, job: Job) -> list[str]:
    """What keeps an unfinished job from going on, one reason a line, as `account` has it; nothing for a finished one."""
    return [each.text for each in account(settings, database, job).obstacles]


def account(settings: Settings, database: Database, job: Job) -> Account:
    """Why a job is where it is, unfinished or finished, and what would change it."""
    board = _board(settings, database)
    view = board.view(job.id)
    if view is None:
        return Account(reasons=tuple(_end(settings, database, job)))
    views, world = board.views(), board.world(None, draining=False)
    run_times = usual_run_times(database.connection, {(other.workspace, other.action) for other in views})
    obstacles = reasons_of(view, views, world, run_times)
    if not obstacles and view.code is StatusCode.CREATED:
        obstacles = [Reason(text=TABLE[view.code].meaning, change="a runner does that")]
    absent = holder_pid(settings.runner_lock_path) is None
    if absent:
        # Without one nothing else can change.
        obstacles.insert(0, _no_runner(settings))
    does = []
    if view.state is State.RUNNING:
        text = running_words(view, world, run_times.get((view.workspace, view.action)))
        does.append(Reason(text=text, change=f"jobrunner jobs cancel {job.id} ends it"))
    queue = [other for other in views if other.code in WAITS_FOR_CAPACITY]
    queued = view in queue
    return Account(
        reasons=(*does, *obstacles),
        obstacles=tuple(obstacles),
        place=len(before_it(view, views, world)) + 1 if queued else None,
        waiting=len(queue) if queued else None,
        expected_start=None if absent else seconds_until_start(view, views, world, run_times),
    )


def culprit(database: Database, job: Job) -> Job:
    """The job whose failure ended this one: where one that it needs did, that at the end of the chain; else itself."""
    return next(reversed(_failed_chain(database, job)), job)


def _board(settings: Settings, database: Database) -> Board:
    board = Board(database, settings, load_weights(settings.job_resource_weights))
    board.look()
    board.set_shortages(shortages_soon(settings))
    return board


def _no_runner(settings: Settings) -> Reason:
    text = f"no runner is at work on {settings.workdir}: jobrunner run starts one"
    return Reason(text=text, change="jobrunner run starts one")


def _end(settings: Settings, database: Database, job: Job) -> list[Reason]:
    """Why a job ended as it did."""
    if state_of(job.status_code) is State.SUCCEEDED:
        return [Reason(text=f"it has succeeded: {job.status_message or 'done'}", change="nothing has to")]
    if job.status_code is StatusCode.DEPENDENCY_FAILED:
        chain = _failed_chain(database, job)
        if chain:
            names = ", which needs ".join(f"{each.action} ({each.id})" for each in chain)
            last = chain[-1]
            return [
                Reason(
                    text=f"it needs {names}, which failed: {last.status_message or TABLE[last.status_code].meaning}",
                    change=f"jobrunner jobs why {last.id} says more of that one; "
                    f"jobrunner jobs retry {last.id} {job.id} runs both again, {_SAME_COMMIT}",
                    job_ids=tuple(each.id for each in chain),
                    cause=last.id,
                )
            ]
    conn = database.connection
    outcome = queries.result_of(conn, job.id)
    hint = outcome.hint if outcome is not None else None
    text = f"it ended: {job.status_message or TABLE[job.status_code].meaning}"
    again = f"runs it anew, {_SAME_COMMIT}"
    if is_likely(settings, conn, job):
        again = "stores its outputs again, if its container still stands; else it " + again
    has_log = stored_log(settings, job) is not None or is_likely(settings, conn, job)
    log = hint or (f"jobrunner jobs logs {job.id} shows what it printed" if has_log else None)
    return [Reason(text=text, change="; ".join(filter(None, (log, f"jobrunner jobs retry {job.id} {again}"))))]


def _failed_chain(database: Database, job: Job) -> list[Job]:
    """From the job that it waited for in vain down to the one that failed by itself."""
    chain: list[Job] = []
    seen = {job.id}
    while job.status_code is StatusCode.DEPENDENCY_FAILED:
        below = queries.jobs_by_ids(database.connection, job.wait_for_job_ids)
        failed = [each for each in below.values() if state_of(each.status_code) is State.FAILED and each.id not in seen]
        if not failed:
            break
        job = min(failed, key=lambda each: (each.completed_at or 0, each.id))
        seen.add(job.id)
        chain.append(job)
    return chain
