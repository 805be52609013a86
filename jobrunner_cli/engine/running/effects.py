"""The stages of a job, built from engine verbs and job files. Each may be repeated after a crash at any point.

Effects run in threads of their own; they read no table and write no row. What they need is handed to them, and
what they found out is what they return.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from threading import Event
from typing import TYPE_CHECKING

from jobrunner_cli.engine.archive import archive_of
from jobrunner_cli.engine.errors import JobFilesError
from jobrunner_cli.engine.jobfiles import joblog, layout, manifest, matching, publish
from jobrunner_cli.engine.jobfiles.layout import JobDirectory
from jobrunner_cli.engine.jobfiles.stores import WorkspaceStores
from jobrunner_cli.engine.running.definitions import container_spec
from jobrunner_cli.engine.running.verdicts import judge
from jobrunner_cli.engine.states import StatusCode
from jobrunner_cli.engine.work import ContainerDetail, ContainerState, InputFile, JobDefinition, Lost, Outcome

if TYPE_CHECKING:
    from jobrunner_cli.engine.executors.protocol import Executor
    from jobrunner_cli.engine.masking import Masker
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.study.repository import Repositories


log = logging.getLogger(__name__)

_RESTARTED = "the machine was restarted"
#: An engine that comes back ends what it finds running, soon after it has come up.
_TIDYING_SECONDS = 20.0


class Effects:
    """What the loop's hands can do."""

    def __init__(
        self,
        *,
        settings: Settings,
        executor: Executor,
        repositories: Repositories,
        owner: str,
        masker: Masker,
        was_away: Callable[[float], bool],
    ) -> None:
        """`was_away` tells whether the executor was away at, or shortly after, a UNIX time."""
        self._settings = settings
        self._executor = executor
        self._repositories = repositories
        self._owner = owner
        self._masker = masker
        self._was_away = was_away
        user = (settings.docker_user_id, settings.docker_group_id)
        # Only root can give files away; without an engine the command runs as the runner itself.
        self._file_owner = user if executor.isolates and os.getuid() == 0 else None

    def provision(self, job: JobDefinition, stop: Event) -> None:
        """Lay out the code and create the container while the job still waits: nothing that depends on others."""
        directory = self._directory(job)
        self._repositories.ensure_commit(job.code_repo_url, job.code_commit, stop)
        tree = self._repositories.tree(job.code_repo_url, job.code_commit)
        layout.lay_out_code(directory, tree, owner=self._file_owner, stop=stop)
        self._executor.create(container_spec(job, self._settings, owner=self._owner))

    def prepare(self, job: JobDefinition, inputs: Sequence[InputFile], stop: Event, *, provisioned: bool) -> None:
        """Lay out everything and create the container, if this process has not provisioned it before.

        Raises JobFilesError, GitError, ExecutorError.
        """
        archive = archive_of(self._settings, job.workspace)
        if archive is not None:
            msg = f"workspace {job.workspace} is archived ({archive.name})"
            raise JobFilesError(msg, hint=f"unpack it to {self._settings.high_workspace(job.workspace)} first")
        if not provisioned:
            self.provision(job, stop)
        directory = self._directory(job)
        if layout.is_prepared(directory):
            return
        workspace = self._settings.high_workspace(job.workspace)
        layout.lay_out_inputs(directory, workspace, inputs, owner=self._file_owner, stop=stop)
        layout.mark_prepared(directory, now_ns=time.time_ns(), owner=self._file_owner)

    def start(self, job: JobDefinition) -> Lost | None:
        """Start the container; the command runs when this returns. Raises ExecutorError if it cannot be started."""
        if not layout.is_prepared(self._directory(job)):
            return Lost(reason=_RESTARTED)
        self._executor.start(job.id)
        return None

    def finalize(self, job: JobDefinition, failed_start: str | None, stop: Event) -> Outcome | Lost:
        """Match, check, hash and stage the outputs, and say how the job ended. Nothing is in place after this."""
        if failed_start is None:
            # An engine that shuts down ends its containers after it has stopped to listen: if it answers a new
            # connection now, the container ended by itself.
            self._executor.check()
        detail = self._executor.inspect(job.id)
        if detail is None or detail.state is ContainerState.RUNNING:
            return Lost(reason="its container disappeared")
        if detail.state is ContainerState.CREATED and failed_start is None:
            return Lost(reason="its command was not started")
        if detail.state is ContainerState.EXITED and self._went_down_under(detail):
            return Lost(reason="the engine went down while it ran")
        directory, stores = self._directory(job), self._stores(job)
        if not layout.is_prepared(directory):
            # What a machine that goes down does to a command looks like its own end, and what was laid out for it may
            # be torn.
            return Lost(reason=_RESTARTED)
        finalized_at = int(time.time())
        matched = matching.match(directory, job.output_spec, stop=stop)
        limits = publish.Level4Limits(
            max_bytes=self._settings.level4_max_filesize, max_csv_rows=self._settings.level4_max_csv_rows
        )
        outputs = publish.stage(directory, matched, stores, job_id=job.id, limits=limits, stop=stop)
        outcome = judge(
            job, detail, matched, outputs, failed_start=failed_start, finalized_at=finalized_at, mask=self._masker.mask
        )
        facts = self._facts(job, outcome, status=outcome.message)
        joblog.compose(
            self._printed(job),
            facts,
            outcome.levels,
            outcome.held_back,
            control=directory.control,
            refused=outcome.refused,
            unmatched_files=outcome.unmatched_outputs if outcome.unmatched_patterns else (),
            stop=stop,
        )
        return outcome

    def publish(self, job: JobDefinition, outcome: Outcome) -> None:
        """Put in place what the stored verdict says; only forward, as often as needed."""
        stores = self._stores(job)
        publish.publish(outcome.outputs, stores, job_id=job.id)
        manifest.record(
            stores,
            outcome.outputs,
            job_id=job.id,
            job_request_id=job.job_request_id,
            action=job.action,
            repo=job.code_repo_url,
            commit=job.code_commit,
            remove_obsolete=outcome.code is StatusCode.SUCCEEDED,
        )
        composed = joblog.composed(self._directory(job).control)
        if composed is None:
            # It was composed before the verdict was stored, so only somebody's hand can have removed it.
            msg = f"the log of job {job.id} is gone from its directory"
            raise JobFilesError(msg)
        facts = self._facts(job, outcome, status=outcome.message)
        joblog.place(
            composed,
            directory=joblog.log_directory(self._settings.high_privacy_storage_base, job.id, outcome.finalized_at),
            metadata=joblog.metadata(facts, outcome.levels, outcome.container_metadata),
            stores=stores,
            action=job.action,
        )

    def terminate(self, job: JobDefinition, message: str, *, keep: bool) -> None:
        """End the container and keep its log under the logs alone; unless `keep`, remove what the job had."""
        self._executor.stop(job.id, grace=self._settings.job_stop_grace)
        detail = self._executor.inspect(job.id)
        if detail is not None and detail.state is not ContainerState.CREATED:
            try:
                self._keep_log(job, detail, message)
            except JobFilesError as error:
                log.warning("The log of job %s, which is ended, cannot be kept: %s", job.id, error)
        if keep:
            publish.discard_staging(self._stores(job), job.id)
        else:
            self.remove(job.id, job.workspace)

    def reset(self, job_id: str, workspace: str) -> None:
        """End the container, giving it time to, and remove what the job has: it starts over."""
        self._executor.stop(job_id, grace=self._settings.job_stop_grace)
        self.remove(job_id, workspace)

    def remove(self, job_id: str, workspace: str) -> None:
        """Remove the container, what is staged, and the directory of a job; what is absent is fine."""
        self._executor.remove(job_id)
        publish.discard_staging(self._workspace_stores(workspace), job_id)
        layout.remove(JobDirectory.of(self._settings.high_privacy_volume_dir, job_id))

    def _keep_log(self, job: JobDefinition, detail: ContainerDetail, message: str) -> None:
        now = int(time.time())
        facts = self._log_facts(job, detail.exit_code, detail.image_id, ended_at=now, status=message, hint=None)
        composed = joblog.compose(self._printed(job), facts, {}, {}, control=self._directory(job).control)
        joblog.place(
            composed,
            directory=joblog.log_directory(self._settings.high_privacy_storage_base, job.id, now),
            metadata=joblog.metadata(facts, {}, detail.metadata),
        )

    def _went_down_under(self, detail: ContainerDetail) -> bool:
        """Whether the container may have ended because its engine did, seen by this runner or not."""
        ended = detail.finished_at or 0.0
        if self._was_away(ended):
            return True
        since = self._executor.up_since()
        return since is not None and (detail.started_at or 0.0) < since and ended < since + _TIDYING_SECONDS

    def _printed(self, job: JobDefinition) -> Iterator[bytes]:
        """What the container printed, secrets masked."""
        return map(self._masker.mask_bytes, self._executor.logs(job.id))

    def _facts(self, job: JobDefinition, outcome: Outcome, *, status: str) -> dict[str, str | None]:
        return self._log_facts(
            job,
            outcome.exit_code,
            outcome.image_id,
            ended_at=outcome.finalized_at,
            status=status,
            hint=outcome.hint,
        )

    def _log_facts(
        self,
        job: JobDefinition,
        exit_code: int | None,
        image_id: str | None,
        *,
        ended_at: int,
        status: str,
        hint: str | None,
    ) -> dict[str, str | None]:
        return {
            "job_definition_id": job.id,
            "job_definition_request_id": job.job_request_id,
            "commit": job.commit,
            "docker_image_id": image_id,
            "exit_code": None if exit_code is None else str(exit_code),
            "created_at": _iso(job.created_at),
            "completed_at": _iso(ended_at),
            "database_name": job.database_name,
            "status_message": self._masker.mask(status),
            "hint": self._masker.mask(hint) if hint else None,
        }

    def _directory(self, job: JobDefinition) -> JobDirectory:
        return JobDirectory.of(self._settings.high_privacy_volume_dir, job.id)

    def _stores(self, job: JobDefinition) -> WorkspaceStores:
        return self._workspace_stores(job.workspace)

    def _workspace_stores(self, workspace: str) -> WorkspaceStores:
        return WorkspaceStores(
            workspace=workspace,
            high=self._settings.high_workspace(workspace),
            medium=self._settings.medium_workspace(workspace),
        )


def _iso(timestamp: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(timestamp))
