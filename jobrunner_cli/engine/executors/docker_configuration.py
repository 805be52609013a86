"""What a Docker engine is asked to create for a job, in the words of its API, and how that is recognised again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobrunner_cli.engine.executors.docker_volumes import TARGETS, volume_mounts
from jobrunner_cli.engine.work import ContainerSpec

OWNER_LABEL = "jobrunner-owner"
CONFIGURATION_LABEL = "jobrunner-config"
#: An image with this label set to `true` writes outside `/workspace` and `/tmp`, and gets a writable root.
WRITABLE_ROOT_LABEL = "jobrunner-writable-root"

_MIB = 1024 * 1024
#: The kernel takes a job before it takes the engine or the runner.
_OOM_SCORE = 500
_LEAST_CPUS = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """What of an image matters for a container of it."""

    #: content id
    id: str
    #: the image sets a working directory of its own
    sets_working_dir: bool
    writable_root: bool

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> ImageFacts:
        """From the engine's description; an imported image may have no configuration at all."""
        configuration = described.get("Config") or {}
        labels = configuration.get("Labels") or {}
        return cls(
            id=described["Id"],
            sets_working_dir=bool(configuration.get("WorkingDir")),
            writable_root=labels.get(WRITABLE_ROOT_LABEL) == "true",
        )


def container_configuration(
    spec: ContainerSpec, image: ImageFacts, *, cpus: float, read_only: bool, shares_files: bool, has_sandbox: bool
) -> dict[str, Any]:
    """The body of the engine's "create a container" for a job (`POST /containers/create`).

    `cpus` is what the engine's machine has; unless it shares its files with this one, the job gets named volumes.
    Unless it `has_sandbox`, a job without a network is spared the engine's own set-up of none. The label with the hash
    of everything else makes a later call recognise a container that is still as it should be.
    """
    owned = {"job-runner": "", "workspace": spec.workspace, "action": spec.action, OWNER_LABEL: spec.owner}
    # As mounts, not as binds: the engine then refuses an absent directory, and does not make one that root owns.
    mounts = _directories(spec) if shares_files else volume_mounts(spec.job_id, owned)
    is_bare = spec.network is None and not has_sandbox
    if is_bare:
        mounts.append({"Type": "bind", "Source": spec.hosts_file, "Target": "/etc/hosts", "ReadOnly": True})
    configuration: dict[str, Any] = {
        "Image": spec.image,
        "Cmd": list(spec.args) or None,
        "Env": [f"{name}={value}" for name, value in sorted({**spec.env, "HOME": "/tmp"}.items())],  # noqa: S108
        "User": f"{spec.user[0]}:{spec.user[1]}",
        "Tty": False,
        "OpenStdin": False,
        "AttachStdin": False,
        "StopSignal": "SIGTERM",
        "Healthcheck": {"Test": ["NONE"]},
        # Beside the mode `none`: a network namespace of its own with nothing but its loopback, which the runtime makes. For
        # the mode alone the engine makes a sandbox and an endpoint, too, half of all that a start costs.
        "NetworkDisabled": is_bare,
        "HostConfig": {
            "Mounts": mounts,
            **_surroundings(spec, cpus=cpus, read_only=read_only and not image.writable_root),
        },
    }
    if not image.sets_working_dir:
        configuration["WorkingDir"] = "/workspace"
    digest = hashlib.sha256(json.dumps([image.id, configuration], sort_keys=True).encode()).hexdigest()
    configuration["Labels"] = {**owned, CONFIGURATION_LABEL: digest}
    return configuration


def _surroundings(spec: ContainerSpec, *, cpus: float, read_only: bool) -> dict[str, Any]:
    """Limits and rights: the engine's `HostConfig` but for the mounts."""
    surroundings: dict[str, Any] = {
        "Tmpfs": {"/run": _scratch(16), "/var/tmp": _scratch(64)} if read_only else {},  # noqa: S108
        "ReadonlyRootfs": read_only,
        "Init": True,
        "NanoCpus": int(max(min(spec.cpu_count, cpus), _LEAST_CPUS) * 1e9),
        "Memory": int(spec.memory_limit),
        "MemorySwap": int(spec.memory_limit),
        "PidsLimit": spec.process_limit,
        "ShmSize": 64 * _MIB,
        "OomScoreAdj": _OOM_SCORE,
        "Ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}],
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "Privileged": False,
        "IpcMode": "private",
        "NetworkMode": spec.network or "none",
        "RestartPolicy": {"Name": "no"},
        "AutoRemove": False,
        # At most 512 MiB, so that a job that prints gigabytes fills no disk. An engine takes some seconds to write so
        # much, and within the first the beginning is begun to be kept elsewhere.
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "64m", "max-file": "8"}},
    }
    if spec.network:
        surroundings["Dns"] = list(spec.dns)
        surroundings["ExtraHosts"] = [f"{name}:{address}" for name, address in sorted(spec.extra_hosts.items())]
    return surroundings


def _directories(spec: ContainerSpec) -> list[dict[str, Any]]:
    sources = {"work": spec.work_dir, "tmp": spec.tmp_dir}
    return [
        {"Type": "bind", "Source": sources[name], "Target": target, "ReadOnly": False}
        for name, target in TARGETS.items()
    ]


def _scratch(mebibytes: int) -> str:
    return f"rw,nosuid,nodev,size={mebibytes}m,mode=1777"
