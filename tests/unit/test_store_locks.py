"""One runner per work directory, whatever becomes of it; one id per work directory; many writers at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from jobrunner_cli.engine.errors import ConfigurationError, RunnerActiveError
from jobrunner_cli.engine.store import queries
from jobrunner_cli.engine.store.database import Database
from jobrunner_cli.engine.store.locks import RunnerLock, holder_pid, workdir_id
from jobrunner_cli.engine.store.mapper import insert
from support.store import make_job, new_database

HOLD = """
import sys
from pathlib import Path
from jobrunner_cli.engine.store.locks import RunnerLock
lock = RunnerLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
sys.stdin.readline()
"""


@contextmanager
def holding(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until it gets a line or a signal."""
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_second_runner_is_refused_with_the_first_ones_pid(tmp_path: Path) -> None:
    path = tmp_path / "work" / "runner.lock"
    with holding(path) as process:
        assert holder_pid(path) == process.pid
        with pytest.raises(RunnerActiveError, match=f"process {process.pid} is at work"):
            RunnerLock(path).acquire()


def test_a_lock_that_cannot_be_written_is_not_called_a_full_disk(tmp_path: Path) -> None:
    # A device takes no length: any trouble but the lack of space.
    (tmp_path / "runner.lock").symlink_to("/dev/full")
    with pytest.raises(ConfigurationError, match="cannot be written: Invalid argument") as caught:
        RunnerLock(tmp_path / "runner.lock").acquire()
    assert "space" not in (caught.value.hint or "")


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "runner.lock"
    with holding(path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
        assert holder_pid(path) is None
        with RunnerLock(path) as lock:
            assert lock.held
            assert holder_pid(path) == os.getpid()
    assert holder_pid(path) is None


def test_waiting_for_the_lock_ends_when_its_holder_does(tmp_path: Path) -> None:
    path = tmp_path / "runner.lock"
    with holding(path) as process:
        lock = RunnerLock(path)
        waiter = threading.Thread(target=lock.acquire, kwargs={"timeout": 60})
        waiter.start()
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        waiter.join(timeout=60)
        assert lock.held
        lock.release()


def test_nobody_holds_a_lock_that_was_never_taken(tmp_path: Path) -> None:
    assert holder_pid(tmp_path / "none") is None
    (tmp_path / "file").touch()
    assert holder_pid(tmp_path / "file") is None


def test_looking_never_keeps_a_runner_from_starting(tmp_path: Path) -> None:
    path = tmp_path / "runner.lock"
    RunnerLock(path).release()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            holder_pid(path)

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(50):
            with RunnerLock(path) as lock:
                assert lock.held
    finally:
        done.set()
        for looker in lookers:
            looker.join()


def test_two_locks_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    path = tmp_path / "runner.lock"
    with RunnerLock(path) as first:
        first.acquire()
        with pytest.raises(RunnerActiveError):
            RunnerLock(path).acquire()
    first.release()
    with RunnerLock(path):
        pass


def test_a_work_directory_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        RunnerLock(tmp_path / "file" / "runner.lock").acquire()
    with pytest.raises(ConfigurationError, match="owner-id"):
        workdir_id(tmp_path / "file")


def test_the_id_of_a_work_directory_stays(tmp_path: Path) -> None:
    first = workdir_id(tmp_path / "a")
    assert workdir_id(tmp_path / "a") == first
    assert workdir_id(tmp_path / "b") != first
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["owner-id"]
    (tmp_path / "a" / "owner-id").write_text("")
    with pytest.raises(ConfigurationError, match="owner-id"):
        workdir_id(tmp_path / "a")


def run_at_once(code: str, count: int, *arguments: str) -> list[str]:
    """What so many processes print that all begin, fully imported, at the same line of input."""
    prelude = "import sys; from pathlib import Path\n"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", prelude + code, *arguments, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=120)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0] * count
    return answers


def test_processes_that_ask_at_once_get_one_id(tmp_path: Path) -> None:
    code = """
from jobrunner_cli.engine.store.locks import workdir_id
print("ready", flush=True); sys.stdin.readline()
print(workdir_id(Path(sys.argv[1])))
"""
    answers = run_at_once(code, 10, str(tmp_path / "work"))
    assert set(answers) == {workdir_id(tmp_path / "work")}


INSERT = """
import sqlite3
from jobrunner_cli.engine.store import changes, queries
from jobrunner_cli.engine.store.database import connect
from jobrunner_cli.engine.store.models import SavedJobRequest
from support.store import make_job
conn = connect(Path(sys.argv[1]))
print("ready", flush=True); sys.stdin.readline()
made = 0
for number in range(5):
    request = SavedJobRequest(id=f"req{number}", original={"n": number})
    jobs = [make_job(f"job{number}-{part}", job_request_id=request.id) for part in range(3)]
    with conn.transaction():
        if not queries.jobs_of_request(conn, request.id):
            changes.insert_request_and_jobs(conn, request, jobs)
            made += 1
print(made)
"""


@pytest.mark.slow
def test_twenty_processes_that_insert_the_same_requests_make_each_job_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]), prepend=os.pathsep)
    with closing(new_database(tmp_path)) as conn:
        answers = run_at_once(INSERT, 20, str(tmp_path / "db.sqlite"))
        assert sum(int(answer) for answer in answers) == 5
        jobs = queries.active_jobs(conn)
        assert sorted(job.id for job in jobs) == [f"job{number}-{part}" for number in range(5) for part in range(3)]
        assert all(len(queries.history_of(conn, job.id)) == 1 for job in jobs)


def test_each_thread_has_a_connection_of_its_own_and_none_is_refused(tmp_path: Path) -> None:
    new_database(tmp_path, make_job("start")).close()
    with Database(tmp_path / "db.sqlite") as database:
        found: list[int] = []
        failures: list[BaseException] = []

        def work(number: int) -> None:
            try:
                with database.transaction() as conn:
                    before = len(queries.active_jobs(conn))
                    insert(conn, make_job(f"job{number}"))
                    found.append(before)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert sorted(found) == list(range(1, 11))
        assert database.connection is database.connection
