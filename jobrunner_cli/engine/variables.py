"""The variables that configure jobrunner: one table with each one's name, form, default and meaning.

Settings, `jobrunner config` and the documentation all read this table.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobrunner_cli.engine.forms import (
    Parse,
    matching,
    one_of,
    parse_bool,
    parse_database_url,
    parse_duration,
    parse_endpoint,
    parse_organisations,
    parse_path,
    parse_positive,
    parse_repositories,
    parse_text,
    size,
    whole,
)

#: What a runner that is root uses for its jobs in place of its own ids: `nobody` on every Linux.
UNPRIVILEGED_ID = 65534
#: The kernel takes the one above for "no change".
_LARGEST_ID = 2**32 - 2

#: The least that Docker gives a container.
_LEAST_MEMORY = 6 * 2**20

Derive = Callable[[Mapping[str, Any]], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One variable."""

    #: as the environment has it
    name: str
    #: from a text and the directory that relative paths start from. Raises MalformedError.
    parse: Parse
    #: a text to be parsed; None for no value
    default: str | None = None
    #: the default where it follows from the machine or from variables before this one in the table
    derive: Derive | None = None
    #: that it follows from other variables, and so is told as `derived`
    follows: bool = False
    #: how the documentation names a derived default
    default_text: str = ""
    secret: bool = False
    help: str
    #: the name in Settings, if it is not the variable's in lower case
    attribute: str = ""

    @property
    def field(self) -> str:
        """Its name in Settings and in config.toml."""
        return self.attribute or self.name.lower()


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _data_directory(values: Mapping[str, Any]) -> Path:
    # Three milliseconds that a set WORKDIR saves.
    import platformdirs

    return Path(platformdirs.user_data_dir("jobrunner", appauthor=False))


def _below(name: str, *parts: str) -> Derive:
    return lambda values: Path(values[name]).joinpath(*parts)


def _unprivileged(own: Callable[[], int]) -> Derive:
    return lambda values: own() if os.getuid() else UNPRIVILEGED_ID


# With the two names that Python's logging knows besides, which existing installations may have.
_LEVEL = one_of(
    "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", also={"WARN": "WARNING", "FATAL": "CRITICAL"}, fold=str.upper
)
_NAME = matching(r"[A-Za-z0-9][A-Za-z0-9_.-]*", "a name of letters, digits, '_', '.' and '-'")
_BACKEND = matching(
    r"[A-Za-z0-9][A-Za-z0-9_-]*[A-Za-z0-9]",
    "two or more letters, digits, '_' and '-', with a letter or digit at both ends",
)
_REGISTRY = matching(
    r"[A-Za-z0-9][A-Za-z0-9.-]*[A-Za-z0-9](:[0-9]{1,5})?(/[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)*",
    "a registry and path such as ghcr.io/opensafely-core",
)

