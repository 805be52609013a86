"""Settings that are each well formed and do not fit together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from jobrunner_cli.engine.diagnosis.findings import Finding, ok, problem, warning
from jobrunner_cli.engine.errors import ConfigurationError

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings

_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


def look_at_settings(settings: Settings) -> Iterator[Finding]:
    """What contradicts what. Raises ConfigurationError for a malformed file of weights or of time limits."""
    found = [
        *(warning(text, "jobrunner config shows what holds in its place") for text in settings.notices),
        *_stores(settings),
        *_data(settings),
        *_capacity(settings),
        *_addresses(settings),
    ]
    yield from found or [ok("nothing contradicts anything; jobrunner config shows all of it")]
    from jobrunner_cli.engine.time_limits import load_time_limits
    from jobrunner_cli.engine.weights import load_weights

    load_weights(settings.job_resource_weights)
    load_time_limits(settings.job_time_limits, settings.job_time_limit)


def _stores(settings: Settings) -> Iterator[Finding]:
    """What is private must not lie where people look."""
    medium = settings.medium_privacy_storage_base.resolve()
    private = {
        "HIGH_PRIVACY_VOLUME_DIR": settings.high_privacy_volume_dir,
        "HIGH_PRIVACY_ARCHIVE_DIR": settings.high_privacy_archive_dir,
    }
    for name, path in private.items():
        if _is_within(path.resolve(), medium):
            yield problem(
                f"{name} is within MEDIUM_PRIVACY_STORAGE_BASE ({medium}), so who may check outputs sees everything",
                f"set {name} to a place outside of it",
            )
    high = settings.high_privacy_storage_base.resolve()
    if medium != high and _is_within(medium, high):
        yield warning(
            f"MEDIUM_PRIVACY_STORAGE_BASE is within HIGH_PRIVACY_STORAGE_BASE ({high})",
            "set it to a place outside, so that each can have its own readers",
        )


def _is_within(path: Path, other: Path) -> bool:
    return path == other or other in path.parents


def _data(settings: Settings) -> Iterator[Finding]:
    if settings.using_dummy_data_backend:
        for name in settings.database_urls:
            yield warning(
                f"{name.upper()}_DATABASE_URL is set, and no job is ever given it: backend {settings.backend} is for dummy data",
                "unset it, or set BACKEND and USING_DUMMY_DATA_BACKEND=false",
            )
        if settings.enable_maintenance_mode_thread:
            yield warning(
                "ENABLE_MAINTENANCE_MODE_THREAD is on, and on dummy data there is no database to be maintained",
                "set ENABLE_MAINTENANCE_MODE_THREAD=false",
            )
        return
    if settings.executor == "process":
        yield problem(
            f"EXECUTOR=process is refused on backend {settings.backend}, which has real data", "set EXECUTOR=docker"
        )
    try:
        settings.presto_files()
    except ConfigurationError as error:
        yield problem(error.message, error.hint or "")
    if "default" not in settings.database_urls:
        yield warning(
            f"backend {settings.backend} has real data, but DEFAULT_DATABASE_URL is not set: no job can use it",
            "set DEFAULT_DATABASE_URL",
        )
    elif settings.max_db_workers == 0:
        yield warning(
            "MAX_DB_WORKERS is 0: jobs that use the database wait for ever", "set MAX_DB_WORKERS to 1 or more"
        )
    if settings.docker_user_id == 0:
        yield warning("DOCKER_USER_ID is 0: jobs run as root in their containers", "set DOCKER_USER_ID to another user")


def _capacity(settings: Settings) -> Iterator[Finding]:
    if settings.max_db_workers > settings.max_workers:
        yield warning(
            f"MAX_DB_WORKERS ({settings.max_db_workers}) is more than MAX_WORKERS ({settings.max_workers}), which holds",
            "set MAX_DB_WORKERS to MAX_WORKERS or less",
        )
    if settings.executor == "process" and settings.docker_host_volume_dir is not None:
        yield warning(
            "DOCKER_HOST_VOLUME_DIR is set, and EXECUTOR=process has no engine that sees it",
            "unset DOCKER_HOST_VOLUME_DIR",
        )


def _addresses(settings: Settings) -> Iterator[Finding]:
    endpoint = urlsplit(settings.job_server_endpoint)
    if settings.job_server_token and endpoint.scheme == "http" and endpoint.hostname not in _LOCAL_HOSTS:
        yield problem(
            f"JOB_SERVER_ENDPOINT is {settings.job_server_endpoint}: JOB_SERVER_TOKEN goes there for everybody to read",
            "use an https address",
        )
    if settings.allowed_github_orgs is None and not settings.using_dummy_data_backend:
        yield warning(
            "ALLOWED_GITHUB_ORGS is *: anybody's code may run on real data",
            "name the organisations in ALLOWED_GITHUB_ORGS",
        )
