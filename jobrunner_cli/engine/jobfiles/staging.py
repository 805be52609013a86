"""Staging outputs: copied, hashed and checked beside the places where they will go, before the verdict is stored."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path

from jobrunner_cli.engine.errors import DiskFullError, JobFilesError
from jobrunner_cli.engine.jobfiles.checks import Level4Check, Level4Limits, check
from jobrunner_cli.engine.jobfiles.copying import (
    copy_content,
    create,
    file_errors,
    keep_times,
    require_space,
    write_all,
)
from jobrunner_cli.engine.jobfiles.layout import JobDirectory
from jobrunner_cli.engine.jobfiles.matching import Matched
from jobrunner_cli.engine.jobfiles.removal import remove_tree
from jobrunner_cli.engine.jobfiles.stores import (
    REASON_SUFFIX,
    RELEASED_LEVEL,
    STAGING,
    Store,
    WorkspaceStores,
    staging_parts,
)
from jobrunner_cli.engine.jobfiles.walk import RefusedFileError, held, look, open_directory, open_inside, printable
from jobrunner_cli.engine.work import StoredOutput

_LONGEST_NAME = 255


def stage(
    directory: JobDirectory,
    matched: Matched,
    stores: WorkspaceStores,
    *,
    job_id: str,
    limits: Level4Limits,
    stop: threading.Event,
) -> tuple[StoredOutput, ...]:
    """Copy each output beside its place in the store or stores where it belongs; what is to be recorded of each.

    What was staged for the job before is removed first. When this returns, the copies survive a power cut.
    Raises JobFilesError, DiskFullError (then nothing is left staged), Stopped.
    """
    discard_staging(stores, job_id)
    if not matched.outputs:
        return ()
    try:
        with (
            file_errors("store the outputs"),
            held(open_directory(directory.work)) as work,
            ExitStack() as closing,
        ):
            staging = _Staging(directory, work, matched, stores, job_id=job_id, closing=closing)
            outputs = tuple(
                staging.add(number, path, level, limits=limits, stop=stop)
                for number, (path, level) in enumerate(matched.outputs.items())
            )
            staging.force()
    except DiskFullError:
        discard_staging(stores, job_id)
        raise
    return outputs


def discard_staging(stores: WorkspaceStores, job_id: str) -> None:
    """Remove what is staged for a job. Absent is fine. Raises JobFilesError."""
    with file_errors("remove what was staged"):
        for directory in (stores.medium, stores.high):
            try:
                staging = open_directory(directory.joinpath(*STAGING))
            except FileNotFoundError:
                continue
            with held(staging):
                remove_tree(staging, staging_parts(job_id)[-1])


class _StagingPlace:
    """The staging directory of a job in one store."""

    def __init__(self, workspace: Path, job_id: str, closing: ExitStack) -> None:
        self.store = closing.enter_context(Store(workspace))
        self.handle = closing.enter_context(held(self.store.open(staging_parts(job_id))))

    def force(self) -> None:
        os.fsync(self.handle)
        self.store.force()


class _Staging:
    """The copies of one job's outputs, numbered in their order."""

    def __init__(
        self,
        directory: JobDirectory,
        work: int,
        matched: Matched,
        stores: WorkspaceStores,
        *,
        job_id: str,
        closing: ExitStack,
    ) -> None:
        self._root_names = directory.root_names
        self._work = work
        self._levels = matched.outputs
        self._stores = stores
        self._job_id = job_id
        self._closing = closing

    @cached_property
    def _high(self) -> _StagingPlace:
        return _StagingPlace(self._stores.high, self._job_id, self._closing)

    @cached_property
    def _medium(self) -> _StagingPlace:
        return _StagingPlace(self._stores.medium, self._job_id, self._closing)

    def add(self, number: int, path: str, level: str, *, limits: Level4Limits, stop: threading.Event) -> StoredOutput:
        """Stage one output: read once from the working copy; everything else looks at the copy."""
        look(stop)
        self._high.store.require_way(path)
        digest = hashlib.sha256()
        with self._opened(path) as (source, info), held(self._create(self._high, str(number), info)) as copy:
            size = copy_content(source, copy, info, stop=stop, digest=digest)
            keep_times(copy, info)
            stored = os.fstat(copy)
            if level == RELEASED_LEVEL:
                checked = check(path, copy, size, limits=limits, stop=stop)
                self._add_to_medium(number, path, copy, stored, checked, stop)
            else:
                checked = Level4Check(reasons=())
            os.fsync(copy)
        return StoredOutput(
            path=path,
            level=level,
            size=size,
            timestamp=stored.st_mtime,
            content_hash=digest.hexdigest(),
            excluded=checked.message is not None,
            message=checked.message,
            row_count=checked.row_count,
            col_count=checked.col_count,
        )

    def force(self) -> None:
        """Force the directories to the disk."""
        self._high.force()
        if "_medium" in self.__dict__:
            self._medium.force()

    @contextmanager
    def _opened(self, path: str) -> Iterator[tuple[int, os.stat_result]]:
        try:
            handle, info = open_inside(self._work, path, root_names=self._root_names)
        except RefusedFileError as error:
            msg = f"the output {printable(path)} changed while it was being stored: {error}"
            raise JobFilesError(msg) from error
        with held(handle):
            yield handle, info

    @staticmethod
    def _create(place: _StagingPlace, name: str, info: os.stat_result) -> int:
        require_space(place.handle, info)
        return create(place.handle, name)

    def _add_to_medium(
        self, number: int, path: str, copy: int, info: os.stat_result, checked: Level4Check, stop: threading.Event
    ) -> None:
        self._medium.store.require_way(path)
        if not checked.reasons:
            with held(self._create(self._medium, str(number), info)) as released:
                copy_content(copy, released, info, stop=stop)
                keep_times(released, info)
                os.fsync(released)
        elif self._has_room_for_reason(path):
            with held(create(self._medium.handle, f"{number}{REASON_SUFFIX}")) as reason:
                lines = [f"{printable(path)} is not released:", *checked.reasons]
                write_all(reason, ("\n".join(lines) + "\n").encode())
                os.fsync(reason)

    def _has_room_for_reason(self, path: str) -> bool:
        """Whether the reason's file may have its name: none too long, and none that is an output's of the same job."""
        reason = path + REASON_SUFFIX
        fits = len(reason.rpartition("/")[2].encode()) <= _LONGEST_NAME
        return fits and self._levels.get(reason) != RELEASED_LEVEL
