"""Which images this machine should have: those of the jobs that are to run, and those that any job may name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from jobrunner_cli.engine.errors import JobRequestError
from jobrunner_cli.engine.running.definitions import image_and_args
from jobrunner_cli.engine.study.reusable_actions import ALLOWED_IMAGES

if TYPE_CHECKING:
    from jobrunner_cli.engine.executors.protocol import ImageInfo
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.models import Job

#: The image of the check for database maintenance, without its registry (section 9).
MAINTENANCE_IMAGE = "cohortextractor:latest"


def missing_images(jobs: Iterable[Job], settings: Settings, here: Sequence[ImageInfo]) -> list[str]:
    """Full names, sorted, of the images that these jobs or the service need and that are not among those `here`."""
    needed = {f"{settings.docker_registry}/{MAINTENANCE_IMAGE}"} if settings.enable_maintenance_mode_thread else set()
    for job in jobs:
        try:
            needed.add(_tagged(image_and_args(job.run_command or "", settings.docker_registry)[0]))
        except JobRequestError:
            # Such a job fails when its turn comes, and says why.
            continue
    return sorted(needed - {image.name for image in here})


def allowed_images(settings: Settings, here: Sequence[ImageInfo]) -> list[str]:
    """Full names, sorted, of the images that studies may name: the versions that are `here`; of others, `latest`."""
    registry = f"{settings.docker_registry}/"
    known = {image.name for image in here if _bare(image.name, registry) in ALLOWED_IMAGES}
    names = {_bare(name, registry) for name in known}
    return sorted(known | {f"{registry}{name}:latest" for name in ALLOWED_IMAGES - names})


def _bare(name: str, registry: str) -> str:
    return name.removeprefix(registry).partition(":")[0]


def _tagged(name: str) -> str:
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"
