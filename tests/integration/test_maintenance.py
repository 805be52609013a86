"""Detection of database maintenance: a real check in a real container, what it writes, and what it leaves."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from jobrunner_cli.engine import settings as settings_module
from jobrunner_cli.engine.errors import ConfigurationError, ExecutorError, ImageMissingError
from jobrunner_cli.engine.executors.docker import DockerExecutor
from jobrunner_cli.engine.executors.process import ProcessExecutor
from jobrunner_cli.engine.service.maintenance import CONTAINER, Maintenance
from jobrunner_cli.engine.store import changes, queries
from jobrunner_cli.engine.store.database import Database
from jobrunner_cli.engine.store.locks import workdir_id
from jobrunner_cli.engine.store.migrating import migrate
from support.engine import Engine
from support.runners import engine_client, until

PASSWORD = "s3cret-password"
UNDER_MAINTENANCE = f"mssql://user:{PASSWORD}@127.0.0.1/maintenance"
IN_SERVICE = f"mssql://user:{PASSWORD}@127.0.0.1/opensafely"


@pytest.fixture
def client(docker_engine: Engine) -> Iterator[Any]:
    with closing(engine_client()) as client:
        yield client


@pytest.fixture
def network(client: Any) -> Iterator[str]:
    name = f"jobrunner-test-{uuid4().hex[:8]}"
    client.create_network(name, driver="bridge", internal=True)
    yield name
    client.remove_network(name)


@pytest.fixture
def flags(tmp_path: Path) -> Iterator[Database]:
    migrate(tmp_path / "db.sqlite")
    with Database(tmp_path / "db.sqlite") as database:
        yield database


def load(base: Path, **values: str) -> settings_module.Settings:
    values = {"WORKDIR": str(base), "ENABLE_MAINTENANCE_MODE_THREAD": "on", **values}
    return settings_module.load(values, cwd=base, config_dir=base)


@pytest.fixture
def detection(docker_engine: Engine, network: str, tmp_path: Path, flags: Database) -> Callable[..., Maintenance]:
    """Makes a detection on the shared engine."""

    def make(url: str = IN_SERVICE, limit: float = 60.0, **values: str) -> Maintenance:
        values = {"DEFAULT_DATABASE_URL": url, "DATABASE_ACCESS_NETWORK": network, **values}
        settings = load(tmp_path, **values)
        executor = DockerExecutor(host=docker_engine.url, registry=settings.docker_registry)
        return Maintenance(settings, executor, limit=limit)

    return make


@pytest.fixture
def stand_in(client: Any) -> Iterator[Callable[[str], str]]:
    """Makes an image that does this when it is asked for maintenance; returns the registry that has it."""
    made = []

    def make(script: str) -> str:
        registry = f"registry.invalid/{uuid4().hex[:8]}"
        container = client.create_container(Engine.busybox, ["true"])["Id"]
        entry = f'ENTRYPOINT ["sh", "-c", {script!r}, "cohortextractor"]'.replace("'", '"')
        made.append(client.commit(container, f"{registry}/cohortextractor", "latest", changes=entry)["Id"])
        client.remove_container(container)
        return registry

    yield make
    for image in made:
        with suppress(Exception):
            client.remove_image(image, force=True)


def mode(database: Database) -> str | None:
    found = queries.flag(database.connection, "mode")
    return None if found is None else found.value


def checks(client: Any, base: Path) -> list[dict[str, Any]]:
    """The containers of checks of this work directory."""
    found: list[dict[str, Any]] = client.containers(all=True, filters={"name": f"{CONTAINER}-{workdir_id(base)}"})
    return found


@pytest.mark.engine
@pytest.mark.parametrize("before", [None, "db-maintenance", "something"])
def test_mode_follows_what_the_check_says(
    detection: Callable[..., Maintenance], flags: Database, client: Any, tmp_path: Path, before: str | None
):
    changes.set_flag(flags.connection, "mode", before, time.time())
    assert detection(UNDER_MAINTENANCE).check() is True
    assert mode(flags) == "db-maintenance"
    assert detection(IN_SERVICE).check() is False
    assert mode(flags) is None
    assert checks(client, tmp_path) == []


@pytest.mark.engine
def test_the_check_is_told_the_mode_and_only_the_last_line_counts(
    detection: Callable[..., Maintenance], flags: Database, stand_in: Callable[[str], str]
):
    registry = stand_in("echo db-maintenance; echo $1 $2 is $3; echo; echo db-maintenance >&2")
    assert detection(DOCKER_REGISTRY=registry).check() is False
    changes.set_flag(flags.connection, "mode", "db-maintenance", time.time())
    assert detection(DOCKER_REGISTRY=registry).check() is True
    registry = stand_in("test $1_$2_$3 = maintenance_--current-mode_db-maintenance")
    assert detection(DOCKER_REGISTRY=registry).check() is False
    registry = stand_in("test $3 = None; echo $? db-maintenance")
    assert detection(DOCKER_REGISTRY=registry).check() is True


@pytest.mark.engine
def test_the_check_is_kept_in_and_its_secret_is_in_its_environment_alone(
    detection: Callable[..., Maintenance], network: str, stand_in: Callable[[str], str], client: Any, tmp_path: Path,
    flags: Database,
):  # fmt: skip
    registry = stand_in("echo $DATABASE_URL > /tmp/written; while [ ! -e /tmp/go ]; do sleep 0.05; done")
    maintenance = detection(DOCKER_REGISTRY=registry, limit=20.0)
    thread = threading.Thread(target=maintenance.check)
    thread.start()
    try:
        [listed] = until(lambda: [each for each in checks(client, tmp_path) if each["State"] == "running"], "the check")
        described = client.inspect_container(listed["Id"])
        assert PASSWORD not in str(
            [described["Args"], described["Path"], described["Name"], described["Config"]["Labels"]]
        )
        assert described["Config"]["Labels"]["jobrunner-owner"] == workdir_id(tmp_path)
        limits = described["HostConfig"]
        assert limits["Memory"] == limits["MemorySwap"] == 4 * 2**30
        assert (limits["NanoCpus"], limits["CapDrop"], limits["ReadonlyRootfs"]) == (10**9, ["ALL"], True)
        assert (limits["NetworkMode"], limits["Dns"], limits.get("Mounts") or []) == (network, ["192.0.2.0"], [])
        assert described["Config"]["User"] not in {"", "0:0", "root"}
        # A runner that looks at its jobs does not take it for one.
        assert DockerExecutor(host=os.environ["DOCKER_HOST"], registry=registry).list(workdir_id(tmp_path)) == {}
        client.exec_start(client.exec_create(listed["Id"], ["touch", "/tmp/go"])["Id"])
    finally:
        thread.join(60)
    assert not thread.is_alive()
    assert checks(client, tmp_path) == []


@pytest.mark.engine
@pytest.mark.parametrize("before", [None, "db-maintenance"])
def test_a_failing_check_leaves_the_mode_and_says_why(
    detection: Callable[..., Maintenance],
    flags: Database,
    stand_in: Callable[[str], str],
    client: Any,
    tmp_path: Path,
    before: str | None,
):
    changes.set_flag(flags.connection, "mode", before, time.time())
    with pytest.raises(ExecutorError, match="exit code 3: no login"):
        detection(DOCKER_REGISTRY=stand_in("echo db-maintenance; echo no login >&2; exit 3")).check()
    with pytest.raises(ExecutorError, match="longer than 1 s"):
        detection(DOCKER_REGISTRY=stand_in("echo db-maintenance; sleep 600"), limit=1.0).check()
    with pytest.raises(ImageMissingError):
        detection(DOCKER_REGISTRY="registry.invalid/none").check()
    with pytest.raises(ExecutorError, match="nowhere"):
        detection(DATABASE_ACCESS_NETWORK="nowhere").check()
    assert mode(flags) == before
    assert checks(client, tmp_path) == []


@pytest.mark.engine
def test_what_a_killed_check_left_is_removed_and_leaving_breaks_one_off(
    detection: Callable[..., Maintenance], stand_in: Callable[[str], str], client: Any, tmp_path: Path, flags: Database
):
    name = f"{CONTAINER}-{workdir_id(tmp_path)}"
    client.start(left := client.create_container(Engine.busybox, ["sleep", "600"], name=name)["Id"])
    maintenance, stop = detection(DOCKER_REGISTRY=stand_in("sleep 600")), threading.Event()
    thread = threading.Thread(target=maintenance.run, args=(stop,))
    thread.start()
    until(
        lambda: [each for each in checks(client, tmp_path) if each["Id"] != left and each["State"] == "running"], "it"
    )
    stop.set()
    thread.join(30)
    assert not thread.is_alive()
    until(lambda: checks(client, tmp_path) == [], "the end of the check")
    assert mode(flags) is None


def test_what_an_operator_says_by_hand_holds_whatever_is_detected(tmp_path: Path, flags: Database):
    settings = load(tmp_path, DEFAULT_DATABASE_URL=IN_SERVICE)
    # Without containers nothing can be detected, so that it is the operator's word that counts.
    maintenance = Maintenance(settings, ProcessExecutor(volumes_dir=tmp_path))
    with pytest.raises(ExecutorError):
        maintenance.check()
    changes.set_flag(flags.connection, "manual-db-maintenance", "on", time.time())
    assert maintenance.check() is True
    assert mode(flags) == "db-maintenance"


def test_without_detection_the_mode_still_follows_the_operator(tmp_path: Path, flags: Database):
    maintenance = Maintenance(
        load(tmp_path, ENABLE_MAINTENANCE_MODE_THREAD="off"), ProcessExecutor(volumes_dir=tmp_path)
    )
    changes.set_flag(flags.connection, "mode", "db-maintenance", time.time())
    assert maintenance.check() is True
    changes.set_flag(flags.connection, "manual-db-maintenance", "on", time.time())
    assert maintenance.check() is True
    changes.set_flag(flags.connection, "manual-db-maintenance", None, time.time())
    assert maintenance.check() is False
    assert mode(flags) is None


def test_detection_needs_a_database(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="DEFAULT_DATABASE_URL"):
        Maintenance(load(tmp_path), ProcessExecutor(volumes_dir=tmp_path))
