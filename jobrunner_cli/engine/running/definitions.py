"""From a row of the table and the settings to what is run: the job's definition and its container."""

from __future__ import annotations

import shlex
import socket
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from jobrunner_cli.engine.errors import ConfigurationError, ExecutorUnavailableError, JobRequestError
from jobrunner_cli.engine.jobfiles.layout import JobDirectory
from jobrunner_cli.engine.work import ContainerSpec, JobDefinition

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.models import Job

#: A reserved address (RFC 5737) that answers nothing: names are not looked up from within a database job.
NO_NAME_SERVER = "192.0.2.0"


def image_and_args(run_command: str, registry: str) -> tuple[str, tuple[str, ...]]:
    """The full image name and the words that it is given.

    Raises JobRequestError if the command cannot be split, which only a row written by hand can cause.
    """
    try:
        words = shlex.split(run_command)
    except ValueError as error:
        msg = f"the command {run_command!r} cannot be split into words: {error}"
        raise JobRequestError(msg) from None
    if not words:
        msg = "the command is empty"
        raise JobRequestError(msg)
    return f"{registry}/{words[0]}", tuple(words[1:])


def uses_real_database(job: Job, settings: Settings) -> bool:
    """Whether the job is let at a database: never on dummy data."""
    return bool(job.requires_db) and not settings.using_dummy_data_backend


def define(job: Job, settings: Settings) -> JobDefinition:
    """All that running this job needs.

    Raises JobRequestError for a row that makes no sense, ConfigurationError for a database that is not configured.
    """
    image, args = image_and_args(job.run_command or "", settings.docker_registry)
    return replace(outline(job, settings), image=image, args=args, env=_environment(job, settings, image))


def outline(job: Job, settings: Settings) -> JobDefinition:
    """The job without what only its start needs (image, arguments, environment).

    Ending a job and publishing its verdict must not depend on settings that may have changed since it started.
    """
    return JobDefinition(
        id=job.id,
        job_request_id=job.job_request_id,
        workspace=job.workspace,
        action=job.action,
        repo_url=job.repo_url,
        commit=job.commit,
        code_repo_url=job.action_repo_url or job.repo_url,
        code_commit=job.action_commit or job.commit,
        image="",
        args=(),
        env={},
        requires_db=bool(job.requires_db),
        database_name=job.database_name,
        output_spec=job.output_spec or {},
        needs=tuple(job.requires_outputs_from or ()),
        cpu_count=settings.default_job_cpu_count,
        memory_limit=settings.default_job_memory_limit,
        created_at=job.created_at,
    )


def _environment(job: Job, settings: Settings, image: str) -> dict[str, str]:
    environment = {"OPENSAFELY_BACKEND": settings.backend, "HOME": "/tmp"}  # noqa: S108 (a path in the container)
    name = image.rpartition("/")[2].partition("@")[0].partition(":")[0]
    if name == "stata-mp" and settings.stata_license:
        environment["STATA_LICENSE"] = settings.stata_license
    if not uses_real_database(job, settings):
        return environment
    url = settings.database_urls.get(job.database_name or "")
    if url is None:
        msg = f"database {job.database_name!r} of job {job.id} is not configured on this backend"
        raise ConfigurationError(msg)
    environment["DATABASE_URL"] = url
    if settings.temp_database_name:
        environment["TEMP_DATABASE_NAME"] = settings.temp_database_name
    environment |= settings.presto_files()
    if settings.emis_organisation_hash:
        environment["EMIS_ORGANISATION_HASH"] = settings.emis_organisation_hash
    return environment


def container_spec(definition: JobDefinition, settings: Settings, *, owner: str) -> ContainerSpec:
    """The container of a job.

    Raises ConfigurationError for a database job without a network, ExecutorUnavailableError while the name of the
    database's host cannot be resolved.
    """
    directory = JobDirectory.of(settings.high_privacy_volume_dir, definition.id)
    network, hosts = None, {}
    url = definition.env.get("DATABASE_URL")
    if url is not None:
        network = settings.database_access_network
        if not network:
            msg = f"job {definition.id} uses the database, but DATABASE_ACCESS_NETWORK is not configured"
            raise ConfigurationError(msg)
        hosts = resolved_host(url)
    return ContainerSpec(
        job_id=definition.id,
        workspace=definition.workspace,
        action=definition.action,
        image=definition.image,
        args=definition.args,
        env=definition.env,
        work_dir=str(_as_engine_sees(directory.work, settings)),
        tmp_dir=str(_as_engine_sees(directory.tmp, settings)),
        hosts_file=str(_as_engine_sees(directory.hosts, settings)),
        control_dir=str(directory.control),
        user=(settings.docker_user_id, settings.docker_group_id),
        cpu_count=definition.cpu_count,
        memory_limit=definition.memory_limit,
        process_limit=settings.job_process_limit,
        network=network,
        dns=(NO_NAME_SERVER,) if network else (),
        extra_hosts=hosts,
        owner=owner,
    )


def _as_engine_sees(path: Path, settings: Settings) -> Path:
    """The same directory by the name that it has on the engine's host, if the runner itself is in a container."""
    if settings.docker_host_volume_dir is None:
        return path
    return settings.docker_host_volume_dir / path.relative_to(settings.high_privacy_volume_dir)


def resolved_host(url: str) -> dict[str, str]:
    """The name of a database's host with its address, for a container that cannot look it up; nothing for an address.

    Raises ConfigurationError for a URL without a host, ExecutorUnavailableError if the name cannot be resolved now.
    """
    host = urlsplit(url).hostname
    if not host:
        msg = "the URL of the database names no host"
        raise ConfigurationError(msg)
    try:
        address = socket.getaddrinfo(host, None, family=socket.AF_INET, type=socket.SOCK_STREAM)[0][4][0]
    except OSError as error:
        msg = f"the database's host {host} cannot be resolved: {error}"
        raise ExecutorUnavailableError(msg) from None
    return {} if str(address) == host else {host: str(address)}
