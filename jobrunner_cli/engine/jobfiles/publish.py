"""Publishing: what the stored verdict says is renamed into place, and what no longer belongs there is taken away.

Outputs are staged before the verdict and published after it. Publishing knows only forward, and can be repeated after
a crash at any point: what is no longer staged was moved before. Files and manifest are changed under one lock, so that
of two jobs with an output of the same name the manifest tells of the one whose file is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from typing import Any

from jobrunner_cli.engine.errors import JobFilesError
from jobrunner_cli.engine.jobfiles import manifest
from jobrunner_cli.engine.jobfiles.checks import Level4Limits
from jobrunner_cli.engine.jobfiles.copying import file_errors
from jobrunner_cli.engine.jobfiles.staging import discard_staging, stage
from jobrunner_cli.engine.jobfiles.stores import (
    REASON_SUFFIX,
    RELEASED_LEVEL,
    Store,
    WorkspaceStores,
    staging_parts,
    workspace_lock,
)
from jobrunner_cli.engine.jobfiles.tally import Tally
from jobrunner_cli.engine.jobfiles.walk import held, printable
from jobrunner_cli.engine.work import StoredOutput

__all__ = ["Level4Limits", "WorkspaceStores", "discard_staging", "publish", "stage"]


def publish(
    outputs: Sequence[StoredOutput],
    stores: WorkspaceStores,
    origin: manifest.Origin,
    *,
    remove_obsolete: bool,
    force_name: bool = True,
    tally: Tally | None = None,
) -> tuple[str, ...]:
    """Put what `stage` returned in place in both stores, take away from the medium one what may not be there, and
    enter it all into the manifest; the paths that were removed as obsolete.

    The outputs are to be given in the order in which they were staged. When this returns, it survives a power cut, but
    for the manifest without `force_name`; that and `remove_obsolete` are as `manifest.record` has them. `tally` counts
    what is done. Raises JobFilesError, where the manifest is damaged before anything moves, DiskFullError.
    """
    with file_errors("publish the outputs"), workspace_lock(stores):
        known = manifest.read(stores)
        entries = known["outputs"]
        replaced = _put_in_place(outputs, stores, origin.job_id, entries, tally or Tally()) if outputs else frozenset()
        return manifest.record(
            stores,
            outputs,
            origin,
            remove_obsolete=remove_obsolete,
            known=known,
            replaced=replaced,
            force_name=force_name,
        )


def _put_in_place(
    outputs: Sequence[StoredOutput],
    stores: WorkspaceStores,
    job_id: str,
    entries: Mapping[str, Any],
    tally: Tally,
) -> frozenset[str]:
    """The paths that are another job's by now."""
    tally.begin("Publishing outputs", files=len(outputs))
    with ExitStack() as closing:
        publication = _Publication(outputs, stores, entries, job_id=job_id, closing=closing)
        publication.claim()
        for number, output in enumerate(outputs):
            publication.place(number, output)
            tally.finish_file()
        publication.force()
        return frozenset(publication.replaced)


