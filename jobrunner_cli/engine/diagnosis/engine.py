"""The engine that runs the jobs: whether it answers, what it can enforce, its images, and the network of the database."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from shlex import quote
from typing import TYPE_CHECKING

from jobrunner_cli.engine.diagnosis.findings import Finding, ok, problem, warning
from jobrunner_cli.engine.errors import ExecutorUnavailableError
from jobrunner_cli.engine.forms import format_size

if TYPE_CHECKING:
    from jobrunner_cli.engine.executors.docker_facts import EngineFacts
    from jobrunner_cli.engine.settings import Settings

#: Seconds for one answer of the engine.
_PATIENCE = 8.0
#: Seconds by which its clock may differ.
_SKEW = 30
_NOT_LOOKED_AT = warning("not looked at: the engine does not answer", "see what helps the engine first")


def look_at_engine(settings: Settings) -> Iterator[Finding]:
    """Whether jobs can be run there as they have to be. Raises JobrunnerError."""
    if settings.executor == "process":
        from jobrunner_cli.engine.running.session import make_executor

        make_executor(settings)
        yield warning(
            "EXECUTOR=process runs jobs without any isolation or limits, for development", "set EXECUTOR=docker"
        )
        return
    from jobrunner_cli.engine.executors.docker_facts import engine_facts

    try:
        facts = engine_facts(os.environ, timeout=_PATIENCE)
    except ExecutorUnavailableError as error:
        yield problem(error.message, _what_starts_it(error))
        return
    yield ok(f"{facts.name} at {facts.address}, {facts.cpus} CPUs, {facts.memory / 2**30:.1f} GiB memory")
    yield from _look_at_safety(settings, facts)
    yield from _look_at_limits(settings, facts)
    if facts.clock is not None and abs(facts.clock - time.time()) > _SKEW:
        yield warning(
            f"its clock differs from this machine's by {abs(facts.clock - time.time()):.0f} s",
            "set both clocks by the network: timedatectl set-ntp true",
        )


def _what_starts_it(error: ExecutorUnavailableError) -> str:
    """The command that helps, as far as the engine's address and the error tell."""
    address = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    if "permission denied" in error.message and address.startswith("unix:"):
        return 'usermod --append --groups docker "$USER", or set DOCKER_HOST to another engine'
    if address.startswith("ssh:"):
        return f"try: ssh {quote(address.removeprefix('ssh://').partition(':')[0])} docker version; keys, not passwords"
    if address.startswith("unix:"):
        if os.environ.get("DOCKER_HOST"):
            return "start the engine at that address, or correct DOCKER_HOST"
        return "systemctl start docker, or set DOCKER_HOST to the engine's address"
    return "start it there, open its port to this machine, or set DOCKER_HOST to another engine"


def _look_at_safety(settings: Settings, facts: EngineFacts) -> Iterator[Finding]:
    if not facts.guarded:
        yield (warning if settings.using_dummy_data_backend else problem)(
            f"{facts.address} is open to everybody on the network: nothing proves who asks",
            "reach it by ssh://user@host, or with DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH",
        )
    if not facts.address.startswith("unix:") and settings.docker_host_volume_dir is None:
        yield ok("the engine is taken to see none of this machine's files: those of jobs are sent to it and back")
    if not facts.is_podman and not facts.live_restore:
        yield warning(
            "live-restore is off: jobs end when the daemon is restarted, and are run again",
            'set {"live-restore": true} in /etc/docker/daemon.json, then: systemctl reload docker',
        )


def _look_at_limits(settings: Settings, facts: EngineFacts) -> Iterator[Finding]:
    if not facts.limits_memory:
        yield problem(
            "the engine cannot limit a container's memory",
            "enable the memory controller: cgroup_enable=memory on the kernel's command line",
        )
    elif not facts.limits_swap:
        yield warning(
            "the engine cannot keep a container from swapping", "add swapaccount=1 to the kernel's command line"
        )
    if facts.memory and settings.default_job_memory_limit > facts.memory:
        yield warning(
            f"DEFAULT_JOB_MEMORY_LIMIT is {format_size(settings.default_job_memory_limit)}, more than the engine's machine has",
            "set DEFAULT_JOB_MEMORY_LIMIT lower",
        )
    if facts.cpus and settings.default_job_cpu_count > facts.cpus:
        yield warning(
            f"DEFAULT_JOB_CPU_COUNT is {settings.default_job_cpu_count:g}, more than the engine's machine has",
            "set DEFAULT_JOB_CPU_COUNT lower",
        )


def look_at_images(settings: Settings) -> Iterator[Finding]:
    """Whether there are images, and those that unfinished jobs need. Raises JobrunnerError."""
    from jobrunner_cli.engine.running.session import make_executor

    try:
        images = make_executor(settings).images()
    except ExecutorUnavailableError:
        yield _NOT_LOOKED_AT
        return
    here = {image.name.removeprefix(f"{settings.docker_registry}/") for image in images}
    missing = sorted(name for name in _wanted(settings) if _full(name) not in here)
    if missing:
        names = " ".join(quote(name) for name in missing)
        yield problem(f"jobs wait for images that are not here: {', '.join(missing)}", f"jobrunner images pull {names}")
    elif here:
        yield ok(
            f"{len(here)} of {settings.docker_registry}: {', '.join(sorted(here)[:6])}{' …' if len(here) > 6 else ''}"
        )
    else:
        yield warning(f"none of {settings.docker_registry} is here", "jobrunner images pull python:v2")


def _full(name: str) -> str:
    return name if ":" in name else f"{name}:latest"


def _wanted(settings: Settings) -> set[str]:
    """The platform's images that unfinished jobs name; those of reusable actions name themselves."""
    import sqlite3

    from jobrunner_cli.engine.store import names

    if settings.executor == "process":
        return set()
    try:
        conn = names.open_for_names(settings.database_path, patience=2.0)
        try:
            return names.images_of_unfinished_jobs(conn)
        finally:
            conn.close()
    except sqlite3.Error:
        # The check of the database says what is wrong with it.
        return set()


def look_at_network(settings: Settings) -> Iterator[Finding]:
    """Whether jobs that use the database have the network for it. Raises JobrunnerError."""
    name = settings.database_access_network
    if settings.using_dummy_data_backend or settings.executor == "process":
        yield ok("no network is needed: jobs get dummy data")
        return
    from jobrunner_cli.engine.executors.docker_facts import has_network

    try:
        is_there = has_network(os.environ, name, timeout=_PATIENCE)
    except ExecutorUnavailableError:
        yield _NOT_LOOKED_AT
        return
    if is_there:
        yield ok(f"the network {name} is there; what it lets through is the operator's business")
    else:
        yield problem(
            f"the engine has no network {name}, so no job can use the database",
            f"docker network create {name}",
        )
