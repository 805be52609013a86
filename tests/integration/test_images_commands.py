"""`jobrunner images`: which images are here, and fetching one from a registry."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any
from uuid import uuid4

import pytest

from support.engine import Engine
from support.registry import Registry, serving
from support.runners import engine_client
from support.terminal import jobrunner, on_terminal, without_colours

pytestmark = pytest.mark.engine


@pytest.fixture
def client(docker_engine: Engine) -> Iterator[Any]:
    with closing(engine_client()) as client:
        yield client


@pytest.fixture
def registry(client: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """A registry of this machine with one image, which the engine does not have under that name."""
    with serving() as registry:
        namespace = f"test-{uuid4().hex[:8]}"
        name = registry.publish(client, Engine.busybox, f"{namespace}/tiny", "v1")
        monkeypatch.setenv("DOCKER_REGISTRY", f"{registry.address}/{namespace}")
        yield registry
        from docker.errors import NotFound

        with suppress(NotFound):
            client.remove_image(name)


def test_images_of_the_registry_are_listed(docker_engine: Engine):
    title, *lines = jobrunner("images", "ls").stdout.splitlines()
    assert title.split() == ["IMAGE", "ID", "SIZE", "MADE"]
    names = [line.split()[0] for line in lines]
    assert {docker_engine.busybox, docker_engine.python} <= set(names)
    assert names == sorted(names)
    found = json.loads(jobrunner("images", "ls", "--json").stdout)
    assert [image["name"] for image in found] == names
    assert {frozenset(image) for image in found} == {frozenset({"name", "id", "size", "created"})}


def test_listing_fits_a_narrow_terminal(docker_engine: Engine):
    lines = without_colours(on_terminal("images", "ls", columns=60)).splitlines()
    assert max(map(len, lines)) <= 60
    assert any(line.startswith(docker_engine.busybox) for line in lines)


def test_registry_without_images_here_says_how_to_get_some(registry: Registry):
    done = jobrunner("images", "ls")
    assert done.stdout == ""
    assert done.stderr.startswith(f"No image of {registry.address}/test-")
    assert done.stderr.endswith("is here; jobrunner images pull fetches one.\n")
    assert jobrunner("images", "ls", "--json").stdout == "[]\n"


@pytest.mark.parametrize("form", ["short", "full"])
def test_image_is_fetched_from_its_registry(registry: Registry, client: Any, form: str):
    full = next(
        f"{registry.address}/{path.partition('/manifests/')[0]}:v1" for path in registry.contents if "/v1" in path
    )
    done = jobrunner("images", "pull", full.rpartition("/")[2] if form == "short" else full)
    assert done.stdout == f"{full} is here.\n"
    assert "Downloaded newer image" in done.stderr
    assert len(set(done.stderr.splitlines())) == len(done.stderr.splitlines())
    assert client.inspect_image(full)["Id"] == client.inspect_image(Engine.busybox)["Id"]
    assert [image["name"] for image in json.loads(jobrunner("images", "ls", "--json").stdout)] == [full]
    assert "up to date" in jobrunner("images", "pull", full).stderr


def test_missing_image_is_one_line_and_the_rest_is_not_tried(registry: Registry):
    done = jobrunner("images", "pull", "nothing:v1", "tiny:v1", code=1)
    assert done.stdout == ""
    said, hint = done.stderr.splitlines()
    assert said.startswith(f"jobrunner: {registry.address}/test-")
    assert said.endswith("/nothing:v1 could not be fetched: manifest unknown")
    assert "docker login" in hint


@pytest.mark.parametrize("name", ["UPPER:v1", "", "a b", "tiny:v1:v2"])
def test_what_cannot_be_the_name_of_an_image_is_refused(registry: Registry, name: str):
    done = jobrunner("images", "pull", name, code=1)
    assert "could not be fetched" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_an_engine_there_is_nothing_to_fetch_into():
    done = jobrunner("images", "pull", "python:v2", code=1, EXECUTOR="process")
    assert done.stderr.splitlines()[1] == "  hint: images need an engine: EXECUTOR=docker"
