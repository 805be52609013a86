"""The real command line at work on a work directory of its own, watched from outside: its table, its files, its containers."""

from __future__ import annotations

import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from jobrunner_cli.engine.store.locks import holder_pid, workdir_id
from support.repositories import StudyRepository
from support.studies import shell

log = logging.getLogger(__name__)

#: Seconds after which something that should happen is said not to happen; never waited for in full.
PATIENCE = 80.0
T = TypeVar("T")


def until(wanted: Callable[[], T], doing: str, seconds: float = PATIENCE) -> T:
    """Wait until something is true, looking often, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := wanted()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s in vain: {doing}")
        time.sleep(0.002)
    return found


def pause_process(pid: int) -> None:
    """Stop a process, and return when it has come to a halt: its threads may go on for a moment on a busy machine."""
    os.kill(pid, signal.SIGSTOP)
    until(lambda: all(_is_halted(stat) for stat in Path(f"/proc/{pid}/task").glob("*/stat")), f"{pid} comes to a halt")


def _is_halted(stat: Path) -> bool:
    # The state follows the name, which may have any characters and stands in parentheses (proc(5)).
    return stat.read_text().rpartition(")")[2].split()[0] == "T"


class Command:
    """A jobrunner command that is at work."""

    def __init__(self, process: subprocess.Popen[bytes], said: Path) -> None:
        self.process = process
        self._said = said

    @property
    def pid(self) -> int:
        return self.process.pid

    def said(self) -> str:
        """Everything that it has written to stdout and stderr so far."""
        return self._said.read_text(errors="replace")

    def signal(self, number: int) -> None:
        """Send it a signal; as Ctrl-C on a terminal does, SIGINT goes to whatever it has started, too."""
        if number == signal.SIGINT:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def ends(self, seconds: float = PATIENCE) -> int:
        """Wait for its end and return its exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it goes on after {seconds:g} s; it said:\n{self.said()[-5000:]}") from None

    def says(self, text: str) -> None:
        """Wait until it has written this."""
        until(lambda: text in self.said() or self.process.poll() is not None, f"{text!r} in what it says")
        assert text in self.said(), self.said()[-5000:]


