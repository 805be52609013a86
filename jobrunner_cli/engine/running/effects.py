"""The stages of a job, built from engine verbs and job files. Each may be repeated after a crash at any point.

Effects run in threads of their own; they read no table and write no row. What they need is handed to them, and
what they found out is what they return.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from threading import Event
from typing import TYPE_CHECKING

from jobrunner_cli.engine.archive import why_absent
from jobrunner_cli.engine.errors import JobFilesError
from jobrunner_cli.engine.jobfiles import joblog, layout, matching, overuse, publish, rebuilding
from jobrunner_cli.engine.jobfiles.layout import JobDirectory
from jobrunner_cli.engine.jobfiles.manifest import Origin
from jobrunner_cli.engine.jobfiles.stores import WorkspaceStores
from jobrunner_cli.engine.running.definitions import container_spec
from jobrunner_cli.engine.running.leftovers import workspaces_on_disk
from jobrunner_cli.engine.running.printed import printed
from jobrunner_cli.engine.running.transport import transport_for
from jobrunner_cli.engine.running.verdicts import judge
from jobrunner_cli.engine.states import StatusCode
from jobrunner_cli.engine.work import (
    ContainerDetail,
    ContainerSpec,
    ContainerState,
    HistoryWanted,
    InputFile,
    JobDefinition,
    Lost,
    Outcome,
    RecordedOutputs,
)

if TYPE_CHECKING:
    from jobrunner_cli.engine.executors.protocol import Executor
    from jobrunner_cli.engine.jobfiles.tally import Tally
    from jobrunner_cli.engine.masking import Masker
    from jobrunner_cli.engine.running.log_heads import LogHeads
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.study.repository import Repositories


log = logging.getLogger(__name__)

#: What takes too much is not given long.
_GRACE_OF_OVERUSE = 2.0
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
        heads: LogHeads,
    ) -> None:
        """`was_away` tells whether the executor was away at, or shortly after, a UNIX time."""
        self._settings = settings
        self._executor = executor
        self._transport = transport_for(executor)
        self._repositories = repositories
        self._owner = owner
        self._masker = masker
        self._was_away = was_away
        self._heads = heads
        user = (settings.docker_user_id, settings.docker_group_id)
        # Only root can give files away; without an engine the command runs as the runner itself.
        self._file_owner = user if executor.isolates and os.getuid() == 0 else None

    def provision(self, job: JobDefinition, stop: Event) -> None:
        """Lay out the code and create the container while the job still waits: nothing that depends on others."""
        directory = self._directory(job)
        self._repositories.ensure_commit(job.code_repo_url, job.code_commit, stop)
        tree = self._repositories.tree(job.code_repo_url, job.code_commit)
        layout.lay_out_code(directory, tree, owner=self._file_owner, stop=stop)
        self._transport.make(self._container(job), directory, stop)

    def prepare(
        self,
        job: JobDefinition,
        inputs: Sequence[InputFile],
        stop: Event,
        *,
        provisioned: bool,
        tally: Tally | None = None,
    ) -> None:
        """Lay out everything and create the container, if this process has not provisioned it before.

        `tally` counts what is done. Raises JobFilesError, GitError, ExecutorError.
        """
        self._refuse_absent(job.workspace)
        if not provisioned:
            self.provision(job, stop)
        directory = self._directory(job)
        if not layout.is_prepared(directory):
            workspace = self._settings.high_workspace(job.workspace)
            layout.lay_out_inputs(directory, workspace, inputs, owner=self._file_owner, stop=stop, tally=tally)
            layout.mark_prepared(directory, now_ns=time.time_ns(), owner=self._file_owner)
        self._transport.complete(partial(self._container, job), directory, stop)

    def start(self, job: JobDefinition) -> Lost | None:
        """Start the container; the command runs when this returns. Raises ExecutorError if it cannot be started."""
        if not layout.is_prepared(self._directory(job)):
            return Lost(reason=_RESTARTED)
        self._executor.start(job.id)
        self._heads.started(job.id)
        return None

    def finalize(
        self, job: JobDefinition, stop: Event, *, had_ended: bool = False, tally: Tally | None = None
    ) -> Outcome | Lost:
        """Match, check, hash and stage the outputs, and say how the job ended. Nothing is in place after this.

        `had_ended` says that the end of its command was believed before, whatever the engine has done since.
        """
        self._refuse_absent(job.workspace)
        # An engine that shuts down ends its containers after it has stopped to listen: if it answers a new
        # connection now, the container ended by itself.
        self._executor.check()
        detail = self._executor.inspect(job.id)
        if detail is None or detail.state is ContainerState.RUNNING:
            return Lost(reason="its container disappeared")
        if detail.state is ContainerState.CREATED:
            return Lost(reason="its command was not started")
        if not had_ended and self._went_down_under(detail):
            return Lost(reason="the engine went down while it ran")
        directory, stores = self._directory(job), self._stores(job)
        if self._transport.depends_on_boot and not layout.is_prepared(directory):
            # What a machine that goes down does to a command looks like its own end, and what was laid out for it may
            # be torn.
            return Lost(reason=_RESTARTED)
        finalized_at = int(time.time())
        self._transport.fetch(job, directory, stop)
        matched = matching.match(directory, job.output_spec, stop=stop)
        limits = publish.Level4Limits(
            max_bytes=self._settings.level4_max_filesize, max_csv_rows=self._settings.level4_max_csv_rows
        )
        outputs = publish.stage(directory, matched, stores, job_id=job.id, limits=limits, stop=stop, tally=tally)
        outcome = judge(
            job,
            replace(detail, out_of_memory=self._executor.ran_out_of_memory(detail)),
            matched,
            outputs,
            ended_for=overuse.noted(directory),
            finalized_at=finalized_at,
            mask=self._masker.mask,
        )
        facts = self._facts(job, outcome, status=outcome.message)
        joblog.compose(
            self._printed(job),
            facts,
            outcome.levels,
            outcome.held_back,
            control=directory.control,
            refused=outcome.refused,
            refused_more=matched.refused_more,
            unmatched_files=outcome.unmatched_outputs if outcome.unmatched_patterns else (),
            unmatched_more=matched.unmatched_files_more,
            stop=stop,
        )
        return outcome

    def publish(
        self,
        job: JobDefinition,
        outcome: Outcome,
        *,
        last: RecordedOutputs | None = None,
        history: Sequence[RecordedOutputs] | None = None,
        tally: Tally | None = None,
    ) -> HistoryWanted | None:
        """Put in place what the stored verdict says; only forward, as often as needed.

        `last` is what the action's last success stored. Where the manifest does not know of that, nothing happens, and
        it is to be called again with the whole history of the workspace, the last job first.
        """
        stores = self._stores(job)
        if history is not None:
            rebuilding.complete(stores, history, stop=Event())
        elif not rebuilding.is_complete(stores, () if last is None else last.levels.keys() - outcome.levels.keys()):
            return HistoryWanted()
        origin = Origin(
            job_id=job.id,
            job_request=job.job_request_id,
            action=job.action,
            repo=job.code_repo_url,
            commit=job.code_commit,
        )
        publish.publish(
            outcome.outputs,
            stores,
            origin,
            remove_obsolete=outcome.code is StatusCode.SUCCEEDED,
            # The action's log comes into the same directory, which is forced to the disk then.
            force_name=False,
            tally=tally,
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
        return None

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
            self._heads.forget(job.id)
            publish.discard_staging(self._stores(job), job.id)
        else:
            self.remove(job.id, job.workspace)

    def halt(self, job: JobDefinition, reason: str) -> None:
        """End the container of a job that takes up too much disk or time; its end is then told with this reason."""
        directory = self._directory(job)
        overuse.note(directory, reason)
        self._executor.stop(job.id, grace=min(self._settings.job_stop_grace, _GRACE_OF_OVERUSE))

    def reset(self, job_id: str, workspace: str) -> None:
        """End the container, giving it time to, and remove what the job has: it starts over."""
        self._executor.stop(job_id, grace=self._settings.job_stop_grace)
        self.remove(job_id, workspace)

    def remove(self, job_id: str, workspace: str) -> None:
        """Remove the container, what is staged, and the directory of a job; what is absent is fine."""
        self._heads.forget(job_id)
        self._executor.remove(job_id)
        publish.discard_staging(self._workspace_stores(workspace), job_id)
        layout.remove(JobDirectory.of(self._settings.high_privacy_volume_dir, job_id))

    def remove_unknown(self, job_id: str) -> None:
        """Remove the same of a job whose workspace nobody knows any more."""
        self._executor.remove(job_id)
        for workspace in workspaces_on_disk(self._settings):
            publish.discard_staging(self._workspace_stores(workspace), job_id)
        layout.remove(JobDirectory.of(self._settings.high_privacy_volume_dir, job_id))

    def _refuse_absent(self, workspace: str) -> None:
        """Raise JobFilesError if the workspace is archived: a new directory in its place would hide the archive."""
        absence = why_absent(self._settings, workspace)
        if absence is not None:
            raise JobFilesError(absence.message, hint=absence.hint)

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
        """What the container, which has ended, printed; secrets masked."""
        reason = self._heads.ended(job.id)
        return printed(self._executor, job.id, self._directory(job).control, self._masker, reason=reason)

    def _facts(self, job: JobDefinition, outcome: Outcome, *, status: str) -> dict[str, str | None]:
        return self._log_facts(
            job,
            outcome.exit_code,
            outcome.image_id,
            ended_at=outcome.finalized_at,
            status=status,
            hint=outcome.advice,
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

    def _container(self, job: JobDefinition) -> ContainerSpec:
        return container_spec(job, self._settings, owner=self._owner)

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
