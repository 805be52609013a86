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
    write_all,
)
from jobrunner_cli.engine.jobfiles.layout import JobDirectory
from jobrunner_cli.engine.jobfiles.matching import Matched
from jobrunner_cli.engine.jobfiles.offload import MANY, can_force_file_system, force_file_system
from jobrunner_cli.engine.jobfiles.reading import FilesInside
from jobrunner_cli.engine.jobfiles.removal import remove_tree
from jobrunner_cli.engine.jobfiles.stores import (
    REASON_SUFFIX,
    RELEASED_LEVEL,
    STAGING,
    Store,
    WorkspaceStores,
    staging_parts,
)
from jobrunner_cli.engine.jobfiles.tally import Tally
from jobrunner_cli.engine.jobfiles.walk import RefusedFileError, held, look, open_directory, printable
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
    tally: Tally | None = None,
) -> tuple[StoredOutput, ...]:
    """Copy each output beside its place in the store or stores where it belongs; what is to be recorded of each.

    What was staged for the job before is removed first. When this returns, the copies survive a power cut. `tally`
    counts what is done. Raises JobFilesError, DiskFullError (then nothing is left staged), Stopped.
    """
    discard_staging(stores, job_id)
    if not matched.outputs:
        return ()
    tally = tally or Tally()
    tally.begin("Storing outputs", files=len(matched.outputs), size=matched.size)
    try:
        with (
            file_errors("store the outputs"),
            held(open_directory(directory.work)) as work,
            ExitStack() as closing,
        ):
            staging = _Staging(directory, work, matched, stores, job_id=job_id, closing=closing, tally=tally)
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

    def __init__(self, workspace: Path, job_id: str, closing: ExitStack, *, at_once: bool) -> None:
        self.store = closing.enter_context(Store(workspace))
        # Opened before anything is written: it is what errors of writing are asked of, and they count from then on.
        self.handle = closing.enter_context(held(self.store.open(staging_parts(job_id))))
        self._at_once = at_once

    def force_file(self, handle: int) -> None:
        """Force a file to the disk, now or with all others at the end."""
        if not self._at_once:
            os.fsync(handle)

    def force(self) -> None:
        """Force the directories to the disk, and the files that wait for it."""
        if self._at_once:
            force_file_system(self.handle)
            self.store.forget_changes()
        else:
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
        tally: Tally,
    ) -> None:
        self._files = closing.enter_context(FilesInside(work, root_names=directory.root_names))
        self._levels = matched.outputs
        # Others that write to the disk at this moment are waited for, too, which a few files are not worth.
        self._at_once = len(matched.outputs) >= MANY and can_force_file_system()
        self._stores = stores
        self._job_id = job_id
        self._closing = closing
        self._tally = tally

    @cached_property
    def _high(self) -> _StagingPlace:
        return _StagingPlace(self._stores.high, self._job_id, self._closing, at_once=self._at_once)

    @cached_property
    def _medium(self) -> _StagingPlace:
        return _StagingPlace(self._stores.medium, self._job_id, self._closing, at_once=self._at_once)

    def add(self, number: int, path: str, level: str, *, limits: Level4Limits, stop: threading.Event) -> StoredOutput:
        """Stage one output: read once from the working copy; everything else looks at the copy."""
        look(stop)
        self._high.store.require_way(path)
        digest = hashlib.sha256()
        with self._opened(path) as (source, info), held(create(self._high.handle, str(number))) as copy:
            size = copy_content(source, copy, info, stop=stop, digest=digest, advance=self._tally.advance)
            keep_times(copy, info)
            stored = os.fstat(copy)
            if level == RELEASED_LEVEL:
                checked = check(path, copy, size, limits=limits, stop=stop)
                self._add_to_medium(number, path, copy, stored, checked, stop)
            else:
                checked = Level4Check(reasons=())
            self._high.force_file(copy)
        self._tally.finish_file()
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
            handle, info = self._files.open(path)
        except RefusedFileError as error:
            msg = f"the output {printable(path)} changed while it was being stored: {error}"
            raise JobFilesError(msg) from error
        with held(handle):
            yield handle, info

    def _add_to_medium(
        self, number: int, path: str, copy: int, info: os.stat_result, checked: Level4Check, stop: threading.Event
    ) -> None:
        self._medium.store.require_way(path)
        if not checked.reasons:
            with held(create(self._medium.handle, str(number))) as released:
                copy_content(copy, released, info, stop=stop)
                keep_times(released, info)
                self._medium.force_file(released)
        elif self._has_room_for_reason(path):
            with held(create(self._medium.handle, f"{number}{REASON_SUFFIX}")) as reason:
                lines = [f"{printable(path)} is not released:", *checked.reasons]
                write_all(reason, ("\n".join(lines) + "\n").encode())
                self._medium.force_file(reason)

    def _has_room_for_reason(self, path: str) -> bool:
        """Whether the reason's file may have its name: none too long, and none that is an output's of the same job."""
        reason = path + REASON_SUFFIX
        fits = len(reason.rpartition("/")[2].encode()) <= _LONGEST_NAME
        return fits and self._levels.get(reason) != RELEASED_LEVEL
