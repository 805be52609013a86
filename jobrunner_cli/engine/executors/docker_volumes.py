"""The named volumes of a job, on an engine that does not see this machine's directories: made, handed over, removed.

The engine makes them together with the container (they are in its mounts), labelled like it. An engine gives every
new volume to root, so its root directory is given to the job's user afterwards, by a tar stream.
"""

from __future__ import annotations

import io
import tarfile
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jobrunner_cli.engine.errors import ExecutorError, ExecutorUnavailableError
from jobrunner_cli.engine.executors.docker_connection import is_absent, is_conflict
from jobrunner_cli.engine.executors.docker_streams import open_stream, pieces

if TYPE_CHECKING:
    from docker.api.client import APIClient

#: Ending of a volume's name -> where it is mounted.
TARGETS: Mapping[str, str] = {"work": "/workspace", "tmp": "/tmp"}  # noqa: S108 (paths in the container)

_PREFIX = "os-job-"
#: An engine lets go of a volume a moment after its container.
_ATTEMPTS = 8
_PAUSE = 0.25
#: Nobody but the job looks into its directories, as with those of this machine.
_ROOT_MODE = 0o700


def volume_name(job_id: str, ending: str) -> str:
    """The name of one of a job's volumes."""
    return f"{_PREFIX}{job_id}-{ending}"


def job_of_volume(name: str) -> str | None:
    """The job that a volume belongs to; None for a stranger's."""
    job_id, _, ending = name.removeprefix(_PREFIX).rpartition("-")
    return job_id if job_id and ending in TARGETS and name.startswith(_PREFIX) else None


def volume_mounts(job_id: str, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """The mounts of a job's volumes, in the words of the engine's API; the engine makes what is not there."""
    return [
        {
            "Type": "volume",
            "Source": volume_name(job_id, ending),
            "Target": target,
            "ReadOnly": False,
            # What an image has at these places is not copied: bind mounts hide it, too.
            "VolumeOptions": {"NoCopy": True, "Labels": dict(labels)},
        }
        for ending, target in TARGETS.items()
    ]


class JobVolumes:
    """The volumes of one engine's jobs, by way of a client that is handed to each call."""

    def __init__(self) -> None:
        self._hands_over = False

    @staticmethod
    def discard(client: APIClient, job_id: str) -> bool:
        """Remove a job's volumes; whether they are gone. A volume that a container has is left. Absent is fine."""
        from docker.errors import APIError

        gone = True
        for ending in TARGETS:
            try:
                client.remove_volume(volume_name(job_id, ending))
            except APIError as error:
                if is_absent(error):
                    continue
                if not is_conflict(error):
                    raise
                gone = False
        return gone

    def remove(self, client: APIClient, job_id: str) -> None:
        """Remove the volumes of a job whose container is gone; returns when the engine has them no more.

        Raises ExecutorUnavailableError if another container has one of them.
        """
        for attempt in range(_ATTEMPTS):
            if self.discard(client, job_id):
                return
            # The engine tells nobody when it lets go.
            threading.Event().wait(_PAUSE * attempt)
        raise held_by_another(job_id)

    def hand_over(self, client: APIClient, container: str, user: tuple[int, int]) -> None:
        """Give the roots of the volumes of a container that was not started to its user.

        Raises ExecutorError if the engine cannot do that.
        """
        root = _root_entry(user)
        for target in TARGETS.values():
            client.put_archive(container, target, root)
        if not self._hands_over:
            self._see_owner(client, container, user)
            self._hands_over = True

    @staticmethod
    def _see_owner(client: APIClient, container: str, user: tuple[int, int]) -> None:
        """See whether the engine did it: that an entry named `/` means the root is not in its documentation."""
        target = TARGETS["work"]
        place = f"/containers/{container}/archive?path={target}"
        with open_stream(client, place, timeout=float(client.timeout or 0)) as response:
            head = bytearray()
            for piece in pieces(response):
                head += piece
                if len(head) >= tarfile.BLOCKSIZE:
                    break
        try:
            entry = tarfile.TarInfo.frombuf(bytes(head[: tarfile.BLOCKSIZE]), "utf-8", "surrogateescape")
        except tarfile.HeaderError:
            raise ExecutorUnavailableError(f"{target} of {container} could not be looked at") from None
        if (entry.uid, entry.gid) != user:
            raise ExecutorError(
                f"the engine cannot give a volume to user {user[0]}:{user[1]} ({target} belongs to {entry.uid}:{entry.gid})",
                hint="an engine elsewhere has to be Docker 20.10 or later, without user namespaces",
            )


def held_by_another(job_id: str) -> ExecutorUnavailableError:
    """The error for volumes that somebody else's container has."""
    name = volume_name(job_id, "work")
    return ExecutorUnavailableError(
        f"a volume of job {job_id} is in use by a container that is not the job's",
        hint=f"remove that container: docker ps -a --filter volume={name}",
    )


def _root_entry(user: tuple[int, int]) -> bytes:
    """A tar stream that changes only the directory that it is unpacked into: `.` would be passed over."""
    entry = tarfile.TarInfo("/")
    entry.type = tarfile.DIRTYPE
    entry.mode = _ROOT_MODE
    entry.uid, entry.gid = user
    entry.mtime = int(time.time())
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(entry)
    return stream.getvalue()
