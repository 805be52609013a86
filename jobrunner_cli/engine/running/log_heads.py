"""Keeping the beginning of what jobs print: an engine that keeps the newest part alone drops it when a job prints much.

A job that ends within a moment pays nothing: the engine still has everything then. One that runs on is followed by a
thread of its own, which waits at the engine's stream and goes when the beginning has its full size, so that no job
costs more than that. A job that an earlier runner left is followed anew: what is kept already is passed over, and if
the engine has let go of the beginning meanwhile, what is kept stays.
"""

from __future__ import annotations

import logging
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from threading import Condition, Event, Lock, Thread
from typing import TYPE_CHECKING

from jobrunner_cli.engine.errors import JobFilesError, JobrunnerError
from jobrunner_cli.engine.jobfiles.copying import is_full
from jobrunner_cli.engine.jobfiles.layout import JobDirectory
from jobrunner_cli.engine.jobfiles.loghead import HeadFile, read_head
from jobrunner_cli.engine.loglines import stamp_of
from jobrunner_cli.engine.work import ContainerState
from jobrunner_cli.engine.world import Snapshot

if TYPE_CHECKING:
    from jobrunner_cli.engine.executors.protocol import Executor
    from jobrunner_cli.engine.loglines import LogLines
    from jobrunner_cli.engine.masking import Masker

log = logging.getLogger(__name__)

#: Seconds after which a job that still runs is followed. A fast engine writes more than it keeps within one.
_DELAY = 0.2
#: The least seconds between two looks at which jobs are due.
_PAUSE = 0.05
#: Seconds before what failed is tried again: at first, and at most. And those that a job's end waits for its follower.
_AFTER_TROUBLE = 3.0
_LONGEST_PAUSE = 60.0
_PARTING = 5.0
#: Jobs that are followed at once; the others' turn comes when one has ended or been heard out.
_MOST_FOLLOWED = 64


