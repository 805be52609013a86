"""An engine that is reached over ssh, by way of a real sshd: jobs run there with files that are sent and fetched."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from contract.bench import REGISTRY, Bench

from jobrunner_cli.engine.errors import ExecutorUnavailableError
from jobrunner_cli.engine.jobfiles.tarstream import END, TarEntry, TarKind, TarReader, header, padding
from support.engine import Engine
from support.jobfiles import NEVER
from support.runners import PATIENCE, until

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")

pytestmark = [pytest.mark.engine, pytest.mark.slow]
needs_sshd = pytest.mark.skipif(SSHD is None or os.geteuid() != 0, reason="needs openssh-server, and root to run it")


@pytest.fixture
def known_hosts() -> Path:
    """The file with the keys of the hosts that this user trusts."""
    directory = Path.home() / ".ssh"
    directory.mkdir(mode=0o700)
    return directory / "known_hosts"


@pytest.fixture
def address(docker_engine: Engine, known_hosts: Path, tmp_path: Path) -> Iterator[str]:
    """The engine over ssh; this user has a key for it, and trusts it."""
    assert SSHD is not None
    key = known_hosts.parent / "id_ed25519"
    for path in (key, tmp_path / "host"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    known_hosts.write_text(f"[127.0.0.1]:{port} {(tmp_path / 'host.pub').read_text()}")
    lines = [
        f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {tmp_path}/host", f"AuthorizedKeysFile {key}.pub",
        "StrictModes no", "UsePAM no", "PermitRootLogin yes", f"PidFile {tmp_path}/pid",
        f"SetEnv DOCKER_HOST={docker_engine.url}",
    ]  # fmt: skip
    (tmp_path / "sshd_config").write_text("\n".join(lines) + "\n")
    # Without it sshd refuses to run as root; a package without a service manager does not make it.
    Path("/run/sshd").mkdir(exist_ok=True)
    with (tmp_path / "log").open("wb") as log:
        sshd = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", tmp_path / "sshd_config"], stdin=subprocess.DEVNULL, stderr=log
        )
    try:
        until((tmp_path / "pid").exists, (tmp_path / "log").read_text())
        yield f"ssh://{getpass.getuser()}@127.0.0.1:{port}"
    finally:
        sshd.terminate()
        sshd.wait(PATIENCE)


def bench_at(address: str, place: Path) -> Bench:
    return Bench(
        kind="docker",
        options={"host": address, "registry": REGISTRY},
        volumes_dir=place,
        missing_image=f"{REGISTRY}/no-such-image:v1",
    )


@needs_sshd
def test_job_runs_with_files_that_are_sent_and_fetched(address: str, tmp_path: Path) -> None:
    bench = bench_at(address, tmp_path / "volumes")
    way = bench.executor.transfer
    assert way is not None
    content = os.urandom(3_000_000)
    spec = bench.shell("wc -c < in > out; echo counted; cat in > copy")
    about = TarEntry(name="in", kind=TarKind.FILE, size=len(content), mode=0o644, uid=spec.user[0], gid=spec.user[1])
    bench.executor.create(spec)
    way.put(spec.job_id, iter([header(about), content, padding(len(content)), END]))
    bench.executor.start(spec.job_id)
    assert [line.partition(b" ")[2] for line in bench.executor.logs(spec.job_id, follow=True)] == [b"counted"]
    assert bench.exited(spec.job_id).exit_code == 0
    found = {}
    reader = TarReader(way.get(spec.job_id), stop=NEVER)
    while (entry := reader.next()) is not None:
        found[entry.name] = b"".join(reader.content())
    assert found["workspace/out"].split() == [b"3000000"]
    assert found["workspace/copy"] == content
    bench.clear()
    bench.executor.close()  # type: ignore[attr-defined]


@needs_sshd
def test_engine_whose_key_nobody_knows_is_not_spoken_to(address: str, known_hosts: Path, tmp_path: Path) -> None:
    known_hosts.write_text("")
    with pytest.raises(ExecutorUnavailableError, match="not found in known_hosts") as caught:
        bench_at(address, tmp_path / "volumes").executor.check()
    assert "\n" not in caught.value.message


def test_without_the_ssh_library_one_line_says_so() -> None:
    script = (
        "import sys; sys.modules['paramiko'] = None\n"
        "from jobrunner_cli.engine.errors import ConfigurationError\n"
        "from jobrunner_cli.engine.executors.docker import DockerExecutor\n"
        "try: DockerExecutor(host='ssh://me@nowhere.invalid', registry='r').check()\n"
        "except ConfigurationError as error: print(error, '|', error.hint)"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert said.count("\n") == 1
    assert "ssh://me@nowhere.invalid:22 cannot be used: Install paramiko" in said
