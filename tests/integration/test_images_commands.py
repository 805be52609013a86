"""`jobrunner images`: which images are here, and fetching one from a registry."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from support.engine import Engine
from support.places import MakeWorkDirectory
from support.registry import PASSWORD, USER, Registry, serving
from support.runners import engine_client, until
from support.studies import action, make_study
from support.terminal import jobrunner, on_terminal, without_colours

pytestmark = pytest.mark.engine

NAMESPACE = "platform/core"


@pytest.fixture
def client(docker_engine: Engine) -> Iterator[Any]:
    with closing(engine_client()) as client:
        yield client


@pytest.fixture
def registry(client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """A registry of this machine with one image, which the engine does not have under that name."""
    with serving(tmp_path / "registry", client) as registry:
        registry.publish(Engine.busybox, f"{NAMESPACE}/tiny", "v1")
        monkeypatch.setenv("DOCKER_REGISTRY", f"{registry.address}/{NAMESPACE}")
        yield registry


@pytest.fixture
def names(client: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The images of a registry of the test's own, sorted: other tests make images of the usual one meanwhile."""
    registry = f"registry.example/{uuid4().hex[:8]}"
    images = {f"{registry}/busybox:v1": Engine.busybox, f"{registry}/python:v2": Engine.python}
    for name, image in images.items():
        client.tag(image, *name.rsplit(":", 1))
    monkeypatch.setenv("DOCKER_REGISTRY", registry)
    yield sorted(images)
    for name in images:
        client.remove_image(name)


def test_images_of_the_registry_are_listed(names: list[str]):
    title, *lines = jobrunner("images", "ls").stdout.splitlines()
    assert title.split() == ["IMAGE", "ID", "SIZE", "MADE"]
    assert [line.split()[0] for line in lines] == names
    found = json.loads(jobrunner("images", "ls", "--json").stdout)
    assert [image["name"] for image in found] == names
    assert {frozenset(image) for image in found} == {frozenset({"name", "id", "size", "created"})}


def test_listing_fits_a_narrow_terminal(names: list[str]):
    lines = without_colours(on_terminal("images", "ls", columns=60)).splitlines()
    assert max(map(len, lines)) <= 60
    assert any(line.startswith(names[0]) for line in lines)


def test_registry_without_images_here_says_how_to_get_some(registry: Registry):
    done = jobrunner("images", "ls")
    assert done.stdout == ""
    assert done.stderr.startswith(f"No image of {registry.address}/{NAMESPACE} is here; jobrunner images pull")
    assert jobrunner("images", "ls", "--json").stdout == "[]\n"


@pytest.mark.parametrize("form", ["short", "full"])
def test_image_is_fetched_from_its_registry(registry: Registry, client: Any, form: str):
    full = f"{registry.address}/{NAMESPACE}/tiny:v1"
    done = jobrunner("images", "pull", full.rpartition("/")[2] if form == "short" else full)
    assert done.stdout == f"{full} is here.\n"
    assert "Downloaded newer image" in done.stderr
    assert len(set(done.stderr.splitlines())) == len(done.stderr.splitlines())
    assert client.inspect_image(full)["Id"] == client.inspect_image(Engine.busybox)["Id"]
    assert [image["name"] for image in json.loads(jobrunner("images", "ls", "--json").stdout)] == [full]
    assert "up to date" in jobrunner("images", "pull", full).stderr


@pytest.fixture
def offered(registry: Registry) -> str:
    """The registry with two versions of python, which jobs may use and the engine does not have."""
    for tag in ("v2", "v3"):
        # Whatever has a shell does for these jobs.
        registry.publish(Engine.busybox, f"{NAMESPACE}/python", tag)
    return f"{registry.address}/{NAMESPACE}"


def test_what_unfinished_jobs_need_is_fetched_once_and_what_ran_is_recorded(
    offered: str, registry: Registry, client: Any, make_workdir: MakeWorkDirectory, tmp_path: Path
):
    workdir = make_workdir("docker", {"DOCKER_REGISTRY": offered})
    study = make_study(tmp_path / "study", {"a": action(workdir.command("echo a > a.txt"), "a.txt")})
    assert workdir.cli("images", "pull").stderr.startswith("Nothing to fetch")
    (first,) = workdir.add(study, "a").values()
    assert workdir.cli("images", "pull").stdout == f"{offered}/python:v2 is here.\n"
    assert workdir.cli("images", "pull").stderr.startswith("Nothing to fetch")
    workdir.run()
    ran = client.inspect_image(Engine.busybox)["Id"]
    assert workdir.show(first)["image_id"] == ran

    # The name comes to mean another image; a job that waits, for which all was made already, runs in that.
    assert workdir.cli("jobs", "pause").returncode == 0
    (second,) = workdir.add(study, "a", "--force-run-dependencies").values()
    container = client.create_container(Engine.busybox, ["true"])["Id"]
    changed = client.commit(container, f"{offered}/changed", "v1", changes="LABEL changed=yes")["Id"]
    client.remove_container(container)
    try:
        registry.publish(f"{offered}/changed:v1", f"{NAMESPACE}/python", "v2")
        assert "Downloaded newer image" in workdir.cli("images", "pull", "python:v2").stderr
        workdir.cli("jobs", "resume")
        workdir.run()
        assert workdir.show(second)["image_id"] == client.inspect_image(f"{offered}/python:v2")["Id"] != ran
    finally:
        client.remove_image(changed, force=True)


