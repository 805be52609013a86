"""How much CPU and memory containers use, from single samples of a Docker engine."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobrunner_cli.engine.executors.docker_connection import EngineConnection, is_absent, is_conflict
from jobrunner_cli.engine.executors.docker_metadata import container_name, unix_seconds
from jobrunner_cli.engine.executors.protocol import Use

if TYPE_CHECKING:
    from docker.api.client import APIClient

_MIB = 1024 * 1024
#: Seconds between the two samples of a container that was not seen before.
_APART = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a container had used at one moment."""

    container_id: str
    #: UNIX seconds by the engine's clock
    at: float
    #: seconds of CPU since its start
    cpu_seconds: float
    memory_mib: float

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Sample | None:
        """From the engine's answer; None for a container that does not run."""
        at = unix_seconds(told.get("read"))
        used = (told.get("memory_stats") or {}).get("usage")
        if at is None or used is None:
            return None
        return cls(
            # Podman writes it with a capital.
            container_id=told.get("id") or told.get("Id", ""),
            at=at,
            cpu_seconds=told["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9,
            memory_mib=max(0, used - _reclaimable(told["memory_stats"].get("stats") or {})) / _MIB,
        )


def _reclaimable(counters: Mapping[str, int]) -> int:
    """Bytes of file cache that the kernel can take back; the name differs between cgroup 1 and 2."""
    return counters.get("total_inactive_file", counters.get("inactive_file", 0))


class UsageMeter:
    """Turns samples into CPU in percent of one core, by what was used since the last sample of the same container."""

    def __init__(self, engine: EngineConnection) -> None:
        self._engine = engine
        self._last: dict[str, Sample] = {}
        self._lock = threading.Lock()

    def measure(self, job_ids: Iterable[str]) -> dict[str, Use]:
        """Job id -> what it uses, of those that run. Raises ExecutorUnavailableError."""
        with self._engine.calling("read how much containers use") as client:
            samples = self._samples(client, job_ids)
            with self._lock:
                earlier = {job: self._last[job] for job in samples if _same(self._last.get(job), samples[job])}
            fresh = [job for job in samples if job not in earlier]
            if fresh:
                earlier.update({job: samples[job] for job in fresh})
                # The engine counts on its own; there is nothing to wait for but time.
                threading.Event().wait(_APART)
                samples.update(self._samples(client, fresh))
        with self._lock:
            self._last = samples
        return {
            job: Use(_percent(earlier[job], sample), sample.memory_mib, sample.container_id)
            for job, sample in samples.items()
        }

    @staticmethod
    def _samples(client: APIClient, job_ids: Iterable[str]) -> dict[str, Sample]:
        from docker.errors import APIError
        from requests.exceptions import JSONDecodeError

        samples: dict[str, Sample] = {}
        for job_id in job_ids:
            try:
                told = client.stats(container_name(job_id), stream=False, one_shot=True)
            except APIError as error:
                if not is_absent(error) and not is_conflict(error):
                    raise
                continue
            except JSONDecodeError as error:
                # For one that does not run, Podman's answer is empty.
                if error.doc.strip():
                    raise
                continue
            if (sample := Sample.of(told)) is not None:
                samples[job_id] = sample
        return samples


def _same(before: Sample | None, now: Sample) -> bool:
    return before is not None and before.container_id == now.container_id and before.at < now.at


def _percent(before: Sample, now: Sample) -> float:
    elapsed = now.at - before.at
    return max(0.0, (now.cpu_seconds - before.cpu_seconds) / elapsed * 100) if elapsed > 0 else 0.0
