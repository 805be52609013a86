"""A Docker engine that is absent, silent, broken, or goes down: the executor says so in time, and works again after."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import docker
import pytest
from contract.bench import IMAGE, PATIENCE, REGISTRY, Bench, open_gate

from jobrunner_cli.engine.errors import ExecutorUnavailableError
from jobrunner_cli.engine.executors.docker import DockerExecutor
from jobrunner_cli.engine.executors.protocol import EventStream
from jobrunner_cli.engine.work import ContainerDetail, ContainerState
from support.engine import Engine
from support.engine_with_port import EngineWithPort

pytestmark = pytest.mark.slow

KILLED = ContainerDetail(
    job_id="someid", state=ContainerState.EXITED, exit_code=137, out_of_memory=False, started_at=time.time(),
    finished_at=time.time(), image_id=None, metadata={},
)  # fmt: skip
VERBS: dict[str, Callable[[Bench], object]] = {
    "check": lambda bench: bench.executor.check(),
    "create": lambda bench: bench.executor.create(bench.shell("exit 0", env={"TOKEN": "s3cr3t-pa55"})),
    "start": lambda bench: bench.executor.start("someid"),
    "stop": lambda bench: bench.executor.stop("someid", grace=0),
    "remove": lambda bench: bench.executor.remove("someid"),
    "list": lambda bench: bench.executor.list("owner"),
    "inspect": lambda bench: bench.executor.inspect("someid"),
    "logs": lambda bench: list(bench.executor.logs("someid")),
    "follow": lambda bench: list(bench.executor.logs("someid", follow=True)),
    "stats": lambda bench: bench.executor.stats(iter(["someid"])),
    "events": lambda bench: bench.executor.events("owner"),
    "images": lambda bench: bench.executor.images(),
    "memory": lambda bench: bench.executor.ran_out_of_memory(KILLED),
}


def bench_at(host: str, place: Path, **options: object) -> Bench:
    return Bench(
        kind="docker",
        options={"host": host, "registry": REGISTRY, **options},
        volumes_dir=place,
        missing_image=f"{REGISTRY}/no-such-image:v1",
    )


def hear_out(stream: EventStream) -> None:
    """Take every hint that is left."""
    while stream.wait(PATIENCE):
        pass


# -- answers that no sound engine gives


class Door:
    """A Unix socket at which somebody answers every request in the same way."""

    def __init__(self, path: Path, answer: bytes | None, *, version: bool = False) -> None:
        self.url = f"unix://{path}"
        self._answer = answer
        self._version = version
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self._held: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._held.append(connection)
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with suppress(OSError):
            while request := connection.recv(65536):
                if self._version and request.startswith(b"GET /version"):
                    connection.sendall(response(b"200 OK", b'{"ApiVersion": "1.41", "Version": "20.10"}'))
                elif self._answer is not None:
                    connection.sendall(self._answer)
                    if not self._answer.startswith(b"HTTP/1.1 5"):
                        connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._held:
            connection.close()


def response(status: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
    return head + body


ANSWERS = {
    "silence": None,
    "hang-up": b"",
    "garbage": b"SSH-2.0-OpenSSH_9.2\r\n",
    "half an answer": b'HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n[{"Id": ',
    "no json": b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
    "shutting down": response(b"500 Internal Server Error", b'{"message": "the daemon is shutting down"}'),
    "gateway": response(b"503 Service Unavailable", b"<html>try later</html>"),
}


#: Logs and removals answer without JSON, and `check` asks for nothing but the version.
ASKED = [
    (answer, verb)
    for answer in ANSWERS
    for verb in VERBS
    if verb != "check" and (answer != "no json" or verb not in {"logs", "follow", "remove"})
]


@pytest.mark.parametrize(("answer", "verb"), ASKED)
def test_unsound_answer_means_unavailable(short_path: Path, answer: str, verb: str) -> None:
    with closing(Door(short_path / "docker.sock", ANSWERS[answer], version=True)) as door:
        said = complaint(bench_at(door.url, short_path, timeout=0.2, slow_timeout=0.2), verb)
    assert "\n" not in said
    assert "s3cr3t" not in said


@pytest.mark.parametrize("answer", ANSWERS)
def test_engine_that_is_unsound_from_the_start_is_unavailable(short_path: Path, answer: str) -> None:
    with closing(Door(short_path / "docker.sock", ANSWERS[answer])) as door:
        for verb in ("check", "list", "create"):
            assert "\n" not in complaint(bench_at(door.url, short_path, timeout=0.2, slow_timeout=0.2), verb)


def complaint(bench: Bench, verb: str) -> str:
    """What a verb says of an engine that does not serve it."""
    begun = time.monotonic()
    with pytest.raises(ExecutorUnavailableError) as caught:
        VERBS[verb](bench)
    assert time.monotonic() - begun < PATIENCE
    return caught.value.message


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory with a path that fits into a socket's address."""
    path = Path(tempfile.mkdtemp(prefix="jr-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.mark.parametrize("verb", VERBS)
def test_no_engine_at_all_is_unavailable(short_path: Path, verb: str) -> None:
    bench = bench_at(f"unix://{short_path}/nobody.sock", short_path)
    with pytest.raises(ExecutorUnavailableError, match=r"nobody\.sock does not answer: no such file") as caught:
        VERBS[verb](bench)
    assert "DOCKER_HOST" in str(caught.value.hint)


def test_nobody_at_a_port_is_unavailable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        executor = DockerExecutor(host=f"tcp://127.0.0.1:{taken.getsockname()[1]}", registry=REGISTRY)
        with pytest.raises(ExecutorUnavailableError, match="connection refused"):
            executor.list("owner")


# -- a real engine that goes down, hangs, and comes back

needs_root = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("dockerd"), reason="only root starts an engine")


@pytest.fixture(scope="module")
def engine_place() -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix="jr-"))
    place.chmod(0o755)
    yield place
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        if (point := line.split()[4]).startswith(f"{place}/"):
            subprocess.run(["umount", "-l", point], check=False)
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def private(engine_place: Path, docker_engine: Engine) -> Iterator[EngineWithPort]:
    engine = EngineWithPort(engine_place)
    engine.start()
    with closing(docker.APIClient(base_url=engine.url)) as client:
        if not client.images(IMAGE):
            with closing(docker.APIClient(base_url=docker_engine.url)) as shared:
                list(client.load_image(b"".join(shared.get_image(IMAGE))))
    yield engine
    engine.stop()


