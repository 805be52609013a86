"""Looking at one container of a Docker engine, ending it, and removing it: each until it is seen to be so."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from jobrunner_cli.engine.errors import ExecutorUnavailableError
from jobrunner_cli.engine.executors.docker_connection import is_absent, is_conflict
from jobrunner_cli.engine.executors.docker_metadata import container_name, container_state
from jobrunner_cli.engine.executors.docker_streams import open_stream, reports
from jobrunner_cli.engine.work import ContainerDetail, ContainerState

if TYPE_CHECKING:
    from docker.api.client import APIClient

#: Seconds after that of a death within which an engine tells of what it noticed later.
_AFTERTHOUGHT = 1


def describe_container(client: APIClient, name: str) -> dict[str, Any] | None:
    """The engine's description of a container; None if there is none. Raises what docker-py raises."""
    from docker.errors import APIError

    try:
        described: dict[str, Any] = client.inspect_container(name)
    except APIError as error:
        if is_absent(error):
            return None
        raise
    return described


def told_of_memory(client: APIClient, detail: ContainerDetail, *, timeout: float) -> bool:
    """Whether the engine tells of a lack of memory in a container that was killed.

    It hears of the lack and of the death on different ways. Where the death comes first, the description never says
    anything of the lack, and only the events do. `timeout` in seconds is for the engine's answer, which comes within
    two seconds of the death. Raises what docker-py and requests raise, and EOFError for an answer that is none.
    """
    filters = {"type": ["container"], "container": [container_name(detail.job_id)], "event": ["oom"]}
    since, until = math.floor(detail.started_at or 0), math.ceil(detail.finished_at or 0) + _AFTERTHOUGHT
    answer = open_stream(
        client, "/events", timeout=timeout + _AFTERTHOUGHT + 1, filters=json.dumps(filters), since=since, until=until
    )
    try:
        # To the end, so that the connection can be used again.
        return bool(list(reports(answer)))
    except ValueError as error:
        raise EOFError(f"no list of events: {error}") from error


def end_container(client: APIClient, name: str, *, grace: float, patience: float) -> None:
    """TERM, after `grace` seconds (counted in whole ones by the engine) KILL; returns when it has ended or is absent.

    `patience` is for the end after KILL, in seconds. Raises ExecutorUnavailableError if it is not seen to have ended,
    and what docker-py raises.
    """
    from docker.errors import APIError

    try:
        client.stop(name, timeout=max(0, math.ceil(grace)))
    except APIError as error:
        if is_absent(error):
            return
        if not is_conflict(error):
            raise
    if _runs(client, name):
        _kill(client, name, patience)
    if _runs(client, name):
        raise ExecutorUnavailableError(f"{name} runs on although it was killed")


def _kill(client: APIClient, name: str, patience: float) -> None:
    from docker.errors import APIError

    try:
        client.kill(name, signal="KILL")
        client.wait(name, timeout=math.ceil(patience), condition="not-running")
    except APIError as error:
        # A conflict: it has ended meanwhile.
        if not is_absent(error) and not is_conflict(error):
            raise


def _runs(client: APIClient, name: str) -> bool:
    described = describe_container(client, name)
    return described is not None and container_state(described["State"]["Status"]) is ContainerState.RUNNING


def remove_container(client: APIClient, container: str, *, patience: float) -> None:
    """Remove a container, by name or id, with its own volumes, killing it first; returns when it is gone.

    `patience` is for a removal that is under way, in seconds. Raises what docker-py raises.
    """
    from docker.errors import APIError

    for again in (True, False):
        try:
            client.remove_container(container, v=True, force=True)
        except APIError as error:
            if is_absent(error):
                return
            if error.status_code == 409:
                # It is being removed.
                break
            # Podman gives up on a container that ends just before it is killed.
            if not again or not is_conflict(error):
                raise
        else:
            return
    try:
        client.wait(container, timeout=math.ceil(patience), condition="removed")
    except APIError as error:
        if not is_absent(error):
            raise
