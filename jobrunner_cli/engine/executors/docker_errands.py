"""Containers outside of jobs: one that is run to its end for a word, and leaves nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from jobrunner_cli.engine.errors import ExecutorError
from jobrunner_cli.engine.executors.docker_configuration import container_configuration
from jobrunner_cli.engine.executors.docker_connection import EngineConnection, explanation, is_absent, is_passing
from jobrunner_cli.engine.executors.docker_ending import remove_container
from jobrunner_cli.engine.executors.docker_images import KnownImages
from jobrunner_cli.engine.executors.docker_volumes import TARGETS
from jobrunner_cli.engine.executors.protocol import ErrandResult
from jobrunner_cli.engine.work import ContainerSpec

if TYPE_CHECKING:
    from docker.api.client import APIClient

#: What it gets in place of a job's directories, in memory.
_SCRATCH = "rw,nosuid,nodev,size=64m,mode=1777"
#: Lines at the end of its output among which is the last one that says something.
_LAST_LINES = 20
_LONGEST_LINE = 1000


class Errands:
    """Those of one engine. May be shared between threads, a name being run by one at a time."""

    def __init__(self, engine: EngineConnection, images: KnownImages, *, timeout: float) -> None:
        self._engine = engine
        self._images = images
        self._timeout = timeout

    def run(self, name: str, spec: ContainerSpec, *, seconds: float) -> ErrandResult:
        """Run one to its end and remove it, as the protocol says."""
        container = f"{name}-{spec.owner}"
        self.end(name, spec.owner)
        try:
            with self._engine.calling(f"run {container}", timeout=self._timeout) as client:
                self._start(client, container, spec)
            exit_code = self._await(container, seconds)
            with self._engine.calling(f"read what {container} printed", timeout=self._timeout) as client:
                return ErrandResult(
                    exit_code=exit_code,
                    stdout=_last_line(client.logs(container, stdout=True, stderr=False, tail=_LAST_LINES)),
                    stderr=_last_line(client.logs(container, stdout=False, stderr=True, tail=_LAST_LINES)),
                )
        finally:
            self.end(name, spec.owner)

    def end(self, name: str, owner: str) -> None:
        """Remove one, whatever it is doing; absent is fine."""
        container = f"{name}-{owner}"
        with self._engine.calling(f"remove {container}", timeout=self._timeout) as client:
            remove_container(client, container, patience=self._timeout)

    def _start(self, client: APIClient, container: str, spec: ContainerSpec) -> None:
        from docker.errors import APIError

        facts = self._images.facts(client, spec.image)
        wanted = container_configuration(
            spec, facts, cpus=self._engine.machine(client).cpus, read_only=True, shares_files=True, has_sandbox=True
        )
        host: dict[str, Any] = wanted["HostConfig"]
        host["Mounts"] = []
        host["Tmpfs"] = {**host["Tmpfs"], **dict.fromkeys(TARGETS.values(), _SCRATCH)}
        # What it prints is read once; a job's log would be kept for longer.
        host["LogConfig"] = {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "1"}}
        try:
            client.create_container_from_config(wanted, container)  # type: ignore[no-untyped-call]
            client.start(container)
        except APIError as error:
            if is_passing(error):
                raise
            raise ExecutorError(f"Docker could not run {container}: {explanation(error)}") from error

    def _await(self, container: str, seconds: float) -> int:
        from docker.errors import APIError
        from requests.exceptions import ConnectionError as BrokenError
        from requests.exceptions import ReadTimeout

        doing = f"wait for the end of {container}"
        client = self._engine.dedicated(doing, timeout=seconds)
        try:
            with self._engine.translated(doing, seconds):
                try:
                    answer = client.wait(container, timeout=math.ceil(seconds))
                except APIError as error:
                    if is_absent(error):
                        raise ExecutorError(f"{container} was removed before it ended") from error
                    raise
                except (ReadTimeout, BrokenError) as error:
                    if not _is_silence(error):
                        raise
                    raise ExecutorError(f"{container} was ended, for it took longer than {seconds:g} s") from error
        finally:
            client.close()
        return int(answer["StatusCode"])


def _is_silence(error: BaseException) -> bool:
    """Whether a request ended because its time was over; urllib3 says so in either of two ways."""
    return "timed out" in str(error).lower()


def _last_line(printed: bytes) -> str:
    lines = [line.strip() for line in printed.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1][:_LONGEST_LINE] if lines else ""
