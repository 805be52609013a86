"""What a Docker or Podman engine says of itself: how it is reached, its limits, and what it can enforce."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jobrunner_cli.engine.executors.docker_connection import EngineConnection, engine_kind, tls_files


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """An engine, by its own account."""

    #: `Docker` or `Podman`, with its version
    name: str
    address: str
    #: over a Unix socket, or ssh, or TLS with certificates: not open to everybody on the network
    guarded: bool
    is_podman: bool
    #: containers survive a restart of the daemon
    live_restore: bool
    cpus: int
    #: bytes; 0 if it does not say
    memory: int
    limits_memory: bool
    limits_swap: bool
    #: by its own clock, in UNIX seconds; None if it does not say
    clock: float | None
    #: its own complaints
    warnings: tuple[str, ...]


def engine_facts(environment: Mapping[str, str], *, timeout: float) -> EngineFacts:
    """Ask the engine that DOCKER_HOST names; `timeout` in seconds for each answer.

    Raises ConfigurationError for an address that cannot be one, ExecutorUnavailableError, ExecutorError.
    """
    engine = _connection(environment, timeout)
    try:
        engine.knock()
        with engine.calling("say what it is") as client:
            version, told = client.version(api_version=False), client.info()
    finally:
        engine.forget()
    kind = engine_kind(version)
    secured = engine.address.startswith(("unix:", "ssh:")) or bool((tls_files(environment) or {}).get("verify"))
    return EngineFacts(
        name=f"{kind} {version.get('Version', '?')}",
        address=engine.address,
        guarded=secured,
        is_podman=kind == "Podman",
        live_restore=bool(told.get("LiveRestoreEnabled")),
        cpus=int(told.get("NCPU") or 0),
        memory=int(told.get("MemTotal") or 0),
        limits_memory=told.get("MemoryLimit") is not False,
        limits_swap=told.get("SwapLimit") is not False,
        clock=_clock(told),
        warnings=tuple(str(text) for text in told.get("Warnings") or ()),
    )


def has_network(environment: Mapping[str, str], name: str, *, timeout: float) -> bool:
    """Whether the engine has a network of this name. Raises as `engine_facts` does."""
    engine = _connection(environment, timeout)
    try:
        with engine.calling("list its networks") as client:
            networks = client.networks(names=[name])
    finally:
        engine.forget()
    # The engine's filter also takes parts of names.
    return any(network.get("Name") == name for network in networks)


def _connection(environment: Mapping[str, str], timeout: float) -> EngineConnection:
    return EngineConnection(environment.get("DOCKER_HOST") or None, timeout=timeout, tls=tls_files(environment))


def _clock(told: Mapping[str, Any]) -> float | None:
    text = str(told.get("SystemTime") or "")
    try:
        # Nanoseconds, of which Python before 3.11 would have taken six digits at most.
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo is not None else None