@pytest.fixture
def bench(private: EngineWithPort, tmp_path: Path) -> Bench:
    return bench_at(private.url, tmp_path, timeout=2.0, slow_timeout=10.0)


@needs_root
@pytest.mark.engine
@pytest.mark.slow
def test_engine_that_goes_down_and_comes_back(bench: Bench, private: EngineWithPort) -> None:
    """A stop ends its containers, too; the restarted engine knows how they ended."""
    spec = bench.shell("trap 'exit 0' TERM; echo ready; while :; do read -t 1 x < gate; done")
    bench.gate(spec)
    bench.launch(spec)
    bench.printed(spec.job_id, b"ready")
    stream = bench.executor.events(bench.owner)
    private.send(signal.SIGTERM)
    private.ended()

    with pytest.raises(ExecutorUnavailableError):
        hear_out(stream)
    with pytest.raises(ExecutorUnavailableError):
        stream.wait(PATIENCE)
    stream.close()
    for verb in VERBS.values():
        with pytest.raises(ExecutorUnavailableError):
            verb(bench)

    private.start()
    assert bench.executor.list(bench.owner) == {spec.job_id: ContainerState.EXITED}
    detail = bench.executor.inspect(spec.job_id)
    assert detail is not None
    assert detail.exit_code is not None
    bench.executor.events(bench.owner).close()
    bench.executor.remove(spec.job_id)
    assert bench.executor.list(bench.owner) == {}


def list_as_long_as_it_runs(bench: Bench, private: EngineWithPort) -> None:
    while private.runs:
        bench.executor.list(bench.owner)


