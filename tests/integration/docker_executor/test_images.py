"""The images of a Docker engine, and its address."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest
from contract.bench import IMAGE, REGISTRY, Bench

from jobrunner_cli.engine.errors import ConfigurationError, ExecutorError, RegistryUnreachableError
from jobrunner_cli.engine.executors.docker import DockerExecutor
from support.engine import Engine
from support.registry import Registry, serving

pytestmark = pytest.mark.engine


@pytest.fixture
def registry(engine: docker.APIClient, tmp_path: Path) -> Iterator[Registry]:
    """A registry on this machine, which engines reach without TLS."""
    with serving(tmp_path / "registry", engine) as registry:
        yield registry


def test_image_is_fetched_with_progress_and_listed(
    docker_engine: Engine, engine: docker.APIClient, registry: Registry, derived: Callable[[str, str], str]
) -> None:
    source = derived("published", "LABEL somebody=else")
    content = engine.inspect_image(source)["Id"]
    name = registry.publish(source, "study", "v1")
    engine.remove_image(source, force=True)
    executor = DockerExecutor(host=docker_engine.url, registry=registry.address)
    assert executor.images() == []
    lines = list(executor.pull("study:v1"))
    (image,) = executor.images()
    assert (image.name, image.id) == (name, content)
    assert image.size > 0
    assert f"Status: Downloaded newer image for {name}" in lines
    assert all(line and "\n" not in line for line in lines)


@pytest.mark.parametrize("name", ["study:v2", "other:v1", "127.0.0.1:1/nobody/there:v1"])
def test_image_that_cannot_be_fetched_is_named_with_the_reason(
    docker_engine: Engine, registry: Registry, name: str
) -> None:
    with pytest.raises((ExecutorError, RegistryUnreachableError)) as caught:
        list(DockerExecutor(host=docker_engine.url, registry=registry.address).pull(name))
    assert isinstance(caught.value, RegistryUnreachableError) == ("nobody" in name)
    assert name in caught.value.message
    assert caught.value.hint


def test_images_of_others_are_not_listed(bench: Bench, engine: docker.APIClient) -> None:
    engine.tag(IMAGE, "example.org/elsewhere/busybox", "v1")
    try:
        names = [image.name for image in bench.executor.images()]
    finally:
        engine.remove_image("example.org/elsewhere/busybox:v1")
    assert IMAGE in names
    assert not [name for name in names if not name.startswith(f"{REGISTRY}/")]


@pytest.mark.parametrize("host", ["ftp://host:1", "nonsense", "unix://", "tcp://", "tcp://u:p4ss@host:1", "tcp://h:x"])
def test_impossible_address_is_an_error_at_once(host: str) -> None:
    with pytest.raises(ConfigurationError, match="DOCKER_HOST") as caught:
        DockerExecutor(host=host, registry=REGISTRY)
    assert "p4ss" not in caught.value.message


def test_ssh_address_gets_its_port() -> None:
    assert "ssh://user@host:22" in repr(DockerExecutor(host="ssh://user@host", registry=REGISTRY))


def test_environment_names_the_engine(docker_engine: Engine) -> None:
    executor = DockerExecutor.from_environment({"DOCKER_HOST": docker_engine.url}, registry=REGISTRY)
    assert docker_engine.url in executor.check()
