"""The Docker executor beyond the contract: how it asks for containers, and what it makes of an engine's peculiarities."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import docker
import pytest
from contract.bench import IMAGE, PATIENCE, REGISTRY, Bench, open_gate
from docker.errors import NotFound

from jobrunner_cli.engine.errors import (
    ConfigurationError,
    ContainerMissingError,
    ExecutorError,
    ExecutorUnavailableError,
    ImageMissingError,
)
from jobrunner_cli.engine.executors.docker import DockerExecutor
from jobrunner_cli.engine.work import ContainerSpec, ContainerState
from support.engine import Engine

pytestmark = pytest.mark.engine

MIB = 1024 * 1024


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
    made = []

    def derive(tag: str, change: str) -> str:
        container = engine.create_container(IMAGE, ["true"])["Id"]
        engine.commit(container, f"{REGISTRY}/busybox", tag, changes=change)
        engine.remove_container(container)
        made.append(name := f"{REGISTRY}/busybox:{tag}")
        return name

    yield derive
    for name in set(made):
        engine.remove_image(name, force=True)


def described(engine: docker.APIClient, spec: ContainerSpec) -> dict[str, Any]:
    found: dict[str, Any] = engine.inspect_container(f"os-job-{spec.job_id}")
    return found


def printed(bench: Bench, spec: ContainerSpec) -> list[bytes]:
    bench.run(spec)
    return [line.partition(b" ")[2] for line in bench.executor.logs(spec.job_id)]


# -- what is asked for


def test_container_bears_name_labels_and_limits(bench: Bench, engine: docker.APIClient) -> None:
    spec = bench.shell("exit 0", cpu_count=0.5, process_limit=77)
    bench.executor.create(spec)
    found = described(engine, spec)
    labels, host = found["Config"]["Labels"], found["HostConfig"]

    own = {"job-runner": "", "workspace": "test", "action": "an_action", "jobrunner-owner": bench.owner}
    assert {name: labels.get(name) for name in own} == own
    assert labels["jobrunner-config"]
    assert host["NanoCpus"] == 500_000_000
    assert host["Memory"] == host["MemorySwap"] == 256 * MIB
    assert host["PidsLimit"] == 77
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["NetworkMode"] == "none"
    assert host["Init"] is True
    assert host["RestartPolicy"]["Name"] == "no"
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "64m", "max-file": "2"}}
    assert found["Config"]["WorkingDir"] == "/workspace"
    assert "HOME=/tmp" in found["Config"]["Env"]


def test_more_cpus_than_the_machine_has_are_as_many_as_it_has(bench: Bench, engine: docker.APIClient) -> None:
    spec = bench.shell("exit 0", cpu_count=1000.0)
    bench.executor.create(spec)
    assert described(engine, spec)["HostConfig"]["NanoCpus"] == engine.info()["NCPU"] * 1_000_000_000


def test_root_is_read_only_and_scratch_places_are_not(bench: Bench) -> None:
    script = "touch /bin/x; for d in /run /var/tmp /tmp /workspace /dev/shm; do touch $d/x && echo $d; done"
    spec = bench.shell(script, user=(0, 0))
    for directory in (spec.work_dir, spec.tmp_dir):
        os.chown(directory, 0, 0)
    lines = printed(bench, spec)

    assert b"touch: /bin/x: Read-only file system" in lines
    assert [line for line in lines if not line.startswith(b"touch")] == [
        b"/run", b"/var/tmp", b"/tmp", b"/workspace", b"/dev/shm",
    ]  # fmt: skip


def test_image_that_says_so_gets_a_writable_root(bench: Bench, derived: Callable[[str, str], str]) -> None:
    image = derived("writable", "LABEL jobrunner-writable-root=true")
    assert printed(bench, bench.shell("touch /bin/x && echo made", user=(0, 0), image=image)) == [b"made"]


def test_working_directory_of_the_image_is_kept(bench: Bench, derived: Callable[[str, str], str]) -> None:
    assert printed(bench, bench.shell("pwd", image=derived("elsewhere", "WORKDIR /var/tmp"))) == [b"/var/tmp"]
    assert printed(bench, bench.shell("pwd")) == [b"/workspace"]


def test_entrypoint_of_the_image_gets_the_arguments(bench: Bench, derived: Callable[[str, str], str]) -> None:
    image = derived("entrypoint", 'ENTRYPOINT ["/bin/echo", "entry"]')
    assert printed(bench, bench.spec("a", "b", image=image)) == [b"entry a b"]


def test_proxies_of_the_docker_client_do_not_reach_a_job(bench: Bench) -> None:
    settings = Path.home() / ".docker" / "config.json"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"proxies": {"default": {"httpProxy": "http://user:s3cret@proxy:3128"}}}))
    bench.executor = bench.fresh()

    assert not [line for line in printed(bench, bench.shell("env")) if b"proxy" in line.lower()]


def test_network_name_servers_and_hosts_of_a_database_job(bench: Bench, engine: docker.APIClient) -> None:
    network = f"jobrunner-test-{bench.owner}"
    engine.create_network(network, driver="bridge", internal=True)
    try:
        spec = bench.shell(
            "cat /etc/hosts; cat /etc/resolv.conf",
            network=network, dns=("192.0.2.0",), extra_hosts={"db.example": "10.1.2.3"},
        )  # fmt: skip
        text = b"\n".join(printed(bench, spec))
        found = described(engine, spec)
        bench.executor.remove(spec.job_id)
    finally:
        engine.remove_network(network)

    assert b"10.1.2.3\tdb.example" in text
    assert found["HostConfig"]["Dns"] == ["192.0.2.0"]
    assert list(found["NetworkSettings"]["Networks"]) == [network]


# -- what cannot be run


def test_missing_image_hint_is_the_command_that_fetches_it(bench: Bench) -> None:
    with pytest.raises(ImageMissingError) as caught:
        bench.executor.create(bench.spec("true", image=f"{REGISTRY}/no-such-image:v7"))
    assert caught.value.hint == "jobrunner images pull no-such-image:v7"


def test_image_that_is_removed_after_a_job_used_it_is_missed(
    bench: Bench, engine: docker.APIClient, derived: Callable[[str, str], str]
) -> None:
    image = derived("passing", "LABEL a=b")
    assert printed(bench, bench.shell("echo fine", image=image)) == [b"fine"]
    engine.remove_image(image, force=True)
    try:
        with pytest.raises(ImageMissingError, match="busybox:passing"):
            bench.executor.create(bench.shell("echo again", image=image))
    finally:
        derived("passing", "LABEL a=b")


def test_missing_network_is_named(bench: Bench) -> None:
    spec = bench.shell("exit 0", network="no-such-network")
    with pytest.raises(ExecutorError, match="no-such-network") as caught:
        bench.launch(spec)
    assert not isinstance(caught.value, ExecutorUnavailableError | ImageMissingError)


def test_failed_start_names_command_and_image_and_can_be_repeated(bench: Bench) -> None:
    spec = bench.shell("echo fine", env={"TOKEN": "s3cr3t-pa55"})
    bench.executor.create(spec)
    Path(spec.work_dir).rmdir()
    with pytest.raises(ExecutorError) as caught:
        bench.executor.start(spec.job_id)

    assert "echo fine" in caught.value.message
    assert IMAGE in caught.value.message
    assert "s3cr3t" not in caught.value.message
    assert bench.state(spec.job_id) is ContainerState.CREATED
    Path(spec.work_dir).mkdir(mode=0o777)
    bench.executor.create(spec)
    bench.executor.start(spec.job_id)
    assert bench.exited(spec.job_id).exit_code == 0


def test_absent_working_copy_is_refused_and_not_made(bench: Bench) -> None:
    spec = bench.shell("exit 0")
    shutil.rmtree(spec.work_dir)
    with pytest.raises(ExecutorError, match="bind source path does not exist"):
        bench.executor.create(spec)
    assert not Path(spec.work_dir).exists()


def test_starting_what_was_removed_says_so(bench: Bench) -> None:
    spec = bench.shell("exit 0")
    bench.executor.create(spec)
    bench.executor.remove(spec.job_id)
    with pytest.raises(ContainerMissingError, match=spec.job_id):
        bench.executor.start(spec.job_id)


# -- shared engines


def test_list_leaves_out_strangers(bench: Bench, engine: docker.APIClient) -> None:
    spec = bench.shell("exit 0")
    bench.executor.create(spec)
    labels = {"jobrunner-owner": bench.owner}
    strange = engine.create_container(IMAGE, ["true"], name=f"mine-os-job-{bench.owner}", labels=labels)["Id"]
    other = bench.shell("exit 0", owner="somebody-else")
    bench.executor.create(other)
    try:
        assert bench.executor.list(bench.owner) == {spec.job_id: ContainerState.CREATED}
    finally:
        engine.remove_container(strange)


def test_running_container_of_another_work_directory_is_not_taken(bench: Bench) -> None:
    spec = bench.shell("read x < gate")
    gate = bench.gate(spec)
    bench.launch(replace(spec, owner="somebody-else"))
    with pytest.raises(ExecutorError, match="another work directory") as caught:
        bench.executor.create(spec)

    assert caught.value.hint == f"if nothing needs it any more: docker rm -f os-job-{spec.job_id}"
    assert bench.executor.list("somebody-else")[spec.job_id] is ContainerState.RUNNING
    open_gate(gate)


def test_container_without_an_owner_is_replaced(bench: Bench, engine: docker.APIClient) -> None:
    spec = bench.shell("echo new")
    engine.create_container(IMAGE, ["echo", "old"], name=f"os-job-{spec.job_id}")
    assert printed(bench, spec) == [b"new"]


def test_image_that_moved_makes_the_container_anew(
    bench: Bench, engine: docker.APIClient, derived: Callable[[str, str], str]
) -> None:
    spec = bench.shell("exit 0", image=derived("moving", "LABEL version=1"))
    bench.executor.create(spec)
    before = described(engine, spec)
    derived("moving", "LABEL version=2")
    bench.fresh().create(spec)
    after = described(engine, spec)

    assert before["Id"] != after["Id"]
    assert before["Image"] != after["Image"]


# -- many at once


def test_two_creates_and_two_removes_at_once_agree(bench: Bench, engine: docker.APIClient) -> None:
    for _ in range(5):
        spec = bench.shell("exit 0")
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(bench.executor.create, [spec] * 4))
            assert bench.state(spec.job_id) is ContainerState.CREATED
            list(pool.map(bench.executor.remove, [spec.job_id] * 4))
        with pytest.raises(NotFound):
            described(engine, spec)


def test_two_starts_at_once_run_it_once(bench: Bench) -> None:
    spec = bench.shell("echo ran >> ran")
    bench.executor.create(spec)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(bench.executor.start, [spec.job_id] * 4))
    assert bench.exited(spec.job_id).exit_code == 0
    assert (Path(spec.work_dir) / "ran").read_text() == "ran\n"


def test_threads_share_an_executor(bench: Bench) -> None:
    specs = [bench.shell(f"exit {number}") for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        details = list(pool.map(bench.run, specs))
    assert [detail.exit_code for detail in details] == list(range(6))


# -- ending and removing


def test_paused_container_can_be_stopped(bench: Bench, engine: docker.APIClient) -> None:
    spec = bench.shell("echo ready; read x < gate")
    bench.gate(spec)
    bench.launch(spec)
    bench.printed(spec.job_id, b"ready")
    engine.pause(f"os-job-{spec.job_id}")

    assert bench.state(spec.job_id) is ContainerState.RUNNING
    bench.executor.stop(spec.job_id, grace=0)
    assert bench.state(spec.job_id) is ContainerState.EXITED


def test_volumes_of_the_image_go_with_the_container(
    bench: Bench, engine: docker.APIClient, derived: Callable[[str, str], str]
) -> None:
    spec = bench.shell("exit 0", image=derived("volume", "VOLUME /data"))
    bench.executor.create(spec)
    (volume,) = [mount["Name"] for mount in described(engine, spec)["Mounts"] if mount["Type"] == "volume"]
    bench.executor.remove(spec.job_id)
    with pytest.raises(NotFound):
        engine.inspect_volume(volume)


def test_stop_and_remove_of_nothing_are_fine(bench: Bench) -> None:
    bench.executor.stop("absentabsentabse", grace=1)
    bench.executor.remove("absentabsentabse")
    assert bench.executor.inspect("absentabsentabse") is None
    assert list(bench.executor.logs("absentabsentabse", follow=True)) == []


# -- logs and numbers


def test_follow_has_what_was_printed_last(bench: Bench) -> None:
    """An engine that follows a log often ends its answer without what was printed as the container ended."""
    for number in range(6):
        spec = bench.shell(f"echo one; echo err >&2; echo two; printf three-{number}; exit 3")
        bench.launch(spec)
        followed = list(bench.executor.logs(spec.job_id, follow=True))
        assert followed == list(bench.executor.logs(spec.job_id))
        assert followed[-1].endswith(f" three-{number}".encode())


def test_follow_of_both_streams_is_the_log(bench: Bench) -> None:
    spec = bench.shell("i=0; while [ $i -lt 3000 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done; printf end")
    bench.launch(spec)
    followed = list(bench.executor.logs(spec.job_id, follow=True))

    assert len(followed) == 6001
    assert followed == list(bench.executor.logs(spec.job_id))


def test_closing_a_followed_log_ends_a_read_in_another_thread(bench: Bench) -> None:
    spec = bench.shell("echo one; read x < gate")
    gate = bench.gate(spec)
    bench.launch(spec)
    log = bench.executor.logs(spec.job_id, follow=True)
    assert next(log).endswith(b" one")
    rest: list[list[bytes]] = []
    reader = threading.Thread(target=lambda: rest.append(list(log)))
    reader.start()
    log.close()  # type: ignore[attr-defined]
    reader.join(PATIENCE)

    assert rest == [[]]
    assert bench.state(spec.job_id) is ContainerState.RUNNING
    open_gate(gate)


def test_follow_of_a_container_that_was_never_started_ends(bench: Bench) -> None:
    spec = bench.shell("echo one")
    bench.executor.create(spec)
    assert list(bench.executor.logs(spec.job_id, follow=True)) == []


def test_busy_container_uses_more_cpu_than_an_idle_one(bench: Bench) -> None:
    busy, idle = bench.shell("while :; do :; done"), bench.shell("read x < gate")
    bench.gate(idle)
    for spec in (busy, idle):
        bench.launch(spec)
    for _ in range(2):
        stats = bench.executor.stats(iter([busy.job_id, idle.job_id]))
        assert stats[busy.job_id][0] > stats[idle.job_id][0]
        assert 0 < stats[idle.job_id][1] < 256
    bench.executor.stop(busy.job_id, grace=0)
    bench.executor.stop(idle.job_id, grace=0)
    assert bench.executor.stats(iter([busy.job_id, idle.job_id])) == {}


def test_end_just_before_a_stream_was_opened_is_hinted_at(bench: Bench) -> None:
    """The engine tells of a death before its list does, so a list after the opening may not show it yet."""
    spec = bench.shell("exit 0")
    bench.launch(spec)
    with closing(bench.executor.events(bench.owner)) as first:
        assert first.wait(PATIENCE)
    with closing(bench.executor.events(bench.owner)) as second:
        assert second.wait(PATIENCE)
    assert bench.state(spec.job_id) is ContainerState.EXITED


def test_stream_is_not_woken_by_containers_of_others(bench: Bench) -> None:
    with closing(bench.executor.events(bench.owner)) as stream, closing(bench.executor.events("others")) as theirs:
        spec = bench.shell("exit 0", owner="others")
        bench.launch(spec)
        assert theirs.wait(PATIENCE)
        assert stream.wait(0) is False


# -- images


class _Registry(BaseHTTPRequestHandler):
    """Just enough of a registry for one image (OCI distribution specification, "Pull")."""

    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("hello"))
    diff_id = "sha256:" + hashlib.sha256(layer.getvalue()).hexdigest()
    blobs = (
        gzip.compress(layer.getvalue()),
        json.dumps(
            {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [diff_id]}}
        ).encode(),
    )
    layer_digest, config_digest = ("sha256:" + hashlib.sha256(blob).hexdigest() for blob in blobs)
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": kind,
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json",
                "size": len(blobs[1]),
                "digest": config_digest,
            },
            "layers": [
                {
                    "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                    "size": len(blobs[0]),
                    "digest": layer_digest,
                }
            ],
        }
    ).encode()

    def do_GET(self) -> None:
        known = {
            "/v2/": (b"{}", "application/json"),
            f"/v2/study/blobs/{self.layer_digest}": (self.blobs[0], "application/octet-stream"),
            f"/v2/study/blobs/{self.config_digest}": (self.blobs[1], "application/octet-stream"),
            "/v2/study/manifests/v1": (self.manifest, self.kind),
            f"/v2/study/manifests/sha256:{hashlib.sha256(self.manifest).hexdigest()}": (self.manifest, self.kind),
        }
        body, kind = known.get(self.path, (b"{}", ""))
        self.send_response(200 if kind else 404)
        self.send_header("Content-Type", kind or "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Docker-Content-Digest", "sha256:" + hashlib.sha256(body).hexdigest())
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def registry() -> Iterator[str]:
    """The address of a registry on this machine, which engines reach without TLS."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Registry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_image_is_fetched_with_progress_and_listed(
    docker_engine: Engine, engine: docker.APIClient, registry: str
) -> None:
    executor = DockerExecutor(host=docker_engine.url, registry=registry)
    assert executor.images() == []
    lines = list(executor.pull("study:v1"))
    try:
        (image,) = executor.images()
    finally:
        engine.remove_image(f"{registry}/study:v1")

    assert any("Pull complete" in line for line in lines)
    assert all(line and "\n" not in line for line in lines)
    assert image.name == f"{registry}/study:v1"
    assert image.id == _Registry.config_digest


@pytest.mark.parametrize("name", ["study:v2", "other:v1", "127.0.0.1:1/nobody/there:v1"])
def test_image_that_cannot_be_fetched_is_named_with_the_reason(
    docker_engine: Engine, registry: str, name: str
) -> None:
    with pytest.raises(ExecutorError) as caught:
        list(DockerExecutor(host=docker_engine.url, registry=registry).pull(name))
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


# -- addresses


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
