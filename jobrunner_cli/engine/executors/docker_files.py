"""The files of jobs on an engine that does not see this machine's directories: its archive calls, as streams."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

from jobrunner_cli.engine.errors import ContainerMissingError, ExecutorError
from jobrunner_cli.engine.executors.docker_configuration import OWNER_LABEL
from jobrunner_cli.engine.executors.docker_connection import EngineConnection, explanation, is_absent, is_passing
from jobrunner_cli.engine.executors.docker_metadata import container_name
from jobrunner_cli.engine.executors.docker_streams import open_stream, pieces
from jobrunner_cli.engine.executors.docker_volumes import TARGETS, job_of_volume

if TYPE_CHECKING:
    from docker.api.client import APIClient

_ROOT = TARGETS["work"]


class DockerFiles:
    """The way for files to and from one engine. May be shared between threads."""

    def __init__(self, engine: EngineConnection, *, timeout: float) -> None:
        """`timeout` is in seconds of silence: a transfer lasts as long as bytes flow."""
        self._engine = engine
        self._timeout = timeout

    def copy_id(self, job_id: str) -> str | None:
        """The id of the job's container, with which its volumes are made; None if there is none.

        Raises ExecutorUnavailableError.
        """
        name = container_name(job_id)
        with self._engine.calling(f"inspect {name}") as client:
            return self._container_id(client, name)

    def put(self, job_id: str, chunks: Iterator[bytes]) -> None:
        """Unpack a tar stream into the working copy of a container that was not started.

        Raises ContainerMissingError, ExecutorError, ExecutorUnavailableError, and what the iterator raises.
        """
        from docker.errors import APIError

        name = container_name(job_id)
        with self._engine.calling(f"fill {_ROOT} of {name}", timeout=self._timeout) as client:
            # An engine that refuses at once closes the connection while it is being written to, and its words are lost.
            if self._container_id(client, name) is None:
                raise _missing(name)
            try:
                client.put_archive(name, _ROOT, chunks)
            except APIError as error:
                if is_absent(error):
                    raise _missing(name) from error
                if is_passing(error):
                    raise
                raise ExecutorError(f"Docker could not fill {_ROOT} of {name}: {explanation(error)}") from error

    def get(self, job_id: str) -> Generator[bytes]:
        """The working copy as a tar stream, in pieces of at most 64 KiB.

        Raises ContainerMissingError, ExecutorUnavailableError, also in the middle.
        """
        from docker.errors import APIError

        name = container_name(job_id)
        place = f"/containers/{name}/archive?path={_ROOT}"
        with self._engine.calling(f"read {_ROOT} of {name}", timeout=self._timeout) as client:
            try:
                response = open_stream(client, place, timeout=self._timeout)
            except APIError as error:
                if is_absent(error):
                    raise _missing(name) from error
                raise
            with response:
                yield from pieces(response)

    def left(self, owner: str) -> set[str]:
        """The jobs with this owner's label that have a volume, by one call. Raises ExecutorUnavailableError."""
        with self._engine.calling("list its volumes") as client:
            told = client.volumes(filters={"label": f"{OWNER_LABEL}={owner}"}).get("Volumes") or ()
        return {job_id for volume in told if (job_id := job_of_volume(volume["Name"])) is not None}

    @staticmethod
    def _container_id(client: APIClient, name: str) -> str | None:
        from docker.errors import APIError

        try:
            return str(client.inspect_container(name)["Id"])
        except APIError as error:
            if is_absent(error):
                return None
            raise


def _missing(name: str) -> ContainerMissingError:
    return ContainerMissingError(f"the files of {name} cannot be reached: there is no such container")
