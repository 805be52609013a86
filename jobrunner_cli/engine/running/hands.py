"""The hands of the loop: they begin effects in the right pool, and post what came out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from jobrunner_cli.engine.running.definitions import define, outline
from jobrunner_cli.engine.running.pools import Pool
from jobrunner_cli.engine.running.tracks import EffectDone, Track, is_as_made
from jobrunner_cli.engine.states import TABLE, StatusCode
from jobrunner_cli.engine.work import EffectKind, InputFile, IntentKind

if TYPE_CHECKING:
    from jobrunner_cli.engine.running.effects import Effects
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.models import Job

#: What may last as long as a command is given to end itself: all that run may be ended at once, and nothing starts later
#: for that.
_ENDING = frozenset({EffectKind.TERMINATE, EffectKind.STOP, EffectKind.HALT, EffectKind.RESET})
#: Threads beyond one for each worker: ended jobs are cleaned up and next ones provisioned beside.
_SPARE_THREADS = 2
_STARTING_THREADS = 4
_MOST_THREADS = 32


class Hands:
    """Three bounded pools, for starts, for ends and for file work, and the way from an effect's kind to its function."""

    def __init__(self, effects: Effects, settings: Settings, post: Callable[[EffectDone], None]) -> None:
        self._effects = effects
        self._settings = settings
        self._post = post
        self._files = Pool("files", _threads(settings.max_workers))
        self._ends = Pool("ends", _threads(settings.max_workers))
        self._starts = Pool("starts", _STARTING_THREADS)

    def grow(self, max_workers: int) -> None:
        """Have threads enough for so many workers."""
        for pool in (self._files, self._ends):
            pool.grow(_threads(max_workers))

    def begin(self, job: Job, kind: EffectKind, track: Track, inputs: Sequence[InputFile]) -> None:
        """Begin an effect; its end is posted, whatever happens."""
        task = self._task(job, kind, track, inputs)
        pool = self._starts if kind is EffectKind.START else self._ends if kind in _ENDING else self._files
        pool.submit(partial(self._do, job.id, kind, task))

    def remove_unknown(self, job_id: str) -> None:
        """Begin to remove what a job left that is not in the table."""
        self._files.submit(partial(self._do, job_id, EffectKind.CLEANUP, lambda: self._effects.remove_unknown(job_id)))

    def close(self) -> None:
        """Let the threads end."""
        for pool in (self._files, self._ends, self._starts):
            pool.close()

    def _do(self, job_id: str, kind: EffectKind, task: Callable[[], object]) -> None:
        value, error = None, None
        try:
            value = task()
        except Exception as caught:  # noqa: BLE001 (whatever an effect raises is for the loop to judge)
            error = caught
        self._post(EffectDone(job_id=job_id, kind=kind, ended_at=time.monotonic(), value=value, error=error))

    def _task(self, job: Job, kind: EffectKind, track: Track, inputs: Sequence[InputFile]) -> Callable[[], object]:
        effects, stop, tally = self._effects, track.stop, track.tally
        match kind:
            case EffectKind.PROVISION:
                return lambda: effects.provision(define(job, self._settings), stop)
            case EffectKind.PREPARE:
                made_at = track.provisioned_at
                # Asked when it begins: copies of other jobs may be before it.
                return lambda: effects.prepare(
                    define(job, self._settings),
                    inputs,
                    stop,
                    provisioned=is_as_made(made_at, time.monotonic()),
                    tally=tally,
                )
            case EffectKind.START:
                return lambda: effects.start(outline(job, self._settings))
            case EffectKind.FINALIZE:
                had_ended = track.had_ended
                return lambda: effects.finalize(outline(job, self._settings), stop, had_ended=had_ended, tally=tally)
            case EffectKind.PUBLISH:
                outcome = track.outcome
                if outcome is None:
                    msg = f"job {job.id} has no verdict to publish"
                    raise AssertionError(msg)
                last, history = track.last_outputs, track.history
                return lambda: effects.publish(
                    outline(job, self._settings), outcome, last=last, history=history, tally=tally
                )
            case EffectKind.TERMINATE:
                killed = track.cause == IntentKind.KILL.value
                message = TABLE[StatusCode.KILLED_BY_ADMIN if killed else StatusCode.CANCELLED_BY_USER].message
                return lambda: effects.terminate(outline(job, self._settings), message, keep=False)
            case EffectKind.STOP:
                message = TABLE[StatusCode.KILLED_BY_ADMIN].message
                return lambda: effects.terminate(outline(job, self._settings), message, keep=True)
            case EffectKind.HALT:
                cause = track.cause
                return lambda: effects.halt(outline(job, self._settings), cause)
            case EffectKind.RESET:
                return lambda: effects.reset(job.id, job.workspace)
            case EffectKind.CLEANUP:
                return lambda: effects.remove(job.id, job.workspace)


def _threads(max_workers: int) -> int:
    return min(max_workers + _SPARE_THREADS, _MOST_THREADS)
