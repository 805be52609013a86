"""Publishing: what the stored verdict says is renamed into place, and what no longer belongs there is taken away.

Outputs are staged before the verdict and published after it. Publishing knows only forward, and can be repeated after
a crash at any point: what is no longer staged was moved before.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import cached_property
from typing import Any

from jobrunner_cli.engine.errors import JobFilesError
from jobrunner_cli.engine.jobfiles import manifest
from jobrunner_cli.engine.jobfiles.checks import Level4Limits
from jobrunner_cli.engine.jobfiles.copying import file_errors
from jobrunner_cli.engine.jobfiles.staging import discard_staging, stage
from jobrunner_cli.engine.jobfiles.stores import REASON_SUFFIX, RELEASED_LEVEL, Store, WorkspaceStores, staging_parts
from jobrunner_cli.engine.jobfiles.tally import Tally
from jobrunner_cli.engine.jobfiles.walk import held, printable
from jobrunner_cli.engine.work import StoredOutput

__all__ = ["Level4Limits", "WorkspaceStores", "discard_staging", "publish", "stage"]


def publish(
    outputs: Sequence[StoredOutput], stores: WorkspaceStores, *, job_id: str, tally: Tally | None = None
) -> None:
    """Put what `stage` returned in place in both stores, and take away from the medium one what may not be there.

    The outputs are to be given in the order in which they were staged. When this returns, it survives a power cut.
    `tally` counts what is done. Raises JobFilesError, DiskFullError.
    """
    if not outputs:
        return
    tally = tally or Tally()
    tally.begin("Publishing outputs", files=len(outputs))
    with file_errors("publish the outputs"), ExitStack() as closing:
        publication = _Publication(outputs, stores, job_id=job_id, closing=closing)
        publication.claim()
        for number, output in enumerate(outputs):
            publication.place(number, output)
            tally.finish_file()
        publication.force()


class _Publication:
    """The way of one job's outputs from staging to their places."""

    def __init__(
        self, outputs: Sequence[StoredOutput], stores: WorkspaceStores, *, job_id: str, closing: ExitStack
    ) -> None:
        self._stores = stores
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
        """Put one output in place."""
        moved_now = self._put(self._high, self._high_staging, str(number), output.path)
        if not moved_now:
            self._medium.note(output.path)
        if _is_released(output):
            self._put(self._medium, self._medium_staging, str(number), output.path)
        elif not self._is_reason(output.path):
            self._medium.unlink(output.path)
        reason = output.path + REASON_SUFFIX
        if output.excluded:
            if self._medium_staging is not None and not self._is_released_by_another(reason):
                self._medium.move_in(self._medium_staging, f"{number}{REASON_SUFFIX}", reason)
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
    def _put(store: Store, staging: int | None, name: str, path: str) -> bool:
        if staging is not None and store.move_in(staging, name, path):
            return True
        if not store.has(path):
            msg = f"the output {printable(path)} is neither staged nor in its place"
            raise JobFilesError(msg, hint="somebody removed it by hand; run the action again")
        store.note(path)
        return False

    @cached_property
    def _entries(self) -> dict[str, Any]:
        entries: dict[str, Any] = manifest.read(self._stores)["outputs"]
        return entries

    def _is_reason(self, path: str) -> bool:
        """Whether the file of that name in the medium privacy store is the reason for another output of this job."""
        held_back = self._outputs.get(path.removesuffix(REASON_SUFFIX))
        is_ours = held_back is not None and held_back.excluded and path.endswith(REASON_SUFFIX)
        return is_ours and self._outputs[path].level != RELEASED_LEVEL

    def _is_released_by_another(self, path: str) -> bool:
        """Whether the file of that name in the medium privacy store is an output of another job.

        The manifest is read only when there is such a file, which is seldom.
        """
        if path in self._outputs or not self._medium.has(path):
            return False
        entry = self._entries.get(path, {})
        return entry.get("level") == RELEASED_LEVEL and not entry.get("excluded")

    def _is_outdated_reason(self, output: StoredOutput, reason: str) -> bool:
        if reason in self._outputs or not self._medium.has(reason) or self._is_released_by_another(reason):
            return False
        # Of a file that is not to be released, only what the manifest knows to be a reason is one.
        return output.level == RELEASED_LEVEL or bool(self._entries.get(output.path, {}).get("excluded"))


def _is_released(output: StoredOutput) -> bool:
    return output.level == RELEASED_LEVEL and not output.excluded
