"""A bench for one executor: makes containers' specifications with real directories, and waits for what becomes of them."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from jobrunner_cli.engine.executors.protocol import Executor
from jobrunner_cli.engine.work import ContainerDetail, ContainerSpec, ContainerState

REGISTRY = "ghcr.io/opensafely-core"
IMAGE = f"{REGISTRY}/busybox:v1"

#: Seconds after which something that should happen at once is said not to happen; never waited for in full.
PATIENCE = 60.0

#: Whom a container's process belongs to when the tests run as root; otherwise to whoever runs them.
UNPRIVILEGED = (12345, 12346)


def build(kind: str, options: Mapping[str, Any]) -> Executor:
    """A fresh executor, as a runner makes it when it starts. Both arguments survive pickling."""
    if kind == "elsewhere":
        from contract.elsewhere import WatchedElsewhere

        return WatchedElsewhere(**options)
    if kind == "process":
        from jobrunner_cli.engine.executors.process import ProcessExecutor

        return ProcessExecutor(volumes_dir=Path(options["volumes_dir"]))
    from jobrunner_cli.engine.executors.docker import DockerExecutor

    return DockerExecutor(**options)


@dataclass(kw_only=True)
class Bench:
    """One kind of executor with a directory for its jobs."""

    #: `process`, `docker`, or `elsewhere` for an engine that sees none of this machine's directories
    kind: str
    options: Mapping[str, Any]
    volumes_dir: Path
    #: an image that is certainly not here
    missing_image: str
    owner: str = field(default_factory=lambda: secrets.token_hex(8))
    _made: list[str] = field(default_factory=list)
    _numbers: count[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.executor = self.fresh()

    def fresh(self) -> Executor:
        """Another executor of this kind, which knows nothing that is not outside this process."""
        return build(self.kind, self.options)

    def spec(self, *args: str, **changes: Any) -> ContainerSpec:
        """What it takes to run these words in a new job; the job's directories are made here."""
        job_id = f"{next(self._numbers):04d}{secrets.token_hex(6)}"
        base = self.volumes_dir / f"os-job-{job_id}"
        user = UNPRIVILEGED if os.getuid() == 0 else (os.getuid(), os.getgid())
        for name in ("work", "tmp", "control"):
            (base / name).mkdir(parents=True)
        for name in ("work", "tmp"):
            os.chown(base / name, *user)
        (base / "hosts").write_text("127.0.0.1 localhost\n")
        self._made.append(job_id)
        spec = ContainerSpec(
            job_id=job_id,
            workspace="test",
            action="an_action",
            image=IMAGE,
            args=args,
            env={"HOME": "/tmp"},
            work_dir=str(base / "work"),
            tmp_dir=str(base / "tmp"),
            hosts_file=str(base / "hosts"),
            control_dir=str(base / "control"),
            user=user,
            cpu_count=1.0,
            memory_limit=256 * 1024 * 1024,
            process_limit=512,
            network=None,
            owner=self.owner,
        )
        return replace(spec, **changes)

    def shell(self, script: str, **changes: Any) -> ContainerSpec:
        """The same for a shell script."""
        return self.spec("sh", "-c", script, **changes)

    def launch(self, spec: ContainerSpec) -> str:
        """Create and start it; the job's id."""
        self.executor.create(spec)
        self.executor.start(spec.job_id)
        return spec.job_id

    def run(self, spec: ContainerSpec) -> ContainerDetail:
        """Create, start, and wait for the end."""
        return self.exited(self.launch(spec))

    def exited(self, job_id: str, executor: Executor | None = None) -> ContainerDetail:
        """Wait until the job is listed as exited, by the executor's own events; how it ended."""
        executor = executor or self.executor
        deadline = time.monotonic() + PATIENCE
        with closing(executor.events(self.owner)) as stream:
            while executor.list(self.owner).get(job_id) is not ContainerState.EXITED:
                left = deadline - time.monotonic()
                assert left > 0, f"not exited within {PATIENCE} s: {executor.list(self.owner)}"
                stream.wait(left)
        detail = executor.inspect(job_id)
        assert detail is not None
        return detail

    def printed(self, job_id: str, word: bytes) -> None:
        """Wait until the job has printed a line with this word in it."""
        assert any(word in line for line in self.executor.logs(job_id, follow=True)), f"never printed {word!r}"

    def gate(self, spec: ContainerSpec) -> Path:
        """A FIFO `gate` in the working copy: a job that reads it waits until `open_gate`."""
        gate = Path(spec.work_dir) / "gate"
        os.mkfifo(gate)
        gate.chmod(0o666)
        return gate

    def state(self, job_id: str) -> ContainerState | None:
        """What the executor lists for the job; None if it is not listed."""
        return self.executor.list(self.owner).get(job_id)

    def clear(self) -> None:
        """Remove every container that was made here."""
        for job_id in self._made:
            self.executor.remove(job_id)
        if self.executor.transfer is not None:
            assert not self.executor.transfer.left(self.owner)


def open_gate(gate: Path) -> None:
    """Let the job at the gate go on."""
    with gate.open("w") as stream:
        stream.write("go\n")
