"""A real sshd on a free port of this machine, with a host key of its own, that lets this user in with a key of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from support.runners import PATIENCE, until

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")

needs_sshd = pytest.mark.skipif(SSHD is None or os.geteuid() != 0, reason="needs openssh-server, and root to run it")


@contextmanager
def sshd(place: Path) -> Iterator[list[str]]:
    """Run it, with its files in this directory; yields the words of a client that logs in on a terminal."""
    assert SSHD is not None
    for name in ("key", "host"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place / name], check=True)
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    (place / "known_hosts").write_text(f"[127.0.0.1]:{port} {(place / 'host.pub').read_text()}")
    lines = [
        f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {place}/host", f"AuthorizedKeysFile {place}/key.pub",
        "StrictModes no", "UsePAM no", "PermitRootLogin yes", "PrintMotd no", "PrintLastLog no", f"PidFile {place}/pid",
    ]  # fmt: skip
    (place / "sshd_config").write_text("\n".join(lines) + "\n")
    # Without it sshd refuses to run as root; a package without a service manager does not make it.
    Path("/run/sshd").mkdir(exist_ok=True)
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", place / "sshd_config"], stdin=subprocess.DEVNULL, stderr=log
        )
    try:
        until((place / "pid").exists, (place / "log").read_text())
        options = {"UserKnownHostsFile": place / "known_hosts", "IdentitiesOnly": "yes", "LogLevel": "ERROR"}
        yield [
            "ssh", "-t", "-F", "none", "-i", str(place / "key"), "-p", str(port),
            *(word for name, value in options.items() for word in ("-o", f"{name}={value}")),
            f"{getpass.getuser()}@127.0.0.1",
        ]  # fmt: skip
    finally:
        process.terminate()
        process.wait(PATIENCE)
