"""The job-server: whether it answers, and takes the token."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from jobrunner_cli.engine.diagnosis.findings import Finding, ok, problem

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings

#: Seconds to connect, of silence, and for the whole answer.
_CONNECT, _SILENCE, _ANSWER = 5.0, 8.0, 12.0


def look_at_job_server(settings: Settings) -> Iterator[Finding]:
    """Ask for the first page of job requests, as `sync` does; nothing is taken. Raises JobrunnerError."""
    token = settings.job_server_token
    if not token:
        yield ok("JOB_SERVER_TOKEN is not set: jobs come from jobrunner add-job alone")
        return
    from jobrunner_cli.engine.masking import Masker
    from jobrunner_cli.engine.service.jobserver import JobServer, JobServerError, Limits
    from jobrunner_cli.engine.service.wire import flags_header
    from jobrunner_cli.engine.store import queries
    from jobrunner_cli.engine.store.database import Database

    # The server is told of the flags with every question: it must not hear that there are none.
    with Database(settings.database_path, readonly=True, patience=2.0) as database:
        flags = flags_header(queries.flags(database.connection))
    server = JobServer(
        endpoint=settings.job_server_endpoint,
        token=token,
        backend=settings.backend,
        mask=Masker(settings.secrets()).mask,
        user_agent=f"jobrunner/{settings.version_text}",
        limits=Limits(connect=_CONNECT, silence=_SILENCE, call=_ANSWER),
    )
    try:
        page = next(server.job_requests(flags), [])
        yield ok(f"{settings.job_server_endpoint} answers; {len(page)} job requests on its first page")
    except JobServerError as error:
        yield problem(error.message, error.hint or "check JOB_SERVER_ENDPOINT, JOB_SERVER_TOKEN and the network")
    finally:
        server.close()
