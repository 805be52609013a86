"""The draft of a request's jobs: its plan against the workspace as it stands, and the reusable actions that the plan runs."""

from __future__ import annotations

import shlex
import stat
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from jobrunner_cli.engine import planning
from jobrunner_cli.engine.errors import StaleCodelistError
from jobrunner_cli.engine.planning import LatestJob, Plan, PlannedJob
from jobrunner_cli.engine.settings import Settings
from jobrunner_cli.engine.states import State
from jobrunner_cli.engine.store import intents, queries
from jobrunner_cli.engine.store.database import Connection
from jobrunner_cli.engine.store.models import Job
from jobrunner_cli.engine.study import reusable_actions
from jobrunner_cli.engine.study.pipeline import Pipeline
from jobrunner_cli.engine.study.repository import Repositories
from jobrunner_cli.engine.vetting import ReusableCode, fetch_reusable_action, read_study, reference_of
from jobrunner_cli.engine.work import IntentKind, JobRequest, quote_names


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedAction:
    """What runs in the place of a reusable action's name."""

    repo_url: str
    commit: str
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """Everything about one request that its plans are made from, and what was learned while making them."""

    settings: Settings
    repositories: Repositories
    request: JobRequest
    pipeline: Pipeline
    #: `name:tag` -> the code of that reusable action
    codes: dict[str, ReusableCode] = field(default_factory=dict)
    #: action of the study -> what runs for it, for those that run a reusable action
    resolved: dict[str, ResolvedAction] = field(default_factory=dict)
    #: id of a succeeded job -> which of its recorded outputs are gone
    missing: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def begin(cls, settings: Settings, repositories: Repositories, request: JobRequest) -> Draft:
        """Validate the request and read its study. Raises RequestError."""
        pipeline = read_study(settings, repositories, request)
        return cls(settings=settings, repositories=repositories, request=request, pipeline=pipeline)

    def plan(self, conn: Connection) -> tuple[Plan, int]:
        """The plan as the workspace stands now, and when the latest of the jobs that it looked at was made.

        Raises UnknownActionError or JobRequestError.
        """
        request = self.request
        found = queries.latest_jobs(conn, request.workspace, self.pipeline.actions)
        looked_at = list(found.values())
        cancelled: set[str] = set()
        while passed_over := _being_cancelled(conn, found.values()):
            cancelled |= passed_over
            found = queries.latest_jobs(conn, request.workspace, self.pipeline.actions, besides=cancelled)
        latest = {
            action: LatestJob(id=job.id, action=action, state=job.state, missing_outputs=self._missing_outputs(job))
            for action, job in found.items()
        }
        plan = planning.plan(request, self.pipeline, latest, dummy_data=self.settings.using_dummy_data_backend)
        return plan, max((job.created_at for job in looked_at), default=0)

    def resolve(self, plan: Plan) -> None:
        """Have what runs for every reusable action of the plan. Raises ReusableActionError or another GitError."""
        for job in plan.new:
            reference = reference_of(job.command)
            if reference is None or job.action in self.resolved:
                continue
            if reference not in self.codes:
                base_url = self.settings.reusable_actions_url
                self.codes[reference] = fetch_reusable_action(self.repositories, base_url, job.action, reference)
            code = self.codes[reference]
            words = shlex.split(job.command)
            self.resolved[job.action] = ResolvedAction(
                repo_url=code.repo_url,
                commit=code.commit,
                command=reusable_actions.resolve(job.action, words, code.definition, repo_url=code.repo_url),
            )

    def is_resolved(self, job: PlannedJob) -> bool:
        """Whether it is known what runs for this job."""
        return job.action in self.resolved or reference_of(job.command) is None

    def check_codelists(self, plan: Plan) -> None:
        """Raise StaleCodelistError if a database action would run with codelists that are out of date."""
        using = [job.action for job in plan.new if job.requires_db]
        if using and not self.request.codelists_ok:
            msg = f"The study's codelists are out of date, and {quote_names(using)} would read the database with them"
            raise StaleCodelistError(msg, hint="update the codelists, commit them and make the request again")

    def _missing_outputs(self, job: Job) -> tuple[str, ...]:
        """The recorded outputs of a succeeded job that are gone; each job is looked up once."""
        if job.state is not State.SUCCEEDED:
            return ()
        if job.id not in self.missing:
            directory = self.settings.high_workspace(job.workspace)
            self.missing[job.id] = tuple(path for path in job.outputs if not _is_file(directory / path))
        return self.missing[job.id]


def _being_cancelled(conn: Connection, jobs: Collection[Job]) -> set[str]:
    """Those that somebody has cancelled and nobody has ended yet: whoever asks anew must not be made to wait for them.

    Once the verdict on a job is stored, a cancellation comes too late, and the job counts.
    """
    active = [job.id for job in jobs if job.state in {State.PENDING, State.RUNNING}]
    asked = {
        job_id
        for job_id, wishes in intents.open_intents(conn, active).items()
        if any(wish.kind is IntentKind.CANCEL for wish in wishes)
    }
    return asked - queries.results_for(conn, asked) if asked else asked


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):
        return False