class LogHeads:
    """The followers of one runner's jobs. May be used from several threads."""

    def __init__(self, executor: Executor, volumes_dir: Path, masker: Masker) -> None:
        """`volumes_dir` is the directory with the jobs' directories. Nothing is begun yet."""
        self._executor = executor
        self._volumes_dir = volumes_dir
        self._masker = masker
        self._changed = Condition()
        self._jobs: dict[str, _Job] = {}
        self._thread: Thread | None = None
        self._closed = False

    def started(self, job_id: str) -> None:
        """A job's container was started."""
        self._expect(job_id, adopted=False)

    def see(self, snapshot: Snapshot) -> None:
        """Take up the jobs that run although this runner has not started them."""
        if self._executor.keeps_log_head:
            return
        running = frozenset(job_id for job_id, state in snapshot.containers.items() if state is ContainerState.RUNNING)
        with self._changed:
            gone = [job for job in self._jobs.values() if job.is_over_unnoticed and job.id not in running]
            for job in gone:
                del self._jobs[job.id]
            unknown = running - self._jobs.keys()
        for job_id in unknown:
            self._expect(job_id, adopted=True)

    def ended(self, job_id: str) -> str:
        """The job's container ended: follow it no longer; why its beginning could not be kept, or nothing."""
        with self._changed:
            job = self._jobs.get(job_id)
        if job is None:
            return ""
        job.end()
        if job.thread is not None:
            job.thread.join(_PARTING)
        return job.trouble

    def forget(self, job_id: str) -> None:
        """Nobody will ask about the job any more, or it starts over."""
        self.ended(job_id)
        with self._changed:
            self._jobs.pop(job_id, None)

    def close(self) -> None:
        """Let go of all of them; what was kept so far stays."""
        with self._changed:
            self._closed = True
            jobs, self._jobs = list(self._jobs.values()), {}
            self._changed.notify_all()
        for job in jobs:
            job.end()

    def _expect(self, job_id: str, *, adopted: bool) -> None:
        if self._executor.keeps_log_head:
            return
        with self._changed:
            known = self._jobs.get(job_id)
            # One that a late snapshot told of, from before it was started over, is not in the way of the new start.
            if self._closed or (known is not None and (adopted or not known.is_over_unnoticed)):
                return
            self._jobs[job_id] = _Job(id=job_id, due=time.monotonic() + _DELAY, adopted=adopted)
            if self._thread is None:
                self._thread = Thread(target=self._begin_when_due, name="log-heads", daemon=True)
                self._thread.start()
            elif self._waiting() == 1:
                self._changed.notify_all()

    def _waiting(self) -> int:
        return sum(job.thread is None and not job.over.is_set() for job in self._jobs.values())

    def _begin_when_due(self) -> None:
        """Begin to follow the jobs that have run for a while."""
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                followed = sum(job.thread is not None and job.thread.is_alive() for job in self._jobs.values())
                waiting = [job for job in self._jobs.values() if job.thread is None and not job.over.is_set()]
                for job in [job for job in waiting if job.due <= now][: max(_MOST_FOLLOWED - followed, 0)]:
                    job.thread = Thread(target=self._follow, args=(job,), name=f"log-{job.id}", daemon=True)
                    job.thread.start()
                    waiting.remove(job)
                soonest = min((job.due for job in waiting), default=None)
                self._changed.wait(None if soonest is None else max(soonest - now, _PAUSE))

    def _follow(self, job: _Job) -> None:
        pause = _AFTER_TROUBLE
        while not job.over.is_set():
            try:
                self._keep(job, JobDirectory.of(self._volumes_dir, job.id).control)
            except (FileNotFoundError, JobFilesError):
                # Its directory is gone, or it is no job of ours.
                return
            except (JobrunnerError, OSError) as error:
                full = isinstance(error, OSError) and is_full(error)
                why = "the disk was full" if full else str(error)
                job.trouble = f"its beginning could not be kept: {why}"
                log.warning("The beginning of the log of job %s cannot be kept now: %s", job.id, why)
                job.over.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            except Exception:
                # It is the engine that has the log; without its beginning kept here, the job goes on all the same.
                log.exception("The log of job %s is not followed", job.id)
                return
            else:
                return

    def _keep(self, job: _Job, control: Path) -> None:
        """Follow it until its beginning is kept or the job ends. Raises OSError, ExecutorUnavailableError."""
        present = read_head(control)
        if present is not None and present.full:
            return
        with HeadFile(control) as file, closing(self._executor.logs(job.id, follow=True)) as source:
            if not job.holds(source):
                return
            for number, line in enumerate(self._masker.mask_lines(source)):
                if job.over.is_set():
                    # What comes after the stream was cut may be the first half of something.
                    break
                if number < len(file.found):
                    if stamp_of(line) != stamp_of(file.found[number]):
                        # The engine has let go of the beginning: what is kept is all that there is of it.
                        return
                    continue
                file.add(line)
                if file.is_full:
                    break
            file.flush()
            job.trouble = ""


@dataclass(slots=True, kw_only=True)
class _Job:
    """A job whose container runs, or ran a moment ago."""

    id: str
    #: monotonic seconds at which it is to be followed
    due: float
    #: it was found running
    adopted: bool
    thread: Thread | None = None
    over: Event = field(default_factory=Event)
    #: why its beginning could not be kept
    trouble: str = ""
    _source: LogLines | None = None
    _lock: Lock = field(default_factory=Lock)

    @property
    def is_over_unnoticed(self) -> bool:
        """If it does not run: whether nobody will ask about it, because a late snapshot alone told of it."""
        idle = self.thread is None or not self.thread.is_alive()
        return self.adopted and idle and not self.trouble

    def holds(self, source: LogLines) -> bool:
        """Take note of what is being read, so that `end` can cut it; false if it has ended already."""
        with self._lock:
            self._source = source
            return not self.over.is_set()

    def end(self) -> None:
        """Have its follower end."""
        with self._lock:
            self.over.set()
            if self._source is not None:
                self._source.close()
