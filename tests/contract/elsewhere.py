"""An executor for an engine elsewhere whose volumes a test looks into where it would look into a job's directories."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from pathlib import Path

import docker

from jobrunner_cli.engine.executors.docker import DockerExecutor
from jobrunner_cli.engine.work import ContainerSpec


class WatchedElsewhere(DockerExecutor):
    """After `create`, the directories of the specification are the volumes, with what a test had put there."""

    def create(self, spec: ContainerSpec) -> None:
        super().create(spec)
        with closing(docker.APIClient(base_url=self._engine.address)) as client:
            for ending, directory in (("work", spec.work_dir), ("tmp", spec.tmp_dir)):
                volume = client.inspect_volume(f"os-job-{spec.job_id}-{ending}")
                _show(Path(volume["Mountpoint"]), Path(directory))


def _show(volume: Path, directory: Path) -> None:
    if directory.is_symlink():
        return
    for path in directory.iterdir():
        if path.is_fifo():
            os.mkfifo(volume / path.name)
            (volume / path.name).chmod(0o666)
        else:
            shutil.move(path, volume / path.name)
    shutil.rmtree(directory)
    directory.symlink_to(volume)
