"""How the files of jobs get to where their containers find them, and back: two ways that the stages need not tell apart.

On an engine of this machine the directories are mounted and there is nothing to carry. An engine elsewhere has a
working copy of its own: what is laid out here is sent before the start, what the job left is fetched at its end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Protocol

from jobrunner_cli.engine.errors import ContainerMissingError, ExecutorUnavailableError
from jobrunner_cli.engine.jobfiles import layout, transfer, unpacking

if TYPE_CHECKING:
    from jobrunner_cli.engine.executors.protocol import Executor, FileTransfer
    from jobrunner_cli.engine.jobfiles.layout import JobDirectory
    from jobrunner_cli.engine.work import ContainerSpec, JobDefinition

#: What a working copy at the engine holds: the commit, or everything that the job begins with.
_CODE = "code"
_ALL = "all"


class Transport(Protocol):
    """One of the two ways. Everything may be repeated after a crash at any point."""

    @property
    def depends_on_boot(self) -> bool:
        """Whether what was laid out is torn when this machine goes down."""
        ...

    def make(self, spec: ContainerSpec, directory: JobDirectory, stop: threading.Event) -> None:
        """Make the container, with what is laid out so far. Raises ExecutorError, JobFilesError, Stopped."""
        ...

    def complete(self, spec: Callable[[], ContainerSpec], directory: JobDirectory, stop: threading.Event) -> None:
        """See to it that the container finds everything that is laid out; the same errors."""
        ...

    def fetch(self, job: JobDefinition, directory: JobDirectory, stop: threading.Event) -> None:
        """Make the local working copy what the job left. Raises JobFilesError, ExecutorError, Stopped."""
        ...


def transport_for(executor: Executor) -> Transport:
    """The way for this executor."""
    return MountedFiles(executor) if executor.transfer is None else SentFiles(executor, executor.transfer)


def kept_elsewhere(executor: Executor, owner: str) -> Collection[str]:
    """The ids of jobs with files at the executor. Raises ExecutorUnavailableError."""
    return () if executor.transfer is None else executor.transfer.left(owner)


class MountedFiles:
    """The container has the very directories in which the files are laid out."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    @property
    def depends_on_boot(self) -> bool:
        """The files are on a disk of this machine."""
        return True

    def make(self, spec: ContainerSpec, directory: JobDirectory, stop: threading.Event) -> None:
        """Make the container."""
        self._executor.create(spec)

    def complete(self, spec: Callable[[], ContainerSpec], directory: JobDirectory, stop: threading.Event) -> None:
        """It is."""

    def fetch(self, job: JobDefinition, directory: JobDirectory, stop: threading.Event) -> None:
        """They are here."""


class SentFiles:
    """The container has a working copy of its own, on another machine.

    A record in the control directory says what that copy holds, under an id that a container made anew does not have.
    A copy of which that is not known, because a runner died while it was filled, is made anew.
    """

    def __init__(self, executor: Executor, way: FileTransfer) -> None:
        self._executor = executor
        self._way = way

    @property
    def depends_on_boot(self) -> bool:
        """What runs and what it writes is elsewhere."""
        return False

    def make(self, spec: ContainerSpec, directory: JobDirectory, stop: threading.Event) -> None:
        """Make the container and send what is laid out, unless that has been done."""
        before = self._way.copy_id(spec.job_id)
        self._executor.create(spec)
        if before is not None and self._way.copy_id(spec.job_id) == before:
            holds = self._holds(before, directory)
            # What was prepared before this machine went down is laid out anew, perhaps from other inputs.
            if holds == _CODE or (holds == _ALL and layout.is_prepared(directory)):
                return
            self._executor.remove(spec.job_id)
            self._executor.create(spec)
        self._send(spec.job_id, directory, transfer.packed(directory, user=spec.user, stop=stop), _CODE)

    def complete(self, spec: Callable[[], ContainerSpec], directory: JobDirectory, stop: threading.Event) -> None:
        """Send the inputs, or everything if the container is not the one that the code was sent to."""
        wanted = spec()
        copy_id = self._way.copy_id(wanted.job_id)
        holds = None if copy_id is None else self._holds(copy_id, directory)
        if holds == _ALL:
            return
        if holds == _CODE:
            chunks = transfer.packed_inputs(directory, user=wanted.user, stop=stop)
        else:
            self._executor.remove(wanted.job_id)
            self._executor.create(wanted)
            chunks = transfer.packed(directory, user=wanted.user, stop=stop)
        self._send(wanted.job_id, directory, chunks, _ALL)

    def fetch(self, job: JobDefinition, directory: JobDirectory, stop: threading.Event) -> None:
        """Fetch the working copy, or what of it matters."""
        with _passing():
            unpacking.fetch(partial(self._way.get, job.id), directory, job.output_spec, stop=stop)

    def _holds(self, copy_id: str, directory: JobDirectory) -> str | None:
        recorded = transfer.sent(directory)
        return recorded[1] if recorded is not None and recorded[0] == copy_id else None

    def _send(self, job_id: str, directory: JobDirectory, chunks: Iterator[bytes], what: str) -> None:
        transfer.forget_sent(directory)
        with _passing():
            copy_id = self._way.copy_id(job_id)
            self._way.put(job_id, chunks)
        transfer.record_sent(directory, copy_id or "", what)


@contextmanager
def _passing() -> Iterator[None]:
    """A container that goes away in the midst of it is no fault of the job's: the next try sees that it is gone."""
    try:
        yield
    except ContainerMissingError as error:
        raise ExecutorUnavailableError(error.message, hint=error.hint) from error
