"""A bench on the shared Docker engine, the engine as an operator reaches it, and changed images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from uuid import uuid4

import docker
import pytest
from contract.bench import IMAGE, REGISTRY, Bench
from docker.errors import ImageNotFound

from support.engine import Engine


@pytest.fixture
def bench(docker_engine: Engine, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(
        kind="docker",
        options={"host": docker_engine.url, "registry": REGISTRY},
        volumes_dir=tmp_path,
        missing_image=f"{REGISTRY}/no-such-image:v1",
    )
    yield bench
    bench.clear()


@pytest.fixture
def engine(docker_engine: Engine) -> Iterator[docker.APIClient]:
    """The engine itself, as an operator reaches it."""
    with closing(docker.APIClient(base_url=docker_engine.url)) as client:
        yield client


@pytest.fixture
def derived(engine: docker.APIClient) -> Iterator[Callable[[str, str], str]]:
    """Makes an image of busybox with a change, in a Dockerfile's words; gone after the test."""
    # Not one of the usual registry: other tests look at what there is of that.
    name = f"registry.example/{uuid4().hex}"
    made = []

    def derive(tag: str, change: str) -> str:
        container = engine.create_container(IMAGE, ["true"])["Id"]
        made.append(engine.commit(container, name, tag, changes=change)["Id"])
        engine.remove_container(container)
        return f"{name}:{tag}"

    yield derive
    for image in made:
        with suppress(ImageNotFound):
            engine.remove_image(image, force=True)
