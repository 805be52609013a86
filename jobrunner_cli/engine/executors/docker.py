"""The Docker executor: the verbs, over the low-level API of one engine."""

from __future__ import annotations

import builtins
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from jobrunner_cli.engine.errors import (
    ContainerMissingError,
    ExecutorError,
    ExecutorUnavailableError,
)
from jobrunner_cli.engine.executors.docker_configuration import (
    CONFIGURATION_LABEL,
    OWNER_LABEL,
    container_configuration,
)
from jobrunner_cli.engine.executors.docker_connection import (
    EngineConnection,
    engine_kind,
    explanation,
    is_absent,
    is_conflict,
    is_passing,
    tls_files,
)
from jobrunner_cli.engine.executors.docker_ending import (
    describe_container,
    end_container,
    remove_container,
    told_of_memory,
)
from jobrunner_cli.engine.executors.docker_errands import Errands
from jobrunner_cli.engine.executors.docker_events import DockerEvents
from jobrunner_cli.engine.executors.docker_files import DockerFiles
from jobrunner_cli.engine.executors.docker_images import KnownImages, full_image_name, list_images, pull_image
from jobrunner_cli.engine.executors.docker_logs import DockerLog
from jobrunner_cli.engine.executors.docker_memory import OwnContainers
from jobrunner_cli.engine.executors.docker_metadata import (
    KILLED,
    container_detail,
    container_name,
    container_state,
    job_of,
    never_started,
    unix_seconds,
)
from jobrunner_cli.engine.executors.docker_stats import UsageMeter
from jobrunner_cli.engine.executors.docker_streams import StreamWatch
from jobrunner_cli.engine.executors.docker_volumes import JobVolumes, held_by_another
from jobrunner_cli.engine.executors.protocol import ErrandResult, EventStream, ImageInfo, Use
from jobrunner_cli.engine.work import ContainerDetail, ContainerSpec, ContainerState

if TYPE_CHECKING:
    from docker.api.client import APIClient
    from docker.errors import APIError

#: The network that an engine makes for itself.
_OWN_NETWORK = "bridge"
#: How often a name that is taken is looked at again, and the seconds between two looks.
_NAME_ATTEMPTS = 8
_NAME_PAUSE = 0.25