#: The table. What a default follows from stands before it.
VARIABLES: tuple[Variable, ...] = (
    Variable(
        name="BACKEND",
        parse=_BACKEND,
        default="expectations",
        help="the name of this installation; `expectations` runs on dummy data",
    ),
    Variable(
        name="USING_DUMMY_DATA_BACKEND",
        parse=parse_bool,
        default="false",
        help="jobs get dummy data, never a real database; always so for `expectations`",
    ),
    Variable(
        name="WORKDIR",
        parse=parse_path,
        derive=_data_directory,
        default_text="the platform's user data directory",
        help="where the database, the git mirrors (in `repos/`) and the locks are",
    ),
    Variable(
        name="HIGH_PRIVACY_STORAGE_BASE",
        parse=parse_path,
        derive=_below("workdir", "high_privacy"),
        follows=True,
        default_text="{WORKDIR}/high_privacy",
        help="the store of all outputs",
    ),
    Variable(
        name="MEDIUM_PRIVACY_STORAGE_BASE",
        parse=parse_path,
        derive=_below("workdir", "medium_privacy"),
        follows=True,
        default_text="{WORKDIR}/medium_privacy",
        help="the store of the outputs that people may check",
    ),
    Variable(
        name="HIGH_PRIVACY_VOLUME_DIR",
        parse=parse_path,
        derive=_below("high_privacy_storage_base", "volumes"),
        follows=True,
        default_text="{HIGH_PRIVACY_STORAGE_BASE}/volumes",
        help="where each job has its directory while it runs",
    ),
    Variable(
        name="HIGH_PRIVACY_ARCHIVE_DIR",
        parse=parse_path,
        derive=_below("high_privacy_storage_base", "archives"),
        follows=True,
        default_text="{HIGH_PRIVACY_STORAGE_BASE}/archives",
        help="where archived workspaces are",
    ),
    Variable(
        name="DOCKER_HOST_VOLUME_DIR",
        parse=parse_path,
        help="HIGH_PRIVACY_VOLUME_DIR as the engine's host sees it, if the runner itself is in a container",
    ),
    Variable(
        name="JOB_SERVER_ENDPOINT",
        parse=parse_endpoint,
        default="https://jobs.opensafely.org/api/v2/",
        help="the job-server's API",
    ),
    Variable(name="JOB_SERVER_TOKEN", parse=parse_text, secret=True, help="the token for the job-server"),
    Variable(
        name="PRIVATE_REPO_ACCESS_TOKEN",
        parse=parse_text,
        secret=True,
        help="the token for private repositories on GitHub",
    ),
    Variable(
        name="ALLOWED_GITHUB_ORGS",
        parse=parse_organisations,
        default="opensafely",
        help="whose repositories may run, with commas between; `none` is no http repository at all, `*` no restriction",
    ),
    Variable(
        name="REUSABLE_ACTIONS_URL",
        parse=parse_repositories,
        default="https://github.com/opensafely-actions",
        help="where the repositories of reusable actions are: an https address, or a directory of this machine",
    ),
    Variable(
        name="GITHUB_PROXY",
        parse=parse_bool,
        derive=lambda values: values["backend"] != "expectations",
        follows=True,
        default_text="false for `expectations`, else true",
        help="git reaches GitHub through the OpenSAFELY proxy; always so where there is real data",
    ),
    Variable(
        name="POLL_INTERVAL",
        parse=parse_positive,
        default="5",
        help="seconds between two looks at the job-server",
    ),
    Variable(
        name="JOB_LOOP_INTERVAL",
        parse=parse_positive,
        default="1",
        help="the longest time in seconds that the loop waits; it usually wakes on an event",
    ),
    Variable(
        name="MAX_WORKERS",
        parse=whole(1),
        derive=lambda values: max(_cpus() - 1, 1),
        default_text="the number of CPUs less one, at least 1",
        help="how many jobs of weight 1 may run at once",
    ),
    Variable(
        name="MAX_DB_WORKERS",
        parse=whole(0),
        derive=lambda values: values["max_workers"],
        follows=True,
        default_text="MAX_WORKERS",
        help="how many of them may use the database",
    ),
    Variable(
        name="JOB_RESOURCE_WEIGHTS",
        parse=parse_path,
        default="job-resource-weights.ini",
        help="the file with the weights of jobs that are not 1",
    ),
    Variable(
        name="RESERVE_AFTER_SECONDS",
        attribute="starvation_seconds",
        parse=parse_positive,
        default="60",
        help="seconds after which a job that waits for workers holds back those ranked after it",
    ),
    Variable(name="DEFAULT_JOB_CPU_COUNT", parse=parse_positive, default="2", help="CPUs that a job may use"),
    Variable(
        name="DEFAULT_JOB_MEMORY_LIMIT",
        parse=size(_LEAST_MEMORY),
        default="4G",
        help="memory that a job may use, without swap: 4G, 512m, 4GiB",
    ),
    Variable(name="JOB_PROCESS_LIMIT", parse=whole(1), default="4096", help="processes that a job may have at once"),
    Variable(
        name="JOB_STOP_GRACE",
        parse=parse_positive,
        default="10",
        help="seconds between the signals TERM and KILL when a job is ended",
    ),
    Variable(
        name="LEVEL4_MAX_FILESIZE",
        parse=size(1),
        default="16M",
        help="the largest file that goes to the medium privacy store",
    ),
    Variable(
        name="LEVEL4_MAX_CSV_ROWS",
        parse=whole(0),
        default="5000",
        help="the most rows of a CSV file that goes to the medium privacy store",
    ),
    Variable(
        name="HIGH_PRIVACY_FREE_SPACE_FLOOR",
        parse=size(0),
        default="512M",
        help="free space in the high privacy store, the directory of jobs and WORKDIR below which nothing new starts; 0: none",
    ),
    Variable(
        name="MEDIUM_PRIVACY_FREE_SPACE_FLOOR",
        parse=size(0),
        default="512M",
        help="the same for the medium privacy store",
    ),
    Variable(
        name="JOB_DIRECTORY_LIMIT",
        parse=size(1),
        help="disk space that a job's directory may take up while it runs, code and inputs included: 50G; else no limit",
    ),
    Variable(
        name="JOB_TIME_LIMIT",
        parse=parse_duration,
        help="how long a job may run before it is ended: 90s, 30m, 12h, 7d; else no limit",
    ),
    Variable(
        name="JOB_TIME_LIMITS",
        parse=parse_path,
        default="job-time-limits.ini",
        help="the file with the time limits of actions that have one of their own, of the form of the weights",
    ),
    Variable(
        name="EXECUTOR",
        parse=one_of("docker", "process", also={"jobrunner.executors.local:LocalDockerAPI": "docker"}),
        default="docker",
        help="what runs the jobs: docker, or process (without any isolation, for development)",
    ),
    Variable(
        name="DOCKER_REGISTRY",
        parse=_REGISTRY,
        default="ghcr.io/opensafely-core",
        help="where the images of jobs come from",
    ),
    Variable(
        name="DOCKER_USER_ID",
        parse=whole(0, _LARGEST_ID),
        derive=_unprivileged(os.getuid),
        default_text=f"the runner's own, or {UNPRIVILEGED_ID} for a runner that is root",
        help="the user id of jobs",
    ),
    Variable(
        name="DOCKER_GROUP_ID",
        parse=whole(0, _LARGEST_ID),
        derive=_unprivileged(os.getgid),
        default_text=f"the runner's own, or {UNPRIVILEGED_ID} for a runner that is root",
        help="the group id of jobs",
    ),
    Variable(
        name="DATABASE_ACCESS_NETWORK",
        parse=_NAME,
        default="jobrunner-db",
        help="the Docker network of jobs that use the database",
    ),
    Variable(
        name="DEFAULT_DATABASE_URL",
        parse=parse_database_url,
        secret=True,
        help="the address of the database `default`",
    ),
    Variable(
        name="INCLUDE_T1OO_DATABASE_URL",
        parse=parse_database_url,
        secret=True,
        help="the address of the database `include_t1oo`",
    ),
    Variable(name="TEMP_DATABASE_NAME", parse=parse_text, help="where jobs may put tables for a while"),
    Variable(
        name="EMIS_ORGANISATION_HASH", parse=parse_text, secret=True, help="given to jobs that use an EMIS database"
    ),
    Variable(
        name="PRESTO_TLS_CERT_PATH",
        parse=parse_path,
        help="the certificate for a Presto database; together with PRESTO_TLS_KEY_PATH",
    ),
    Variable(
        name="PRESTO_TLS_KEY_PATH",
        parse=parse_path,
        help="the key for a Presto database; together with PRESTO_TLS_CERT_PATH",
    ),
    Variable(name="STATA_LICENSE", parse=parse_text, secret=True, help="the licence text for Stata's image"),
    Variable(
        name="STATS_POLL_INTERVAL",
        parse=parse_positive,
        default="10",
        help="seconds between two samples of what running jobs use",
    ),
    Variable(
        name="MAINTENANCE_POLL_INTERVAL",
        parse=parse_positive,
        default="300",
        help="seconds between two checks for database maintenance",
    ),
    Variable(
        name="ENABLE_MAINTENANCE_MODE_THREAD",
        parse=parse_bool,
        default="false",
        help="check for database maintenance",
    ),
    Variable(
        name="DRAIN_TIMEOUT",
        parse=parse_positive,
        default="120",
        help="seconds that a service may take to store what is being stored when it is told to leave",
    ),
    Variable(name="LOGLEVEL", parse=_LEVEL, default="INFO", help="the least level of what the service logs"),
    Variable(
        name="DEBUG_LOG_FILE",
        parse=parse_path,
        help="a file for log lines of every level; a new one each day, 14 are kept",
    ),
    Variable(
        name="TRACE_LOG_LEVEL", parse=_LEVEL, default="ERROR", help="the least level of what the tracing library logs"
    ),
    Variable(
        name="VERSION",
        parse=parse_text,
        default_text="the package's version",
        help="what this deployment calls its version",
    ),
    Variable(name="GIT_SHA", parse=parse_text, help="the commit that this deployment was made from"),
)

#: What existing installations set and nothing reads.
UNUSED = frozenset({"MAX_RETRIES", "STATA_LICENSE_REPO", "FUNTIMES"})
