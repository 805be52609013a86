"""The loop, when what it has decided cannot be written."""

import sqlite3
from contextlib import closing
from pathlib import Path

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


def test_a_locked_database_is_waited_for_once_a_look_and_holds_up_no_order_to_leave(tmp_path: Path):
    settings = settings_module.load(
        {"WORKDIR": str(tmp_path), "EXECUTOR": "process"}, cwd=tmp_path, config_dir=tmp_path
    )
    with new_database(tmp_path, make_job("j")) as conn:
        intents.append(conn, IntentKind.CANCEL, "j", "a test", 1.0)
    executor, pulses = ProcessExecutor(volumes_dir=settings.high_privacy_volume_dir), []

    def pulse() -> None:
        pulses.append(1)
        controller.drain()

    with (
        Database(tmp_path / "db.sqlite", patience=0.05) as database,
        closing(LogHeads(executor, settings.high_privacy_volume_dir, Masker(()))) as heads,
        closing(sqlite3.connect(tmp_path / "db.sqlite", isolation_level=None)) as other,
    ):
        board = Board(database, settings, Weights())
        controller = Controller(settings=settings, board=board, listener=Progress(live=False), pulse=pulse)
        observer = Observer(executor, "owner", post=controller.post, on_trouble=controller.trouble)
        effects = Effects(
            settings=settings, executor=executor, repositories=make_repositories(settings), owner="owner",
            masker=Masker(()), was_away=observer.was_away, heads=heads,
        )  # fmt: skip
        controller.attach(Hands(effects, settings, controller.post), observer, Disks(settings, post=controller.post))
        other.execute("BEGIN IMMEDIATE")
        controller.run(until_idle=False)
        # One for the write that failed, and one for the look.
        assert len(pulses) == 2
        assert queries.job_by_id(database.connection, "j").status_code is StatusCode.CREATED
