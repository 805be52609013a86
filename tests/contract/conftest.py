"""The bench that every test of the contract runs on: once per executor."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from contract.bench import REGISTRY, Bench

from support.engine_at_port import EngineAtPort


@pytest.fixture
def volumes_dir(tmp_path: Path) -> Path:
    """The directory of the jobs' directories."""
    directory = tmp_path / "volumes"
    directory.mkdir()
    return directory


@pytest.fixture
def process_bench(volumes_dir: Path) -> Iterator[Bench]:
    """The bench of the process executor; whatever the test left behind is removed."""
    bench = Bench(
        kind="process",
        options={"volumes_dir": str(volumes_dir)},
        volumes_dir=volumes_dir,
        missing_image=f"{REGISTRY}/stata-mp:v1",
    )
    yield bench
    bench.clear()


@pytest.fixture
def docker_bench(docker_engine: str, volumes_dir: Path) -> Iterator[Bench]:
    """The bench of an engine, which keeps jobs from this machine."""
    bench = Bench(
        kind="docker",
        options={"host": str(docker_engine), "registry": REGISTRY},
        volumes_dir=volumes_dir,
        missing_image=f"{REGISTRY}/no-such-image:v1",
    )
    yield bench
    bench.clear()


@pytest.fixture(scope="session")
def engine_at_port(docker_engine: str) -> Iterator[EngineAtPort]:
    """The engine, at a port."""
    port = EngineAtPort(str(docker_engine))
    yield port
    port.close()


@pytest.fixture
def elsewhere_bench(engine_at_port: EngineAtPort, volumes_dir: Path) -> Iterator[Bench]:
    """The bench of an engine at a port; the files that it keeps can be looked at, because it is on this machine."""
    if os.geteuid() != 0:
        pytest.skip("only root can look into an engine's volumes")
    bench = Bench(
        kind="elsewhere",
        options={"host": engine_at_port.url, "registry": REGISTRY},
        volumes_dir=volumes_dir,
        missing_image=f"{REGISTRY}/no-such-image:v1",
    )
    yield bench
    bench.clear()


@pytest.fixture(params=["process", *(pytest.param(kind, marks=pytest.mark.engine) for kind in ("docker", "elsewhere"))])
def bench(request: pytest.FixtureRequest) -> Bench:
    """The bench of each kind of executor in turn."""
    bench = request.getfixturevalue(f"{request.param}_bench")
    assert isinstance(bench, Bench)
    return bench
