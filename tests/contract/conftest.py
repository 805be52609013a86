"""The bench that every test of the contract runs on: once per executor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from contract.bench import REGISTRY, Bench


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.engine)])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """A bench with an executor of each kind in turn; whatever the test left behind is removed."""
    volumes_dir = tmp_path / "volumes"
    volumes_dir.mkdir()
    if request.param == "process":
        bench = Bench(
            kind="process",
            options={"volumes_dir": str(volumes_dir)},
            volumes_dir=volumes_dir,
            missing_image=f"{REGISTRY}/stata-mp:v1",
        )
    else:
        engine = request.getfixturevalue("docker_engine")
        bench = Bench(
            kind="docker",
            options={"host": engine, "registry": REGISTRY},
            volumes_dir=volumes_dir,
            missing_image=f"{REGISTRY}/no-such-image:v1",
        )
    yield bench
    bench.clear()


@pytest.fixture
def docker_bench(bench: Bench) -> Bench:
    """The bench of an engine that keeps jobs from this machine; skipped for the others."""
    if not bench.executor.isolates:
        pytest.skip("only where jobs are isolated")
    return bench