class WorkDirectory:
    """A work directory with its stores, and what is at work on it."""

    def __init__(self, base: Path, executor: str, settings: Mapping[str, str] | None = None) -> None:
        self.base = base
        self.executor = executor
        self.settings = {
            "WORKDIR": str(base / "workdir"),
            "EXECUTOR": executor,
            "MAX_WORKERS": "2",
            "JOB_STOP_GRACE": "1",
            # Tests also run on small disks, and fill them.
            "HIGH_PRIVACY_FREE_SPACE_FLOOR": "0",
            "MEDIUM_PRIVACY_FREE_SPACE_FLOOR": "0",
            **(settings or {}),
        }
        self.path = Path(self.settings["WORKDIR"])
        self.high = self._store("HIGH_PRIVACY_STORAGE_BASE", self.path / "high_privacy")
        self.medium = self._store("MEDIUM_PRIVACY_STORAGE_BASE", self.path / "medium_privacy")
        self.volumes = self._store("HIGH_PRIVACY_VOLUME_DIR", self.high / "volumes")
        self.owner = workdir_id(self.path)
        self._here = base / "elsewhere"
        self._here.mkdir()
        self._commands: list[Command] = []
        self._started = _StartedContainers(self.owner) if executor == "docker" else None
        self.cli("migrate")

    def _store(self, setting: str, default: Path) -> Path:
        return Path(self.settings.get(setting, default))

    # Commands.

    def cli(self, *words: str, code: int = 0, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, and check its exit code."""
        done = subprocess.run(
            [sys.executable, "-m", "jobrunner_cli", *words],
            cwd=self._here,
            env={**os.environ, **self.settings, **settings},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
        )
        log.info("$ jobrunner %s", " ".join(words))
        for line in (done.stdout + done.stderr).splitlines():
            log.info("  %s", line)
        assert done.returncode == code, f"{words} exited with {done.returncode}, not {code}:\n{_shown(done)}"
        return done

    def start(self, *words: str, **settings: str) -> Command:
        """Start a command."""
        said = self.base / f"said-{len(self._commands)}.txt"
        with said.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "jobrunner_cli", *words],
                cwd=self._here,
                env={**os.environ, **self.settings, **settings},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        self._commands.append(Command(process, said))
        return self._commands[-1]

    def add(self, study: StudyRepository, *words: str) -> dict[str, str]:
        """Ask for actions; action -> id of its new job."""
        said = self.cli("add-job", str(study.path), *words, "--json").stdout
        return {job["action"]: job["id"] for job in json.loads(said)}

    def run(self, code: int = 0, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run until nothing can move any more."""
        return self.cli("run", "--until-idle", code=code, **settings)

    def show(self, job: str) -> dict[str, Any]:
        """Everything about one job."""
        shown: dict[str, Any] = json.loads(self.cli("jobs", "show", job, "--json").stdout)
        return shown

    def holder(self) -> int | None:
        """The process that is at work here, if there is one."""
        return holder_pid(self.path / "runner.lock")

    def wait_for_holder(self, command: Command) -> None:
        """Wait until a command is at work here, or is done."""
        until(lambda: self.holder() == command.pid or command.process.poll() is not None, "the lock of a command")

    # The table.

    @contextmanager
    def table(self) -> Iterator[sqlite3.Connection]:
        """A connection that looks at the database, and cannot write."""
        with closing(
            sqlite3.connect(f"file:{self.path}/db.sqlite?mode=ro", uri=True, isolation_level=None)
        ) as connection:
            connection.execute("PRAGMA busy_timeout = 5000")
            yield connection

    def ask(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """The rows that a query finds."""
        with self.table() as connection:
            return connection.execute(query, parameters).fetchall()

    def codes(self) -> dict[str, str]:
        """Action -> status code of its newest job."""
        return dict(self.ask("SELECT action, status_code FROM job ORDER BY created_at, rowid"))

    def messages(self) -> dict[str, str]:
        """Action -> status message of its newest job."""
        return dict(self.ask("SELECT action, status_message FROM job ORDER BY created_at, rowid"))

    def history(self, job_id: str) -> list[str]:
        """The codes that a job has had."""
        return [row[0] for row in self.ask("SELECT to_code FROM history WHERE job_id = ? ORDER BY id", job_id)]

    def wait_for(self, job_id: str, *codes: str, seconds: float = PATIENCE) -> str:
        """Wait until a job has one of these codes, and return it."""
        with self.table() as connection:

            def code() -> str | None:
                rows = connection.execute("SELECT status_code FROM job WHERE id = ?", (job_id,)).fetchall()
                return rows[0][0] if rows and rows[0][0] in codes else None

            try:
                return str(until(code, f"job {job_id} at {' or '.join(codes)}", seconds))
            except AssertionError as failure:
                raise AssertionError(f"{failure}\n{self.codes()}\n{self.messages()}\n{self.last_words()}") from None

    def wait_until_ended(self, job_ids: Collection[str], seconds: float = PATIENCE) -> None:
        """Wait until none of these jobs is active."""
        marks = ", ".join("?" * len(job_ids))
        query = f"SELECT count(*) FROM job WHERE id IN ({marks}) AND state IN ('succeeded', 'failed')"
        with self.table() as connection:

            def ended() -> bool:
                return connection.execute(query, tuple(job_ids)).fetchall()[0][0] == len(job_ids)

            try:
                until(ended, f"the end of {job_ids}", seconds)
            except AssertionError as failure:
                raise AssertionError(f"{failure}\n{self.codes()}\n{self.messages()}\n{self.last_words()}") from None

    def wait_for_step(self, job_id: str, code: str, times: int) -> None:
        """Wait until a job has come to a code so often."""
        until(lambda: self.history(job_id).count(code) >= times, f"{code} of {job_id}, {times} times")

    def wait_for_verdict(self, job_id: str) -> None:
        """Wait until the verdict on a job is stored."""
        with self.table() as connection:
            query = "SELECT 1 FROM result WHERE job_id = ?"
            until(lambda: connection.execute(query, (job_id,)).fetchall(), f"the verdict on {job_id}")

    def last_words(self) -> str:
        """The end of what each command said."""
        return "\n".join(f"-- {command.pid}:\n{command.said()[-2000:]}" for command in self._commands)

    # The jobs themselves.

    def command(self, script: str) -> str:
        """What an action's `run` is to have a shell do something and to be counted."""
        if self.executor == "process":
            # Without a container a job can reach the test; with one, the engine tells how often it was started.
            script = f'echo "${{PWD%/work}}" >> {self.base}/starts; {script}'
        return shell(script)

    def starts(self) -> Counter[str]:
        """Job id -> how often its command was started."""
        if self._started is not None:
            return self._started.counted()
        path = self.base / "starts"
        lines = path.read_text().splitlines() if path.exists() else []
        return Counter(line.rpartition("os-job-")[2] for line in lines)

    def working_copy(self, job_id: str) -> Path:
        """Where the files of a job are while it is active."""
        return self.volumes / f"os-job-{job_id}" / "work"

    def wait_for_file(self, job_id: str, name: str) -> None:
        """Wait until a job has made a file."""
        path = self.working_copy(job_id) / name
        try:
            until(path.exists, f"{path}")
        except AssertionError as failure:
            raise AssertionError(f"{failure}\n{self.codes()}\n{self.messages()}\n{self.last_words()}") from None

    def let_go(self, *job_ids: str) -> None:
        """Let commands go on that wait for a file named `go`."""
        for job_id in job_ids:
            (self.working_copy(job_id) / "go").touch()

    # What is there in the end.

    def outputs(self, store: Path, workspace: str = "test") -> dict[str, bytes]:
        """Path -> content of every file of a workspace in a store, without what the runner itself keeps there."""
        root = store / "workspaces" / workspace
        return {
            str(path.relative_to(root)): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file() and "metadata" not in path.relative_to(root).parts
        }

    def manifest(self, workspace: str = "test") -> dict[str, Any]:
        """Path -> entry of the manifest of a workspace."""
        path = self.medium / "workspaces" / workspace / "metadata/manifest.json"
        entries: dict[str, Any] = json.loads(path.read_text())["outputs"]
        return entries

    def containers(self) -> dict[str, str]:
        """Name -> state of every container of this work directory."""
        if self.executor != "docker":
            return {}
        with closing(engine_client()) as client:
            found = client.containers(all=True, filters={"label": f"jobrunner-owner={self.owner}"})
        return {container["Names"][0].strip("/"): container["State"] for container in found}

    def kept_volumes(self) -> list[str]:
        """Names of this work directory's volumes at the engine."""
        if self.executor != "docker":
            return []
        with closing(engine_client()) as client:
            found = client.volumes(filters={"label": f"jobrunner-owner={self.owner}"})["Volumes"] or []
        return sorted(volume["Name"] for volume in found)

    def leftovers(self) -> list[str]:
        """What jobs that have ended should not have left: directories, staged copies, containers, volumes, intents."""
        found = [str(path) for path in self.volumes.glob("os-job-*")]
        for store in (self.high, self.medium):
            found += [str(path) for path in store.glob("workspaces/*/metadata/.staging/*")]
        found += [*self.containers(), *self.kept_volumes()]
        found += [str(row) for row in self.ask("SELECT * FROM intent WHERE answered_at IS NULL")]
        return found

    def close(self) -> None:
        """End everything that is still at work here."""
        for command in self._commands:
            if command.process.poll() is None:
                command.kill()
        if self._started is not None:
            self._started.close()
            with closing(engine_client()) as client:
                for container in client.containers(all=True, filters={"label": f"jobrunner-owner={self.owner}"}):
                    client.remove_container(container["Id"], force=True, v=True)
                for name in self.kept_volumes():
                    client.remove_volume(name)
            return
        for path in self.volumes.glob("os-job-*/control/started.json"):
            # SIGTERM has a shim kill its command and leave.
            shim = json.loads(path.read_text())["pid"]
            if (path.parent / "exit.json").exists() or not _is_shim(shim, path.parent):
                continue
            os.kill(shim, signal.SIGTERM)


def _is_shim(pid: int, control: Path) -> bool:
    try:
        return str(control).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def engine_client(url: str | None = None) -> Any:
    """A client of this engine, or of the one that DOCKER_HOST names."""
    import docker

    return docker.APIClient(base_url=url or os.environ["DOCKER_HOST"], timeout=30)


class _StartedContainers:
    """Counts the starts of one work directory's containers, as the engine reports them."""

    def __init__(self, owner: str) -> None:
        self._filters = {"label": [f"jobrunner-owner={owner}"], "event": ["start"], "type": ["container"]}
        self._begun = int(time.time()) - 1
        self._client = engine_client()
        self._seen: Counter[str] = Counter()
        self._events = self._client.events(since=self._begun, filters=self._filters, decode=True)
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        # Closing the stream in another thread ends it in any of several ways.
        try:
            for event in self._events:
                with self._changed:
                    self._seen[event["Actor"]["Attributes"]["name"].removeprefix("os-job-")] += 1
                    self._changed.notify_all()
        except Exception:
            return

    def counted(self) -> Counter[str]:
        with self._changed:
            return Counter(self._seen)

    def close(self) -> None:
        # The engine may have gone away under the stream, which then has no connection to close any more.
        with suppress(Exception):
            self._events.close()
        self._events._response.close()
        self._client.close()


def _shown(done: subprocess.CompletedProcess[str]) -> str:
    return f"stdout:\n{done.stdout[-5000:]}\nstderr:\n{done.stderr[-5000:]}"
