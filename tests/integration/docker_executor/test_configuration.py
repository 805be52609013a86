"""What the Docker executor asks an engine for: labels, limits, rights, surroundings; and what cannot be run."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
import pytest
from contract.bench import IMAGE, REGISTRY, Bench

from jobrunner_cli.engine.errors import (
    ContainerMissingError,
    ExecutorError,
    ExecutorUnavailableError,
    ImageMissingError,
)
from jobrunner_cli.engine.work import ContainerSpec, ContainerState

pytestmark = pytest.mark.engine

MIB = 1024 * 1024


def described(engine: docker.APIClient, spec: ContainerSpec) -> dict[str, Any]:
    found: dict[str, Any] = engine.inspect_container(f"os-job-{spec.job_id}")
    return found


def printed(bench: Bench, spec: ContainerSpec) -> list[bytes]:
    bench.run(spec)
    return [line.partition(b" ")[2] for line in bench.executor.logs(spec.job_id)]


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
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "64m", "max-file": "8"}}
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


def test_a_job_reaches_itself_by_name_and_nothing_else(bench: Bench, engine: docker.APIClient) -> None:
    """Workers of one command talk over localhost; beyond that there is not even a device, let alone a route."""
    script = """
        (echo hello | nc -l -p 4321) &
        until nc localhost 4321 < /dev/null; do :; done
        wait
        ls /sys/class/net
        cat /proc/net/route | tail -n +2
        nc -w 2 192.0.2.1 80 < /dev/null 2>&1 | grep -o unreachable
        readlink /proc/self/ns/net
    """
    spec = bench.shell(script)
    *lines, namespace = [line for line in printed(bench, spec) if b"refused" not in line]
    found = described(engine, spec)

    assert lines == [b"hello", b"lo", b"unreachable"]
    assert namespace.startswith(b"net:")
    assert namespace.decode() != os.readlink("/proc/self/ns/net")
    assert found["Config"]["NetworkDisabled"] is True
    assert found["NetworkSettings"]["Networks"] == {}


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
    assert not found["Config"].get("NetworkDisabled")
    assert found["HostConfig"]["Dns"] == ["192.0.2.0"]
    assert list(found["NetworkSettings"]["Networks"]) == [network]


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
    with pytest.raises(ImageMissingError, match=f"image {image} is not"):
        bench.executor.create(bench.shell("echo again", image=image))


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
