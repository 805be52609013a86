"""The process executor: jobs as processes of this machine, for trying a study where there is no engine.

What an engine's daemon is to containers, a shim per job is here: it outlives the runner, keeps the output and writes
how the job ended. Everything else is files in the job's control directory.
"""

from __future__ import annotations

import builtins
import errno
import os
import platform
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from jobrunner_cli.engine.errors import ContainerMissingError, ExecutorError, ExecutorUnavailableError
from jobrunner_cli.engine.executors.process_container import (
    MARK,
    Description,
    ProcessContainer,
    configuration_of,
    describe,
)
from jobrunner_cli.engine.executors.process_launch import launch
from jobrunner_cli.engine.executors.process_output import read_output
from jobrunner_cli.engine.executors.process_tree import kill_marked, usage_below
from jobrunner_cli.engine.executors.process_watches import HintStream, Watches
from jobrunner_cli.engine.executors.programs import command_for, installed_programs
from jobrunner_cli.engine.executors.protocol import ErrandResult, ImageInfo, Use
from jobrunner_cli.engine.loglines import LogLines
from jobrunner_cli.engine.work import ContainerDetail, ContainerSpec, ContainerState

#: What whoever chooses this executor has to be told.
NOTICE = (
    "Jobs run as ordinary processes of this machine, without a container: they can read and change your files, use the "
    "network, and see this machine's own versions of Python and R. Run only studies that you trust."
)

#: Seconds for a shim to come up, and for a killed job to be gone.
_START_SECONDS = 30.0
_KILL_SECONDS = 10.0
#: Seconds between two looks of somebody who follows a log.
_FOLLOW_SECONDS = 0.2