def test_all_that_studies_may_use_is_fetched_and_what_the_registry_lacks_is_told(offered: str, registry: Registry):
    jobrunner("images", "pull", "python:v3")
    done = jobrunner("images", "pull", "--allowed", code=1)
    assert done.stdout == f"{offered}/python:v3 is here.\n"
    assert f"{offered}/ehrql:latest could not be fetched" in done.stderr
    assert f"{offered}/sqlrunner:latest could not be fetched" in done.stderr
    assert "/python:latest" not in done.stderr


def test_on_a_terminal_one_line_says_how_far_it_is(offered: str):
    said = on_terminal("images", "pull", "python:v3", columns=60)
    assert f"{offered}/python:v3 is here." in said
    assert "Downloaded newer image" not in without_colours(said).splitlines()


@pytest.fixture
def large(registry: Registry, client: Any) -> str:
    """The full name of an image with a layer of 8 MiB that the engine does not have."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("noise")
        member.size = 8 << 20
        archive.addfile(member, io.BytesIO(os.urandom(member.size)))
    container = client.create_container(Engine.busybox, ["true"])["Id"]
    client.put_archive(container, "/", packed.getvalue())
    made = client.commit(container, f"{registry.address}/{NAMESPACE}/draft", "v1")["Id"]
    client.remove_container(container)
    full = registry.publish(f"{registry.address}/{NAMESPACE}/draft:v1", f"{NAMESPACE}/large", "v1")
    client.remove_image(made, force=True)
    return full


def test_layers_that_are_not_here_yet_are_told_step_by_step(large: str, client: Any):
    done = jobrunner("images", "pull", large)
    steps = [line.partition(": ")[2] for line in done.stderr.splitlines()]
    assert {"Already exists", "Pulling fs layer", "Downloading", "Extracting", "Pull complete"} <= set(steps)
    # Not a line for each bit of it.
    assert len(steps) < 20
    assert len(client.inspect_image(large)["RootFS"]["Layers"]) == 2


def test_line_on_a_terminal_stays_one_line_however_narrow_that_is(large: str):
    said = on_terminal("images", "pull", large, columns=50)
    *painted, last = said.split("\r\x1b[2K")
    assert painted
    assert [frame for frame in painted if "\n" in frame.rstrip("\n")] == []
    assert f"{large} is here." in last


def test_registry_that_answers_no_more_can_be_left_with_ctrl_c(registry: Registry, client: Any):
    name = f"{registry.address}/{NAMESPACE}/tiny:v1"
    registry.hang()
    try:
        command = [sys.executable, "-m", "jobrunner_cli", "images", "pull", name]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        until(registry.is_asked, "a connection to the registry")
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)
    finally:
        registry.wake()
    assert (process.returncode, said) == (130, "")
    assert jobrunner("images", "pull", name).stdout == f"{name} is here.\n"


def test_registry_with_a_login_is_used_as_docker_login_left_it(client: Any, tmp_path: Path):
    with serving(tmp_path / "closed", client, login=True) as registry:
        name = registry.publish(Engine.busybox, f"{NAMESPACE}/tiny", "v1")
        said, hint = jobrunner("images", "pull", name, code=1).stderr.splitlines()
        assert said.startswith(f"jobrunner: {name} could not be fetched: ")
        assert "docker login" in hint
        known = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        config = Path.home() / ".docker/config.json"
        config.parent.mkdir()
        config.write_text(json.dumps({"auths": {registry.address: {"auth": known}}}))
        done = jobrunner("images", "pull", name)
        assert done.stdout == f"{name} is here.\n"
        assert PASSWORD not in done.stderr


def test_names_and_all_allowed_ones_contradict_each_other():
    assert "leave the names out" in jobrunner("images", "pull", "python:v2", "--allowed", code=2).stderr


def test_missing_image_is_one_line_and_the_rest_is_not_tried(registry: Registry):
    done = jobrunner("images", "pull", "nothing:v1", "tiny:v1", code=1)
    assert done.stdout == ""
    said, hint = done.stderr.splitlines()
    assert said.startswith(f"jobrunner: {registry.address}/{NAMESPACE}/nothing:v1 could not be fetched: manifest ")
    assert said.endswith("unknown")
    assert "docker login" in hint


def test_registry_that_nobody_answers_at_is_told_once(registry: Registry):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        done = jobrunner("images", "pull", "--allowed", code=5, DOCKER_REGISTRY=address)
    said, hint = done.stderr.splitlines()
    assert said.startswith(f"jobrunner: {address}/")
    assert "could not be fetched" in said
    assert f"reach {address}?" in hint


@pytest.mark.parametrize("name", ["UPPER:v1", "", "a b", "tiny:v1:v2"])
def test_what_cannot_be_the_name_of_an_image_is_refused(registry: Registry, name: str):
    done = jobrunner("images", "pull", name, code=1)
    assert "could not be fetched" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_an_engine_there_is_nothing_to_fetch_into():
    done = jobrunner("images", "pull", "python:v2", code=1, EXECUTOR="process")
    assert done.stderr.splitlines()[1] == "  hint: images need an engine: EXECUTOR=docker"
