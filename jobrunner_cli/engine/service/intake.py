"""New job requests become jobs here: planned beside the conversation with the job-server, which they never hold up.

The requests of one repository are taken one after the other, so that its commits are fetched and its file is read once;
those of different repositories at the same time, so that one that does not answer holds up only its own.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from jobrunner_cli.engine import requests
from jobrunner_cli.engine.errors import JobrunnerError
from jobrunner_cli.engine.running.pools import Pool
from jobrunner_cli.engine.running.session import git_access
from jobrunner_cli.engine.service.pacing import Backoff, Pace
from jobrunner_cli.engine.study.remembering import RememberingRepositories

if TYPE_CHECKING:
    from jobrunner_cli.engine.service.wire import Incoming
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.database import Database

log = logging.getLogger(__name__)

#: How many repositories are asked at the same time.
_THREADS = 4


class Intake:
    """Takes requests in and makes them into jobs, in threads of its own."""

    def __init__(self, settings: Settings, database: Database, pace: Pace, stop: threading.Event) -> None:
        self._settings = settings
        self._database = database
        self._pace = pace
        self._stop = stop
        self._pool = Pool("intake", _THREADS)
        self._changed = threading.Condition()
        #: repository -> what is to be taken of it; it is there while a thread is at it
        self._queues: dict[str, deque[Incoming]] = {}
        self._under_way: set[str] = set()
        self._retries: dict[str, Backoff] = {}
        #: how many requests became jobs, or a report of what is wrong with them
        self.taken = 0
        #: request -> why it could not be taken at the last attempt
        self.failed: dict[str, str] = {}

    def submit(self, new: Iterable[Incoming], *, complete: bool) -> None:
        """Take those of these requests that are not under way and not to be left alone for a while.

        If they are `complete`, what was remembered of others is forgotten. Called by one thread only.
        """
        listed = {incoming.request.id: incoming for incoming in new}
        with self._changed:
            for gone in [request_id for request_id in self._retries if complete and request_id not in listed]:
                del self._retries[gone]
                self.failed.pop(gone, None)
            for request_id, incoming in listed.items():
                retry = self._retries.get(request_id)
                if request_id not in self._under_way and (retry is None or retry.is_due):
                    self._enqueue(incoming)

    def _enqueue(self, incoming: Incoming) -> None:
        repo = incoming.request.repo_url
        self._under_way.add(incoming.request.id)
        if repo in self._queues:
            self._queues[repo].append(incoming)
            return
        self._queues[repo] = deque([incoming])
        self._pool.submit(lambda: self._take_all(repo))

    def wait(self) -> None:
        """Wait until everything that was submitted has been tried."""
        with self._changed:
            while self._queues and not self._stop.is_set():
                self._changed.wait(self._pace.look)

    def close(self, patience: float) -> bool:
        """Let the threads end; returns whether they are done with everything after at most so many seconds."""
        self._pool.close()
        with self._changed:
            return self._changed.wait_for(lambda: not self._queues, patience)

    def _take_all(self, repo: str) -> None:
        repositories = RememberingRepositories(git_access(self._settings), stop=self._stop)
        while (incoming := self._next(repo)) is not None:
            why = self._take(incoming, repositories)
            with self._changed:
                self._note(incoming.request.id, why)
                self._changed.notify_all()

    def _next(self, repo: str) -> Incoming | None:
        with self._changed:
            queue = self._queues[repo]
            if queue and not self._stop.is_set():
                return queue.popleft()
            del self._queues[repo]
            self._changed.notify_all()
            return None

    def _take(self, incoming: Incoming, repositories: RememberingRepositories) -> str | None:
        """Make the request's jobs; returns why that was not possible."""
        request = incoming.request
        if incoming.fault is not None:
            log.error("Job request %s cannot be read", request.id, exc_info=incoming.fault)
        try:
            if incoming.error is not None:
                made = requests.refuse(self._settings, self._database, request, incoming.error)
            else:
                made = requests.create_jobs(self._settings, repositories, self._database, request)
        except JobrunnerError as error:
            return error.message
        except Exception as error:
            log.exception("Job request %s cannot be taken", request.id)
            return f"{type(error).__name__}: {error}"
        if not made.existing and made.error is None:
            names = ", ".join(job.action for job in made.jobs[:5]) + (" …" if len(made.jobs) > 5 else "")
            log.info("Job request %s for workspace %s: %s", request.id, request.workspace, names)
        return None

    def _note(self, request_id: str, why: str | None) -> None:
        self._under_way.discard(request_id)
        if why is None:
            self.taken += 1
            self._retries.pop(request_id, None)
            self.failed.pop(request_id, None)
            return
        self.failed[request_id] = why
        if self._stop.is_set():
            return
        retry = self._retries.setdefault(request_id, Backoff(self._settings.poll_interval, self._pace.longest_wait))
        wait = retry.failed()
        log.warning("Job request %s cannot be taken: %s; trying again in %.0f s", request_id, why, wait)
