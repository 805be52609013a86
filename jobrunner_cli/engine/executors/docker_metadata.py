"""What a Docker engine says of a container, read into the runner's terms: states, times, and a masked description."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from jobrunner_cli.engine.masking import mask_environment
from jobrunner_cli.engine.work import ContainerDetail, ContainerState

_PREFIX = "os-job-"
#: What a command ends with that was killed.
KILLED = 137

#: Engine's word -> state; a container that is being removed counts as gone. Some words are only Podman's.
_STATES = {
    "created": ContainerState.CREATED,
    "configured": ContainerState.CREATED,
    "initialized": ContainerState.CREATED,
    "running": ContainerState.RUNNING,
    "paused": ContainerState.RUNNING,
    "restarting": ContainerState.RUNNING,
    "stopping": ContainerState.RUNNING,
    "exited": ContainerState.EXITED,
    "stopped": ContainerState.EXITED,
    "dead": ContainerState.EXITED,
}


def container_name(job_id: str) -> str:
    """The name of a job's container."""
    return f"{_PREFIX}{job_id}"


def job_of(names: Sequence[str]) -> str | None:
    """The job that a container with these names, as the engine lists them, belongs to; None for a stranger's."""
    for name in names:
        bare = name.removeprefix("/")
        if bare.startswith(_PREFIX) and "/" not in bare:
            return bare.removeprefix(_PREFIX)
    return None


def container_state(word: str) -> ContainerState | None:
    """The state for the engine's word; None for a container on its way out."""
    return _STATES.get(word.lower())


def container_detail(job_id: str, described: Mapping[str, Any]) -> ContainerDetail | None:
    """The engine's description of a container in the runner's terms; None for one on its way out."""
    told = described["State"]
    state = container_state(told["Status"])
    if state is None:
        return None
    ended = state is ContainerState.EXITED
    exit_code = int(told["ExitCode"]) if ended else None
    return ContainerDetail(
        job_id=job_id,
        state=state,
        exit_code=exit_code,
        # Engines also set the flag when a child alone was killed and the command carried on.
        out_of_memory=exit_code == KILLED and bool(told.get("OOMKilled")),
        started_at=unix_seconds(told.get("StartedAt")),
        finished_at=unix_seconds(told.get("FinishedAt")) if ended else None,
        image_id=described.get("Image"),
        metadata=_masked(described),
    )


def never_started(described: Mapping[str, Any]) -> bool:
    """Whether nobody has tried to start the container; one whose start failed stays `created` with an exit code."""
    told = described["State"]
    fresh = container_state(told["Status"]) is ContainerState.CREATED and unix_seconds(told.get("StartedAt")) is None
    return fresh and not told.get("ExitCode") and not told.get("Error")


def _masked(described: Mapping[str, Any]) -> Mapping[str, Any]:
    configuration = described.get("Config") or {}
    if not configuration.get("Env"):
        return described
    return {**described, "Config": {**configuration, "Env": mask_environment(configuration["Env"])}}


def unix_seconds(text: str | None) -> float | None:
    """UNIX seconds of an engine's time; its zero time, the year 1, means never."""
    if not text or text.startswith("0001-"):
        return None
    return datetime.fromisoformat(text).timestamp()


def engine_timestamp(text: str, *, earlier: int = 0) -> str:
    """An engine's time, or one so many seconds earlier, as the `seconds.nanoseconds` that its API takes."""
    fraction = text.partition(".")[2]
    digits = "".join(character for character in fraction[:9] if character.isdigit())
    return f"{int(datetime.fromisoformat(text).timestamp()) - earlier}.{digits.ljust(9, '0')}"
