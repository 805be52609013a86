"""Everything that a runner needs, put together: lock, table, executor, repositories, hands, eyes and the loop."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from jobrunner_cli.engine.errors import ConfigurationError
from jobrunner_cli.engine.masking import Masker
from jobrunner_cli.engine.running.board import Board
from jobrunner_cli.engine.running.controller import Controller
from jobrunner_cli.engine.running.disks import Disks
from jobrunner_cli.engine.running.effects import Effects
from jobrunner_cli.engine.running.hands import Hands
from jobrunner_cli.engine.running.log_heads import LogHeads
from jobrunner_cli.engine.running.observer import Ended, Observer
from jobrunner_cli.engine.running.transport import kept_elsewhere
from jobrunner_cli.engine.store import queries
from jobrunner_cli.engine.store.database import Database, ensure_migrated
from jobrunner_cli.engine.store.locks import RunnerLock, workdir_id
from jobrunner_cli.engine.study.repository import GitAccess, Repositories
from jobrunner_cli.engine.time_limits import load_time_limits
from jobrunner_cli.engine.tracing import start_tracing
from jobrunner_cli.engine.weights import load_weights
from jobrunner_cli.engine.world import Snapshot

if TYPE_CHECKING:
    from jobrunner_cli.engine.executors.protocol import Executor
    from jobrunner_cli.engine.running.listener import Listener
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.models import Job


def make_executor(settings: Settings) -> Executor:
    """The executor that the settings name.

    Raises ConfigurationError for one that isolates nothing on a backend with real data.
    """
    if settings.executor == "process":
        if not settings.using_dummy_data_backend:
            msg = f"EXECUTOR=process isolates nothing and is refused on backend {settings.backend}, which has real data"
            raise ConfigurationError(msg, hint="set EXECUTOR=docker")
        from jobrunner_cli.engine.executors.process import ProcessExecutor

        return ProcessExecutor(volumes_dir=settings.high_privacy_volume_dir)
    # docker-py and what it imports take a tenth of a second, which no other command should pay.
    from jobrunner_cli.engine.executors.docker import DockerExecutor

    return DockerExecutor.from_environment(
        os.environ,
        registry=settings.docker_registry,
        # Whoever says how the engine sees the directories says that it does.
        shares_files=True if settings.docker_host_volume_dir is not None else None,
    )


def git_access(settings: Settings) -> GitAccess:
    """How git may talk to the outside."""
    return GitAccess(
        repos_dir=settings.repos_dir,
        backend=settings.backend,
        token=settings.private_repo_access_token,
        use_proxy=settings.github_proxy,
    )


def make_repositories(settings: Settings) -> Repositories:
    """The studies' repositories, reached as the settings allow."""
    return Repositories(git_access(settings))


@contextmanager
def _releasing(lock: RunnerLock) -> Iterator[None]:
    try:
        yield
    finally:
        lock.release()


def _original_of(database: Database, request_id: str) -> Mapping[str, Any] | None:
    saved = queries.saved_request(database.connection, request_id)
    return None if saved is None else saved.original


@contextmanager
def runner(
    settings: Settings,
    listener: Listener,
    *,
    executor: Executor | None = None,
    only: Callable[[Sequence[Job]], Collection[str]] | None = None,
    lock: RunnerLock | None = None,
    reach: Callable[[Executor], object] = lambda executor: executor.check(),
    pulse: Callable[[], None] = lambda: None,
) -> Iterator[tuple[Controller, Board]]:
    """A controller that is ready to run, holding the runner lock of its work directory, or under the caller's `lock`.

    `reach` is called with the executor before it is used, and returns when that answers; it need not wait for an engine
    of this machine, which may answer later. `pulse` is called after each look of the loop.

    Raises RunnerActiveError if another process holds it, DatabaseNotMigratedError, ConfigurationError, and
    ExecutorUnavailableError if the executor does not answer now.
    """
    executor = executor or make_executor(settings)
    ensure_migrated(settings.database_path)
    own_lock = RunnerLock(settings.runner_lock_path)
    if lock is None:
        own_lock.acquire()
    with _releasing(own_lock), Database(settings.database_path) as database, ExitStack() as open_until_end:
        owner = workdir_id(settings.workdir)
        if not settings.using_dummy_data_backend:
            # Found out now rather than by each job that needs them.
            settings.presto_files()
        reach(executor)
        weights = load_weights(settings.job_resource_weights)
        masker = Masker(settings.secrets())
        time_limits = load_time_limits(settings.job_time_limits, settings.job_time_limit)
        tracing = open_until_end.enter_context(closing(start_tracing(settings, partial(_original_of, database))))
        board = Board(
            database, settings, weights, time_limits=time_limits, tracing=tracing, mask=masker.mask, only=only
        )
        elsewhere = kept_elsewhere(executor, owner)
        controller = Controller(
            settings=settings, board=board, listener=listener, elsewhere=elsewhere, pulse=pulse, tracing=tracing
        )
        heads = open_until_end.enter_context(closing(LogHeads(executor, settings.high_privacy_volume_dir, masker)))

        def seen(news: Snapshot | Ended) -> None:
            if isinstance(news, Snapshot):
                heads.see(news)
            controller.post(news)

        observer = Observer(executor, owner, post=seen, on_trouble=controller.trouble)
        effects = Effects(
            settings=settings,
            executor=executor,
            repositories=make_repositories(settings),
            owner=owner,
            masker=masker,
            was_away=observer.was_away,
            heads=heads,
        )
        disks = Disks(settings, post=controller.post)
        controller.attach(Hands(effects, settings, controller.post), observer, disks)
        yield controller, board
