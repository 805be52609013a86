"""Contract of an engine elsewhere: what is put into a working copy is there for the job, and what it leaves comes back."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import docker
import pytest
from contract.bench import Bench

from jobrunner_cli.engine.errors import ContainerMissingError, ExecutorError, ExecutorUnavailableError
from jobrunner_cli.engine.executors.docker import DockerExecutor
from jobrunner_cli.engine.executors.protocol import FileTransfer
from support.engine import Engine
from support.engine_at_port import EngineAtPort

pytestmark = pytest.mark.engine


@pytest.fixture
def bench(elsewhere_bench: Bench) -> Bench:
    return elsewhere_bench


@pytest.fixture
def way(bench: Bench) -> FileTransfer:
    assert bench.executor.transfer is not None
    return bench.executor.transfer


@pytest.fixture
def client(docker_engine: Engine) -> Iterator[docker.APIClient]:
    """The engine itself, as an operator reaches it."""
    with closing(docker.APIClient(base_url=docker_engine.url)) as client:
        yield client


def stream(files: dict[str, bytes], user: tuple[int, int], *, mtime: float = 0) -> Iterator[bytes]:
    """A tar stream with these files, a directory where a name ends with a slash, in small pieces."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.uid, entry.gid = user
            entry.mtime = mtime
            if name.endswith("/"):
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            else:
                entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    data = written.getvalue()
    return (data[place : place + 1000] for place in range(0, len(data), 1000))


def entries(chunks: Iterator[bytes]) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
        return {entry.name: entry for entry in archive}


def volumes(client: docker.APIClient, job_id: str) -> list[str]:
    told = client.volumes(filters={"name": f"os-job-{job_id}-"})["Volumes"] or []
    return sorted(volume["Name"] for volume in told)


def test_what_is_put_belongs_to_the_job_and_what_it_leaves_comes_back(bench: Bench, way: FileTransfer) -> None:
    odd = "caf\udce9\n'"
    spec = bench.shell("stat -c '%u %g %a %Y' d/in.txt . > seen && cat d/in.txt > out && echo more >> d/in.txt")
    bench.executor.create(spec)
    way.put(spec.job_id, stream({"d/": b"", "d/in.txt": b"in\n", odd: b"odd"}, spec.user, mtime=1234567890.5))
    bench.executor.start(spec.job_id)
    assert bench.exited(spec.job_id).exit_code == 0

    found = entries(way.get(spec.job_id))
    assert set(found) == {"workspace"} | {f"workspace/{name}" for name in ("d", "d/in.txt", odd, "out", "seen")}
    with tarfile.open(fileobj=io.BytesIO(b"".join(way.get(spec.job_id)))) as archive:
        file = archive.extractfile("workspace/seen")
        assert file is not None
        first, second = file.read().decode().splitlines()
    user = " ".join(map(str, spec.user))
    assert first == f"{user} 644 1234567890"
    assert second.startswith(f"{user} 700 ")
    assert found[f"workspace/{odd}"].size == 3


def test_gigabytes_of_it_are_not_held_in_memory(bench: Bench, way: FileTransfer) -> None:
    spec = bench.shell("dd if=/dev/zero of=big bs=1M count=300 2>/dev/null")
    bench.run(spec)
    most = total = 0
    for chunk in way.get(spec.job_id):
        most, total = max(most, len(chunk)), total + len(chunk)
    assert most <= 1 << 16
    assert total > 300 << 20


def test_working_copy_has_another_id_when_it_is_made_anew(bench: Bench, way: FileTransfer) -> None:
    spec = bench.shell("ls")
    assert way.copy_id(spec.job_id) is None
    bench.executor.create(spec)
    first = way.copy_id(spec.job_id)
    way.put(spec.job_id, stream({"old": b""}, spec.user))

    bench.fresh().create(spec)
    assert way.copy_id(spec.job_id) == first
    assert "workspace/old" in entries(way.get(spec.job_id))

    bench.executor.create(replace(spec, args=("ls", "-a")))
    assert way.copy_id(spec.job_id) not in {None, first}
    assert set(entries(way.get(spec.job_id))) == {"workspace"}


def test_volumes_bear_the_owners_label_and_go_with_the_container(
    bench: Bench, way: FileTransfer, client: docker.APIClient
) -> None:
    spec = bench.shell("exit 0")
    bench.run(spec)
    names = volumes(client, spec.job_id)
    assert names == [f"os-job-{spec.job_id}-tmp", f"os-job-{spec.job_id}-work"]
    assert {client.inspect_volume(name)["Labels"]["jobrunner-owner"] for name in names} == {bench.owner}
    assert way.left(bench.owner) == {spec.job_id}
    assert way.left("another") == set()

    bench.executor.remove(spec.job_id)
    assert volumes(client, spec.job_id) == []
    assert way.left(bench.owner) == set()
    bench.executor.remove(spec.job_id)


