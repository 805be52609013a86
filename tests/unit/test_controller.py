"""The loop, when what it has decided cannot be written."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from jobrunner_cli.engine import settings as settings_module
from jobrunner_cli.engine.executors.process import ProcessExecutor
from jobrunner_cli.engine.masking import Masker
from jobrunner_cli.engine.running.board import Board
from jobrunner_cli.engine.running.controller import Controller
from jobrunner_cli.engine.running.disks import Disks
from jobrunner_cli.engine.running.effects import Effects
from jobrunner_cli.engine.running.hands import Hands
from jobrunner_cli.engine.running.log_heads import LogHeads
from jobrunner_cli.engine.running.observer import Observer
from jobrunner_cli.engine.running.session import make_repositories
from jobrunner_cli.engine.states import StatusCode
from jobrunner_cli.engine.store import intents, queries
from jobrunner_cli.engine.store.database import Database
from jobrunner_cli.engine.weights import Weights
from jobrunner_cli.engine.work import IntentKind
from jobrunner_cli.progress import Progress
from support.store import make_job, new_database


@contextmanager
def loop_over(database: Database, base: Path, listener: Progress, pulse: Callable[[], None]) -> Iterator[Controller]:
    """A loop over a table that calls `pulse` after each look."""
    settings = settings_module.load({"WORKDIR": str(base), "EXECUTOR": "process"}, cwd=base, config_dir=base)
    executor = ProcessExecutor(volumes_dir=settings.high_privacy_volume_dir)
    with closing(LogHeads(executor, settings.high_privacy_volume_dir, Masker(()))) as heads:
        controller = Controller(
            settings=settings, board=Board(database, settings, Weights()), listener=listener, pulse=pulse
        )
        observer = Observer(executor, "owner", post=controller.post, on_trouble=controller.trouble)
        effects = Effects(
            settings=settings, executor=executor, repositories=make_repositories(settings), owner="owner",
            masker=Masker(()), was_away=observer.was_away, heads=heads,
        )  # fmt: skip
        controller.attach(Hands(effects, settings, controller.post), observer, Disks(settings, post=controller.post))
        yield controller


def test_a_locked_database_is_waited_for_once_a_look_and_holds_up_no_order_to_leave(tmp_path: Path):
    with new_database(tmp_path, make_job("j")) as conn:
        intents.append(conn, IntentKind.CANCEL, "j", "a test", 1.0)
    pulses = []

    def pulse() -> None:
        pulses.append(1)
        controller.drain()

    with (
        Database(tmp_path / "db.sqlite", patience=0.05) as database,
        closing(sqlite3.connect(tmp_path / "db.sqlite", isolation_level=None)) as other,
        loop_over(database, tmp_path, Progress(live=False), pulse) as controller,
    ):
        other.execute("BEGIN IMMEDIATE")
        controller.run(until_idle=False)
        # One for the write that failed, and one for the look.
        assert len(pulses) == 2
        assert queries.job_by_id(database.connection, "j").status_code is StatusCode.CREATED


def test_whoever_orders_it_to_leave_is_told_so_once_also_in_the_midst_of_a_look(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    new_database(tmp_path).close()

    def pulse() -> None:
        # Nothing is under way: the look before this was the last one.
        controller.drain()

    with (
        Database(tmp_path / "db.sqlite") as database,
        loop_over(database, tmp_path, Progress(live=False), pulse) as controller,
    ):
        controller.run(until_idle=False)
    assert capsys.readouterr().err.count("once more to leave at once") == 1
