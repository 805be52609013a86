"""The control files of one job of the process executor, which together are its container.

* `container.json`: it exists; written last when it is made, removed first when it goes. Holds no secret.
* `spec.json`: what is to be run, with the environment; readable by the owner only, removed once it has been started.
* `alive.lock`, `started.json`, `orders`, `output.log*`, `exit.json`: see the shim.

The state follows from the files and the lock alone, so every process sees the same, after a crash, too.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from jobrunner_cli.engine.errors import ExecutorUnavailableError
from jobrunner_cli.engine.executors.programs import ProgramCommand
from jobrunner_cli.engine.masking import mask_environment
from jobrunner_cli.engine.work import ContainerSpec, ContainerState

#: The variable by which a container's processes are known; its value is drawn anew for every container.
MARK = "JOBRUNNER_CONTAINER"

#: Seconds for which a lock is asked for that others hold for a moment only, or a shim that has not begun yet.
LOCK_SECONDS = 30.0

_FILES = ("container.json", "spec.json", "started.json", "exit.json", "orders", "output.log", "shim.log")


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What `container.json` says."""

    job_id: str
    owner: str
    #: SHA-256 over all that it was asked to be
    configuration: str
    #: the value of its processes' mark
    mark: str
    image: str
    program: str
    args: list[str]
    #: `KEY=value`, masked
    env: list[str] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What `started.json` says."""

    #: the shim's process id; another's as soon as the shim has ended
    pid: int
    #: UNIX seconds
    started_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What `exit.json` says."""

    exit_code: int
    #: UNIX seconds
    finished_at: float


class ProcessContainer:
    """One container, as its control directory tells."""

    def __init__(self, control: Path) -> None:
        self.control = control

    def description(self) -> Description | None:
        """What it is; None if there is none."""
        content = self._read("container.json")
        return None if content is None else Description(**content)

    def started(self) -> Started | None:
        """When it was started; None if it never was."""
        content = self._read("started.json")
        return None if content is None else Started(**content)

    def ended(self) -> Ended | None:
        """How it ended; None if it has not, or was lost."""
        content = self._read("exit.json")
        return None if content is None else Ended(**content)

    def state(self) -> ContainerState | None:
        """Its state; None if there is none or it was lost: started, but neither alive nor ended."""
        if not (self.control / "container.json").exists():
            return None
        # In this order: it may be started, and may end, between any two of these looks.
        can_be_started = self.has_spec()
        was_started = self.started() is not None
        if self.is_alive():
            return ContainerState.RUNNING
        if not was_started:
            return ContainerState.CREATED if can_be_started else None
        return None if self.ended() is None else ContainerState.EXITED

    def is_alive(self) -> bool:
        """Whether its shim lives (or is about to: it inherits the lock)."""
        try:
            lock = self._open_lock(os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def await_end(self) -> None:
        """Block until its shim does not live. To be called in a thread that may wait for ever."""
        with suppress(FileNotFoundError):
            lock = self._open_lock(os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_SH)
            finally:
                os.close(lock)

    def acquire(self) -> int | None:
        """The lock that says "alive", as a file descriptor; None if its shim lives and has taken note of its start.

        Raises ExecutorUnavailableError if it cannot be had although nobody holds it for long.
        """
        lock = self._open_lock(os.O_RDWR | os.O_CREAT)
        deadline = time.monotonic() + LOCK_SECONDS
        while time.monotonic() < deadline:
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return lock
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                # A shim that comes up, or a child of whoever made or erased it that has not become its program yet:
                # such a one inherits every descriptor for an instant, and no command runs because of it.
                if self.started() is not None:
                    os.close(lock)
                    return None
            else:
                fcntl.flock(lock, fcntl.LOCK_UN)
            # Held for an instant, by onlookers, too, and there is no event for several kinds of holders at once.
            time.sleep(0.002)
        os.close(lock)
        msg = f"the lock of {self.control} cannot be had"
        raise ExecutorUnavailableError(msg)

    def write(self, description: Description, spec: ContainerSpec, command: ProgramCommand) -> None:
        """Make it."""
        run = {
            "command": command.words,
            "env": environment(spec, command, description.mark),
            "directory": spec.work_dir,
        }
        self._write("spec.json", run)
        os.close(self._open_lock(os.O_RDWR | os.O_CREAT))
        self._write("container.json", asdict(description))

    def erase(self) -> None:
        """Remove it, all but the lock file, which another process may be waiting for."""
        for path in [self.control / name for name in _FILES] + list(self._leftovers()):
            path.unlink(missing_ok=True)

    def has_spec(self) -> bool:
        """Whether what is to be run is still there: until it has been started."""
        return (self.control / "spec.json").exists()

    def _leftovers(self) -> Iterator[Path]:
        yield from self.control.glob("output.log.*")
        yield from self.control.glob("*.json.new")

    def _open_lock(self, flags: int) -> int:
        return os.open(self.control / "alive.lock", flags | os.O_CLOEXEC, 0o600)

    def _read(self, name: str) -> dict[str, Any] | None:
        # After a power cut a file may be there and empty: as good as absent.
        try:
            content = json.loads((self.control / name).read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        return content if isinstance(content, dict) else None

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        path = self.control / name
        new = path.with_name(f"{name}.new")
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump(content, stream)
        new.replace(path)


def configuration_of(spec: ContainerSpec, command: ProgramCommand) -> str:
    """A hash over everything that makes one container differ from another, as lower-case hex."""
    parts = [{part.name: getattr(whole, part.name) for part in fields(whole)} for whole in (spec, command)]
    content = json.dumps(parts, sort_keys=True, default=dict)
    return hashlib.sha256(content.encode()).hexdigest()


def describe(spec: ContainerSpec, command: ProgramCommand, mark: str) -> Description:
    """What is written down of a new container."""
    return Description(
        job_id=spec.job_id,
        owner=spec.owner,
        configuration=configuration_of(spec, command),
        mark=mark,
        image=spec.image,
        program=command.program,
        args=list(command.words),
        env=mask_environment([f"{name}={value}" for name, value in environment(spec, command, mark).items()]),
    )


def environment(spec: ContainerSpec, command: ProgramCommand, mark: str) -> dict[str, str]:
    """The variables of a command: a few of this machine's, the job's, and a home directory of its own."""
    passed = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TZ") if os.environ.get(name)}
    own = {"HOME": spec.tmp_dir, "TMPDIR": spec.tmp_dir, MARK: mark}
    return {"PATH": os.defpath, "PYTHONUNBUFFERED": "1", **passed, **command.env, **spec.env, **own}