class DockerExecutor:
    """One Docker engine, near or far. May be shared between threads; connects when it is first used."""

    def __init__(
        self,
        *,
        host: str | None = None,
        registry: str,
        timeout: float = 30.0,
        slow_timeout: float = 120.0,
        read_only_root: bool = True,
        tls: Mapping[str, Any] | None = None,
        shares_files: bool | None = None,
    ) -> None:
        """Take the engine's address and habits; nothing is connected yet.

        `host` is as in DOCKER_HOST (`unix://`, `tcp://`, `ssh://`); None is the local engine. `registry` is the prefix
        of the platform's images. `timeout` is in seconds of silence: the engine's for questions; `slow_timeout` for
        making, starting, ending and removing containers, which a loaded engine takes its time for. `tls` is what
        docker-py's TLSConfig takes. `shares_files` says whether the engine sees the directories that it is told of; by
        default, one at a Unix socket does. Raises ConfigurationError for an address that no engine can have.
        """
        self._engine = EngineConnection(host, timeout=timeout, tls=tls)
        self._registry = registry.rstrip("/")
        self._timeout = timeout
        self._slow = slow_timeout
        self._read_only_root = read_only_root
        self._watch = StreamWatch(self._ping, interval=timeout)
        self._meter = UsageMeter(self._engine)
        self._images = KnownImages(self._registry)
        near = self._engine.address.startswith("unix:") if shares_files is None else shares_files
        self._volumes = None if near else JobVolumes()
        self._files = None if near else DockerFiles(self._engine, timeout=slow_timeout)
        self._own = OwnContainers()
        self._errands = Errands(self._engine, self._images, timeout=slow_timeout)

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str], *, registry: str, shares_files: bool | None = None
    ) -> DockerExecutor:
        """The engine that DOCKER_HOST, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH name, as for every Docker client."""
        host = environment.get("DOCKER_HOST") or None
        return cls(host=host, registry=registry, tls=tls_files(environment), shares_files=shares_files)

    def __repr__(self) -> str:
        return f"DockerExecutor({self._engine.address})"

    @property
    def name(self) -> str:
        """The name that settings use."""
        return "docker"

    @property
    def place(self) -> str:
        """The address of the engine."""
        return f"Docker at {self._engine.address}"

    @property
    def isolates(self) -> bool:
        """Containers are kept from this machine's files and network."""
        return True

    @property
    def transfer(self) -> DockerFiles | None:
        """The way for the files of jobs if the engine does not see this machine's directories."""
        return self._files

    def close(self) -> None:
        """Let go of idle connections; the next call makes new ones."""
        self._engine.forget()

    def check(self) -> str:
        """Kind, version and address of the engine, if it takes a new connection now. Raises ExecutorUnavailableError."""
        self._engine.knock()
        if self._engine.described is not None:
            return self._engine.described
        with self._engine.calling("say its version") as client:
            told = client.version(api_version=False)
        self._engine.described = (
            f"{engine_kind(told)} {told.get('Version', '?')} (API {told['ApiVersion']}) at {self._engine.address}"
        )
        return self._engine.described

    def up_since(self) -> float | None:
        """When the engine made its own network: anew at each start, unless its containers survived that.

        None for a daemon without one (`--bridge=none`), and for Podman, which ends no container when its service ends
        and makes up the age of its network. Raises ExecutorUnavailableError.
        """
        from docker.errors import APIError

        if self._engine.runs_since is not None:
            return self._engine.runs_since[0]
        with self._engine.calling("say since when it runs") as client:
            try:
                told = {} if self._engine.is_podman else client.inspect_network(_OWN_NETWORK)
            except APIError as error:
                if not is_absent(error):
                    raise
                told = {}
        since = unix_seconds(told.get("Created"))
        self._engine.runs_since = (since,)
        return since

    def create(self, spec: ContainerSpec) -> None:
        """Make the job's container, not started, or keep one that is the same and was never started.

        On an engine elsewhere a new container has new volumes; a kept one keeps what is in them.
        Raises ImageMissingError, ExecutorError if the engine refuses it or the name belongs to a running container of
        another work directory, ExecutorUnavailableError.
        """
        name = container_name(spec.job_id)
        with self._engine.calling(f"create {name}", timeout=self._slow) as client:
            facts = self._images.facts(client, spec.image)
            machine = self._engine.machine(client)
            wanted = container_configuration(
                spec,
                facts,
                cpus=machine.cpus,
                read_only=self._read_only_root,
                shares_files=self._volumes is None,
                # Without one, its names come from a file of this machine.
                has_sandbox=self._volumes is not None or not machine.makes_loopback,
            )
            self._make(client, spec, wanted)
            if self._volumes is not None:
                self._volumes.hand_over(client, name, spec.user)

    def _make(self, client: APIClient, spec: ContainerSpec, wanted: dict[str, Any]) -> None:
        from docker.errors import APIError

        name = container_name(spec.job_id)
        for attempt in range(_NAME_ATTEMPTS):
            # What a container left that is gone now must not be what the next one begins with.
            fresh = self._volumes is None or self._volumes.discard(client, spec.job_id)
            try:
                made = client.create_container_from_config(wanted, name)  # type: ignore[no-untyped-call]
            except APIError as error:
                if not is_conflict(error):
                    raise self._create_refused(spec, name, error) from error
                if self._settle(client, name, wanted["Labels"], attempt):
                    return
            else:
                if not fresh:
                    remove_container(client, name, patience=self._slow)
                    raise held_by_another(spec.job_id)
                self._own.made(name, made["Id"])
                return
        raise ExecutorUnavailableError(f"the name {name} stays taken although no such container is there")

    def _settle(self, client: APIClient, name: str, labels: Mapping[str, str], attempt: int) -> bool:
        """See to the container that has the name already; true if it is as it should be, else the name is free."""
        described = describe_container(client, name)
        if described is None:
            # Half created, half removed: the engine holds the name for a moment, and tells nobody when it lets go.
            threading.Event().wait(_NAME_PAUSE * attempt)
            return False
        theirs = described["Config"].get("Labels") or {}
        self._own.forget(name)
        same = all(theirs.get(label) == labels[label] for label in (OWNER_LABEL, CONFIGURATION_LABEL))
        if same and never_started(described):
            return True
        state = container_state(described["State"]["Status"])
        if state is ContainerState.RUNNING and theirs.get(OWNER_LABEL, labels[OWNER_LABEL]) != labels[OWNER_LABEL]:
            raise ExecutorError(
                f"{name} runs already, for another work directory",
                hint=f"if nothing needs it any more: docker rm -f {name}",
            )
        remove_container(client, described["Id"], patience=self._slow)
        return False

    def _create_refused(self, spec: ContainerSpec, name: str, error: APIError) -> ExecutorError:
        if is_absent(error) and "image" in explanation(error).lower():
            return self._images.missing(spec.image)
        return self._judged(f"create {name}", error)

    def start(self, job_id: str) -> None:
        """Start the container if it was never started.

        Raises ExecutorError if there is none, or its command, user or network does not work; ExecutorUnavailableError
        if the engine does not answer and the container is not seen to have started.
        """
        try:
            self._start(job_id)
        except ExecutorUnavailableError:
            # The order may have arrived, and only its answer been lost.
            detail = self.inspect(job_id)
            if detail is None or detail.state is ContainerState.CREATED:
                raise

    def _start(self, job_id: str) -> None:
        from docker.errors import APIError

        name = container_name(job_id)
        never_started = self._own.begin_start(name)
        with self._engine.calling(f"start {name}", timeout=self._slow) as client:
            # An exited container would run again; one that was made here just now has not run.
            if not never_started and self._was_started(client, name):
                return
            try:
                client.start(name)
            except APIError as error:
                described = describe_container(client, name)
                if described is None:
                    raise ContainerMissingError(f"{name} cannot be started: there is no such container") from error
                command = " ".join([described.get("Path", ""), *(described.get("Args") or ())]).strip()
                image = described["Config"].get("Image", "?")
                raise self._judged(f"start {command!r} in {image} ({name})", error) from error

    def _was_started(self, client: APIClient, name: str) -> bool:
        described = describe_container(client, name)
        if described is None:
            raise ContainerMissingError(f"{name} cannot be started: there is no such container")
        return container_state(described["State"]["Status"]) is not ContainerState.CREATED

    @staticmethod
    def _judged(doing: str, error: APIError) -> ExecutorError:
        """What a refusal to create or start means: unless the engine speaks of itself, this job is at fault.

        Engines answer 400, 404 or 500 to the same fault, depending on their version.
        """
        if is_passing(error):
            raise error
        return ExecutorError(f"Docker could not {doing}: {explanation(error)}")

    def stop(self, job_id: str, *, grace: float) -> None:
        """TERM, after `grace` seconds (counted in whole ones by the engine) KILL; returns when it has ended.

        Raises ExecutorUnavailableError if it is not seen to have ended.
        """
        name = container_name(job_id)
        with self._engine.calling(f"stop {name}", timeout=self._slow) as client:
            end_container(client, name, grace=grace, patience=self._timeout)

    def remove(self, job_id: str) -> None:
        """Remove the container with its volumes, killing it first; returns when all is gone.

        Raises ExecutorUnavailableError if it is not seen to be gone.
        """
        name = container_name(job_id)
        self._own.forget(name)
        with self._engine.calling(f"remove {name}", timeout=self._slow) as client:
            remove_container(client, name, patience=self._slow)
            if self._volumes is not None:
                self._volumes.remove(client, job_id)

    def list(self, owner: str) -> dict[str, ContainerState]:
        """Job id -> state of every container with this owner's label, by one call. Raises ExecutorUnavailableError."""
        with self._engine.calling("list its containers") as client:
            told = client.containers(all=True, filters={"label": f"{OWNER_LABEL}={owner}"})
        found: dict[str, ContainerState] = {}
        for container in told:
            job_id, state = job_of(container.get("Names") or ()), container_state(container["State"])
            if job_id is not None and state is not None:
                found[job_id] = state
        return found

    def inspect(self, job_id: str) -> ContainerDetail | None:
        """Everything about the job's container; None if there is none. Raises ExecutorUnavailableError."""
        name = container_name(job_id)
        described = self._own.take_end(name)
        if described is None:
            with self._engine.calling(f"inspect {name}") as client:
                described = describe_container(client, name)
        return None if described is None else container_detail(job_id, described)

    def ran_out_of_memory(self, detail: ContainerDetail) -> bool:
        """Whether that ended it. Raises ExecutorUnavailableError."""
        if detail.out_of_memory or detail.exit_code != KILLED:
            return detail.out_of_memory
        try:
            with self._engine.calling("tell what killed a container") as client:
                return told_of_memory(client, detail, timeout=self._timeout)
        except ExecutorError:
            # An engine that knows no such events: it was killed, whatever for.
            return False

    def _note_end(self, described: Mapping[str, Any]) -> str | None:
        """Keep the description that the end of a container brought, for the one who is going to ask for it next."""
        if container_state(described["State"]["Status"]) is not ContainerState.EXITED:
            return None
        self._own.note_end(described)
        return job_of([str(described.get("Name", ""))])

    @property
    def keeps_log_head(self) -> bool:
        """The engine keeps the newest part of a log."""
        return False

    def logs(self, job_id: str, *, follow: bool = False, tail: int | None = None) -> DockerLog:
        """The lines of both streams with timestamps; with `follow` until the container ends.

        `tail` counts as the engine does, for which a long line is one for each 16 KiB. A container that was never started has none. The iterator's `close` ends it from any thread. Raises
        ExecutorUnavailableError, also in the middle.
        """
        return DockerLog(
            self._engine, self._watch, container_name(job_id), follow=follow, tail=tail, timeout=self._timeout
        )

    def stats(self, job_ids: Iterator[str]) -> dict[str, Use]:
        """Job id -> what it uses, of those that run. Raises ExecutorUnavailableError."""
        return self._meter.measure(job_ids)

    def run_errand(self, name: str, spec: ContainerSpec, *, seconds: float) -> ErrandResult:
        """Run a container outside of jobs to its end, and remove it. Raises what the protocol says."""
        return self._errands.run(name, spec, seconds=seconds)

    def end_errand(self, name: str, owner: str) -> None:
        """End and remove such a container, if it is there. Raises ExecutorUnavailableError."""
        self._errands.end(name, owner)

    def events(self, owner: str) -> EventStream:
        """Hints about this owner's containers. Raises ExecutorUnavailableError."""
        label = f"{OWNER_LABEL}={owner}"
        return DockerEvents(self._engine, self._watch, label, timeout=self._timeout, on_end=self._note_end)

    def images(self) -> builtins.list[ImageInfo]:
        """The images of the registry that are here, sorted by name. Raises ExecutorUnavailableError."""
        return list_images(self._engine, self._registry)

    def pull(self, image: str) -> Iterator[str]:
        """Fetch an image, by full name or without the registry; yields lines of progress.

        Raises ExecutorError if the registry refuses it, ExecutorUnavailableError.
        """
        return pull_image(self._engine, full_image_name(image, self._registry))

    def _ping(self) -> None:
        with self._engine.calling("answer") as client:
            client.ping()