class _Publication:
    """The way of one job's outputs from staging to their places."""

    def __init__(
        self,
        outputs: Sequence[StoredOutput],
        stores: WorkspaceStores,
        entries: Mapping[str, Any],
        *,
        job_id: str,
        closing: ExitStack,
    ) -> None:
        #: paths that another job has put its own files in since an earlier try
        self.replaced: set[str] = set()
        self._stores = stores
        #: those of the manifest
        self._entries = entries
        self._job_id = job_id
        self._outputs = {output.path: output for output in outputs}
        self._high = closing.enter_context(Store(stores.high))
        self._medium = closing.enter_context(Store(stores.medium))
        self._high_staging = self._staging(self._high, job_id, closing)
        self._medium_staging = self._staging(self._medium, job_id, closing)

    def claim(self) -> None:
        """Tell other jobs of the workspace, before anything moves, which paths are taken."""
        if self._high_staging is not None:
            manifest.claim(self._stores, self._high_staging, self._outputs)

    def place(self, number: int, output: StoredOutput) -> None:
        """Put one output in place, unless another job has done so since an earlier try."""
        if not self._move_in(self._high, self._high_staging, str(number), output.path):
            if self._is_replaced(output):
                self.replaced.add(output.path)
                self._leave_medium(output.path)
                return
            self._require(self._high, output.path)
            self._medium.note(output.path)
        if _is_released(output):
            if not self._move_in(self._medium, self._medium_staging, str(number), output.path):
                self._require(self._medium, output.path)
        elif not self._is_reason(output.path):
            self._medium.unlink(output.path)
        reason = output.path + REASON_SUFFIX
        if output.excluded:
            if self._medium_staging is not None and not self._is_released_by_another(reason):
                self._medium.move_in(self._medium_staging, f"{number}{REASON_SUFFIX}", reason, over_directory=False)
        elif self._is_outdated_reason(output, reason):
            self._medium.unlink(reason)

    def force(self) -> None:
        """Force the directories to the disk."""
        self._high.force()
        self._medium.force()

    @staticmethod
    def _staging(store: Store, job_id: str, closing: ExitStack) -> int | None:
        try:
            return closing.enter_context(held(store.open_existing(staging_parts(job_id))))
        except FileNotFoundError:
            return None

    @staticmethod
    def _move_in(store: Store, staging: int | None, name: str, path: str) -> bool:
        return staging is not None and store.move_in(staging, name, path)

    @staticmethod
    def _require(store: Store, path: str) -> None:
        """See to it that what an earlier try has put there survives a power cut."""
        if not store.has(path):
            msg = f"the output {printable(path)} is neither staged nor in its place"
            raise JobFilesError(msg, hint="somebody removed it by hand; run the action again")
        store.note(path)

    def _is_replaced(self, output: StoredOutput) -> bool:
        """Whether the file of an output that was moved before is another job's: one that is in the manifest, or that
        was killed before it came there; or whether another's directory or file stands in its way."""
        info = self._high.look_at(output.path)
        if info is None:
            return self._high.is_obstructed(output.path)
        if (info.st_size, info.st_mtime) == (output.size, output.timestamp):
            return False
        entry = self._entries.get(output.path, {})
        is_entered = (entry.get("size"), entry.get("timestamp")) == (info.st_size, info.st_mtime)
        return (is_entered and entry.get("job_id") != self._job_id) or output.path.casefold() in self._claimed

    @cached_property
    def _claimed(self) -> set[str]:
        return manifest.claimed_by_others(self._stores, self._job_id)

    def _leave_medium(self, path: str) -> None:
        """Take away what an earlier try has left in the medium privacy store, where the high one has another's now."""
        entry = self._entries.get(path, {})
        if path.casefold() in self._claimed:
            return
        if not manifest.is_released(entry) and not manifest.is_reason(self._entries, path):
            self._medium.unlink(path)
        reason = path + REASON_SUFFIX
        if not entry.get("excluded") and not self._is_released_by_another(reason):
            self._medium.unlink(reason)

    def _is_reason(self, path: str) -> bool:
        """Whether the file of that name in the medium privacy store is the reason for another output."""
        if not path.endswith(REASON_SUFFIX):
            return False
        held_back = self._outputs.get(path.removesuffix(REASON_SUFFIX))
        if held_back is not None:
            return held_back.excluded and self._outputs[path].level != RELEASED_LEVEL
        return manifest.is_reason(self._entries, path)

    def _is_released_by_another(self, path: str) -> bool:
        """Whether the file of that name in the medium privacy store is an output of another job."""
        if path in self._outputs or not self._medium.has(path):
            return False
        return manifest.is_released(self._entries.get(path, {}))

    def _is_outdated_reason(self, output: StoredOutput, reason: str) -> bool:
        if reason in self._outputs or not self._medium.has(reason) or self._is_released_by_another(reason):
            return False
        # Of a file that is not to be released, only what the manifest knows to be a reason is one, or what a job may have
        # left that was killed before it came there.
        is_known = self._entries.get(output.path, {}).get("excluded") or output.path.casefold() in self._claimed
        return output.level == RELEASED_LEVEL or bool(is_known)


def _is_released(output: StoredOutput) -> bool:
    return output.level == RELEASED_LEVEL and not output.excluded