class ProcessExecutor:
    """The verbs for jobs that are processes of this machine.

    Not the same as an engine's containers: nothing is isolated, the user is the runner's own, and the limits on CPUs,
    memory and processes, the network and extra hosts are not applied. `/workspace` and `/tmp` do not exist as such: a
    command starts in the working copy, and HOME and TMPDIR are the job's temporary directory. A job whose shim was
    killed (or that a machine took down with it) has no exit and is not listed: it disappeared, and is started over.
    """

    def __init__(self, *, volumes_dir: Path) -> None:
        """`volumes_dir` is the directory with the jobs' directories, `os-job-{id}`."""
        self._volumes = volumes_dir
        self._watches = Watches()
        self._lock = threading.Lock()
        #: mark of a container -> UNIX seconds and CPU seconds of the last sample
        self._samples: dict[str, tuple[float, float]] = {}

    def __repr__(self) -> str:
        return f"ProcessExecutor(volumes_dir={str(self._volumes)!r})"

    @property
    def name(self) -> str:
        """The name that settings use."""
        return "process"

    @property
    def place(self) -> str:
        """This machine."""
        return "processes of this machine"

    @property
    def isolates(self) -> bool:
        """Jobs have the run of this machine."""
        return False

    @property
    def transfer(self) -> None:
        """Jobs work in the very directories that are laid out for them."""
        return

    @property
    def notice(self) -> str:
        """What users have to be told about it."""
        return NOTICE

    def check(self) -> str:
        """A line about this machine. Raises ExecutorUnavailableError if jobs' directories cannot be read."""
        try:
            self._directories()
        except OSError as error:
            msg = f"the jobs' directory {self._volumes} cannot be read: {error.strerror}"
            raise ExecutorUnavailableError(msg) from error
        return f"processes of this machine ({platform.system()} {platform.release()}), not isolated"

    def up_since(self) -> float | None:
        """Nothing goes down here but the machine itself."""
        return None

    def create(self, spec: ContainerSpec) -> None:
        """Write down what is to be run; see the Protocol. Raises ImageMissingError if a program is not installed."""
        command = command_for(spec.image, spec.args)
        container = self._container(spec.job_id)
        for path in (spec.work_dir, spec.tmp_dir, spec.control_dir):
            if not Path(path).is_dir():
                msg = f"the directory {path} of job {spec.job_id} does not exist"
                raise ExecutorError(msg)
        if not container.control.is_dir() or not container.control.samefile(spec.control_dir):
            msg = f"the control directory of job {spec.job_id} is not {container.control} but {spec.control_dir}"
            raise ExecutorError(msg)
        present = container.description()
        if (
            present is not None
            and present.configuration == configuration_of(spec, command)
            and container.has_spec()
            and container.state() is ContainerState.CREATED
        ):
            return
        self.remove(spec.job_id)
        try:
            container.write(describe(spec, command, secrets.token_hex(16)), spec, command)
        except OSError as error:
            msg = f"job {spec.job_id} cannot be created: {error.strerror}: {error.filename}"
            raise ExecutorUnavailableError(msg) from error

    def start(self, job_id: str) -> None:
        """Start the command and return when it runs, or could not be executed (exit code 127 or 126, as in a shell)."""
        container = self._container(job_id)
        description = container.description()
        if description is None:
            msg = f"job {job_id} has no container"
            raise ContainerMissingError(msg)
        lock = container.acquire()
        if lock is None:
            return
        try:
            if container.started() is not None:
                return
            launch(container.control, lock)
        finally:
            os.close(lock)
        self._watches.watch(container, description.owner)

    def stop(self, job_id: str, *, grace: float) -> None:
        """TERM to the command's process group, then KILL; see the Protocol."""
        container = self._container(job_id)
        description = container.description()
        if description is None:
            return
        for order, seconds in ((b"T", grace), (b"K", _KILL_SECONDS)):
            if seconds > 0:
                self._order(container, description, order)
                if self._ends_within(container, description, seconds):
                    break
        was_started = container.started() is not None
        if was_started and container.ended() is None and not self._is_gone(container, description):
            msg = f"job {job_id} cannot be ended: its processes do not react to KILL"
            raise ExecutorUnavailableError(msg)

    def remove(self, job_id: str) -> None:
        """Kill it if it runs, and remove its files from the control directory."""
        container = self._container(job_id)
        if not container.control.is_dir():
            return
        self.stop(job_id, grace=0)
        lock = container.acquire()
        if lock is None:
            msg = f"job {job_id} was started while it was being removed"
            raise ExecutorUnavailableError(msg)
        try:
            container.erase()
        finally:
            os.close(lock)

    def list(self, owner: str) -> Mapping[str, ContainerState]:
        """Job id -> state of this owner's jobs. Those whose shim disappeared are left out."""
        found = {}
        watched = self._watches.has_subscriber(owner)
        try:
            directories = self._directories()
        except OSError as error:
            msg = f"the jobs' directory {self._volumes} cannot be read: {error.strerror}"
            raise ExecutorUnavailableError(msg) from error
        for directory in directories:
            container = ProcessContainer(directory / "control")
            description = container.description()
            if description is None or description.owner != owner:
                continue
            state = container.state()
            if state is not None:
                found[description.job_id] = state
            if state is ContainerState.RUNNING and watched:
                self._watches.watch(container, owner)
        return found

    def inspect(self, job_id: str) -> ContainerDetail | None:
        """Everything about the job; None if there is none, or its shim disappeared."""
        container = self._container(job_id)
        description = container.description()
        state = container.state()
        if description is None or state is None:
            return None
        started = container.started()
        ended = container.ended() if state is ContainerState.EXITED else None
        return ContainerDetail(
            job_id=job_id,
            state=state,
            exit_code=ended.exit_code if ended else None,
            out_of_memory=False,
            started_at=started.started_at if started else None,
            finished_at=ended.finished_at if ended else None,
            image_id=f"process:{description.program}",
            metadata={
                "executor": self.name,
                "image": description.image,
                "program": description.program,
                "args": description.args,
                "env": description.env,
            },
        )

    def ran_out_of_memory(self, detail: ContainerDetail) -> bool:
        """Never: a process has no limit."""
        return detail.out_of_memory

    @property
    def keeps_log_head(self) -> bool:
        """The shim keeps the beginning and the end."""
        return True

    def logs(self, job_id: str, *, follow: bool = False, tail: int | None = None) -> LogLines:
        """The lines of its log; see the Protocol."""
        container = self._container(job_id)
        description = container.description()

        def goes_on() -> bool:
            if not follow or description is None or not container.is_alive():
                return False
            self._watches.watch(container, description.owner).wait(_FOLLOW_SECONDS)
            return True

        return read_output(container.control, goes_on, tail)

    def stats(self, job_ids: Iterator[str]) -> Mapping[str, Use]:
        """What each uses; at first since its start.

        Pages that a job's processes share count for each of them. Linux only; nothing elsewhere.
        """
        running: dict[str, tuple[Description, float, int]] = {}
        for job_id in job_ids:
            container = self._container(job_id)
            description, started = container.description(), container.started()
            if description is not None and started is not None and container.is_alive():
                running[job_id] = (description, started.started_at, started.pid)
        used = usage_below({job_id: pid for job_id, (_, _, pid) in running.items()})
        now = time.time()
        result = {}
        with self._lock:
            before, self._samples = self._samples, {}
            for job_id, usage in used.items():
                description, started_at, _ = running[job_id]
                then, cpu_then = before.get(description.mark, (started_at, 0.0))
                self._samples[description.mark] = (now, usage.cpu_seconds)
                percent = 100 * (usage.cpu_seconds - cpu_then) / max(now - then, 0.001)
                result[job_id] = Use(max(percent, 0.0), usage.memory / 1024**2, description.mark)
        return result

    def run_errand(self, name: str, spec: ContainerSpec, *, seconds: float) -> ErrandResult:
        """Raises ExecutorError: nothing but jobs is run without containers."""
        msg = f"{spec.image} is not run: there are no containers"
        raise ExecutorError(msg, hint="set EXECUTOR=docker")

    def end_errand(self, name: str, owner: str) -> None:
        """There never is one."""

    def events(self, owner: str) -> HintStream:
        """A stream of hints about ends of this owner's jobs."""
        stream = self._watches.subscribe(owner)
        self.list(owner)
        return stream

    def images(self) -> builtins.list[ImageInfo]:
        """The programs that are installed here; their ids are `process:{path}`, their names without registry and tag."""
        return installed_programs()

    def pull(self, image: str) -> Iterator[str]:
        """Raises ExecutorError: there is nothing to fetch images into."""
        msg = f"{image} is not fetched: jobs run with the programs of this machine, without images"
        raise ExecutorError(msg, hint="images need an engine: EXECUTOR=docker")

    def _container(self, job_id: str) -> ProcessContainer:
        return ProcessContainer(self._volumes / f"os-job-{job_id}" / "control")

    def _directories(self) -> builtins.list[Path]:
        try:
            with os.scandir(self._volumes) as entries:
                return [Path(entry.path) for entry in entries if entry.name.startswith("os-job-")]
        except FileNotFoundError:
            return []

    def _order(self, container: ProcessContainer, description: Description, order: bytes) -> None:
        """Give the shim an order; nothing if it does not live. One that is coming up is waited for."""
        deadline = time.monotonic() + _START_SECONDS
        while container.is_alive() and time.monotonic() < deadline:
            try:
                orders = os.open(container.control / "orders", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError as error:
                if error.errno not in {errno.ENXIO, errno.ENOENT}:
                    raise
                self._watches.watch(container, description.owner).wait(0.01)
                continue
            try:
                os.write(orders, order)
            except BlockingIOError:
                pass
            finally:
                os.close(orders)
            return

    def _ends_within(self, container: ProcessContainer, description: Description, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while container.is_alive():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._watches.watch(container, description.owner).wait(left)
        return True

    def _is_gone(self, container: ProcessContainer, description: Description) -> bool:
        """For one whose shim was killed, or does not obey: see to the command's processes without it."""
        gone = kill_marked(MARK, description.mark, seconds=_KILL_SECONDS)
        return self._ends_within(container, description, _KILL_SECONDS) and gone