def test_volumes_without_a_container_are_found_removed_and_never_used_again(
    bench: Bench, way: FileTransfer, client: docker.APIClient
) -> None:
    spec = bench.shell("ls -A > seen")
    bench.executor.create(spec)
    way.put(spec.job_id, stream({"stale": b"x"}, spec.user))
    client.remove_container(f"os-job-{spec.job_id}")
    assert way.left(bench.owner) == {spec.job_id}

    bench.executor.create(spec)
    assert set(entries(way.get(spec.job_id))) == {"workspace"}

    client.remove_container(f"os-job-{spec.job_id}")
    bench.executor.remove(spec.job_id)
    assert volumes(client, spec.job_id) == []


def test_volume_that_somebody_else_looks_into_is_neither_used_nor_said_to_be_gone(
    bench: Bench, way: FileTransfer, client: docker.APIClient
) -> None:
    spec = bench.shell("exit 0")
    bench.executor.create(spec)
    mount = docker.types.Mount("/mnt", f"os-job-{spec.job_id}-work")
    stranger = client.create_container(spec.image, ["true"], host_config=client.create_host_config(mounts=[mount]))
    client.remove_container(f"os-job-{spec.job_id}")
    try:
        with pytest.raises(ExecutorUnavailableError, match="in use by a container"):
            bench.executor.create(spec)
        assert way.copy_id(spec.job_id) is None
        with pytest.raises(ExecutorUnavailableError, match="in use by a container"):
            bench.executor.remove(spec.job_id)
    finally:
        client.remove_container(stranger)


def test_without_a_container_there_is_nothing_to_fill_or_read(bench: Bench, way: FileTransfer) -> None:
    with pytest.raises(ContainerMissingError):
        way.put("nobody", stream({"a": b""}, (1, 1)))
    with pytest.raises(ContainerMissingError):
        list(way.get("nobody"))


def test_stream_that_is_none_is_refused(bench: Bench, way: FileTransfer) -> None:
    spec = bench.shell("exit 0")
    bench.executor.create(spec)
    with pytest.raises(ExecutorError, match="could not fill /workspace"):
        way.put(spec.job_id, iter([b"no tar " * 1000]))


def test_error_in_the_midst_of_what_is_put_comes_through(bench: Bench, way: FileTransfer) -> None:
    class OurOwnError(Exception):
        pass

    def torn() -> Iterator[bytes]:
        yield from list(stream({"a": os.urandom(100_000)}, (1, 1)))[:50]
        raise OurOwnError

    spec = bench.shell("exit 0")
    bench.executor.create(spec)
    with pytest.raises(OurOwnError):
        way.put(spec.job_id, torn())
    assert bench.executor.inspect(spec.job_id) is not None


@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_connection_that_breaks_in_the_midst_means_unavailable(
    bench: Bench, way: FileTransfer, engine_at_port: EngineAtPort, method: str
) -> None:
    spec = bench.shell("exit 0")
    bench.executor.create(spec)
    files = {"big": os.urandom(8 << 20)}
    if method == "GET":
        way.put(spec.job_id, stream(files, spec.user))
    engine_at_port.halt_transfer(method, 1 << 20)

    def cut(chunks: Iterator[bytes]) -> Iterator[bytes]:
        for number, chunk in enumerate(chunks):
            if number == 3000:
                engine_at_port.wait_for_halt()
                engine_at_port.cut()
            yield chunk

    def transfer() -> None:
        if method == "PUT":
            way.put(spec.job_id, cut(stream(files, spec.user)))
        else:
            for number, _ in enumerate(way.get(spec.job_id)):
                if number == 3:
                    engine_at_port.wait_for_halt()
                    engine_at_port.cut()

    with pytest.raises(ExecutorUnavailableError, match="does not answer"):
        transfer()
    assert bench.fresh().inspect(spec.job_id) is not None


def test_only_an_engine_at_a_socket_shares_this_machines_files(docker_engine: Engine) -> None:
    def far(host: str, shares_files: bool | None = None) -> bool:
        return DockerExecutor(host=host, registry="r", shares_files=shares_files).transfer is not None

    assert not far(docker_engine.url)
    assert far("tcp://somewhere:2375")
    assert far("ssh://me@somewhere")
    assert not far("tcp://somewhere:2375", shares_files=True)