@needs_root
@pytest.mark.engine
@pytest.mark.slow
def test_engine_that_shuts_down_is_given_nothing_more_to_start(bench: Bench, private: EngineWithPort) -> None:
    """It does what it is asked over the connections that it has, and what it starts then it leaves running for ever."""
    holding = bench.shell("trap 'sleep 2; exit 0' TERM; echo ready; while :; do read -t 1 x < gate; done")
    bench.gate(holding)
    bench.launch(holding)
    bench.printed(holding.job_id, b"ready")
    late = bench.shell("exit 0")
    bench.executor.create(late)
    private.send(signal.SIGTERM)
    with pytest.raises(ExecutorUnavailableError):
        list_as_long_as_it_runs(bench, private)
    with pytest.raises(ExecutorUnavailableError):
        bench.executor.start(late.job_id)
    assert private.runs
    private.ended()
    private.start()
    assert bench.state(late.job_id) is ContainerState.CREATED
    bench.clear()


@needs_root
@pytest.mark.engine
@pytest.mark.slow
def test_followed_log_of_a_killed_engine_breaks_off(bench: Bench, private: EngineWithPort) -> None:
    spec = bench.shell("echo ready; read x < gate")
    bench.gate(spec)
    bench.launch(spec)
    log = bench.executor.logs(spec.job_id, follow=True)
    assert next(log).endswith(b" ready")
    with closing(bench.executor.events(bench.owner)) as stream:
        private.send(signal.SIGKILL)
        private.ended()
        with pytest.raises(ExecutorUnavailableError, match="it broke off in the middle"):
            next(log)
        with pytest.raises(ExecutorUnavailableError, match="it broke off in the middle"):
            stream.wait(PATIENCE)
    # What the killed engine left behind, its containerd among it, is taken over and ended by the next one.
    private.start()
    bench.executor.stop(spec.job_id, grace=0)
    assert bench.state(spec.job_id) is ContainerState.EXITED
    bench.clear()


@needs_root
@pytest.mark.engine
@pytest.mark.slow
def test_engine_that_hangs_is_unavailable_until_it_goes_on(bench: Bench, private: EngineWithPort) -> None:
    spec = bench.shell("echo ready; read x < gate; exit 5")
    gate = bench.gate(spec)
    bench.launch(spec)
    waiting = bench.shell("exit 0")
    bench.executor.create(waiting)
    stream = bench.executor.events(bench.owner)
    log = bench.executor.logs(spec.job_id, follow=True)
    assert next(log).endswith(b" ready")
    private.hang()
    try:
        with pytest.raises(ExecutorUnavailableError, match="no answer within 2 s"):
            bench.executor.list(bench.owner)
        with pytest.raises(ExecutorUnavailableError):
            stream.wait(PATIENCE)
        with pytest.raises(ExecutorUnavailableError):
            next(log)
    finally:
        private.send(signal.SIGCONT)

    assert bench.executor.list(bench.owner) == {
        spec.job_id: ContainerState.RUNNING,
        waiting.job_id: ContainerState.CREATED,
    }
    open_gate(gate)
    assert bench.exited(spec.job_id).exit_code == 5
    bench.clear()


@needs_root
@pytest.mark.engine
@pytest.mark.slow
def test_start_whose_answer_was_lost_is_not_repeated(bench: Bench, private: EngineWithPort) -> None:
    """The order reaches an engine that hangs, and is carried out when it goes on, after the caller gave up."""
    bench = bench_at(private.url, bench.volumes_dir, timeout=1.0, slow_timeout=1.0)
    spec = bench.shell("echo ran >> ran")
    bench.executor.create(spec)
    private.hang()
    try:
        with pytest.raises(ExecutorUnavailableError):
            bench.executor.start(spec.job_id)
    finally:
        private.send(signal.SIGCONT)
    again = bench_at(private.url, bench.volumes_dir)
    again.executor.start(spec.job_id)
    again.owner = bench.owner
    assert again.exited(spec.job_id).exit_code == 0
    again.executor.start(spec.job_id)
    assert (Path(spec.work_dir) / "ran").read_text() == "ran\n"
    bench.clear()


@needs_root
@pytest.mark.engine
@pytest.mark.slow
def test_engine_at_a_port_works_without_this_machines_proxies(
    private: EngineWithPort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    bench = bench_at(private.tcp, tmp_path)
    spec = bench.shell("echo one; printf two")
    with closing(bench.executor.events(bench.owner)) as stream:
        assert bench.run(spec).exit_code == 0
        assert stream.wait(PATIENCE)
    lines = [line.partition(b" ")[2] for line in bench.executor.logs(spec.job_id, follow=True)]
    assert lines == [b"one", b"two"]
    assert private.tcp in bench.executor.check()
    bench.clear()
