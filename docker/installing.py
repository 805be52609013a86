"""The programs that an engine of our own needs, and the packages that have them."""

from __future__ import annotations

import os
import shutil
import subprocess

from answering import NoEngineError, say

PACKAGES = {"dockerd": "docker.io", "iptables": "iptables", "busybox": "busybox-static", "ip": "iproute2"}


def present(program: str) -> bool:
    """Whether a program is on the PATH or where a user's PATH does not look."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is not None


def statically_linked_busybox() -> bool:
    """Debian's `busybox` and `busybox-static` have the same path; only one runs in an otherwise empty image."""
    import images

    program = images.busybox_program()
    if program is None:
        return False
    done = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    return done.returncode != 0 or "statically linked" in done.stdout


def install(*programs: str) -> None:
    """Install the packages of the programs that are missing, on a Debian or Ubuntu of which we are root."""
    wanted = [
        PACKAGES[program]
        for program in programs
        if not (statically_linked_busybox() if program == "busybox" else present(program))
    ]
    if not wanted:
        return
    names = " ".join(wanted)
    if os.geteuid() != 0:
        raise NoEngineError(f"not root, so this cannot be installed: {names} (or point DOCKER_HOST at an engine)")
    if not present("apt-get"):
        raise NoEngineError(f"not Debian or Ubuntu, so this has to be installed by hand: {names}")
    say(f"Installing {names}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", *wanted]):
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False,
        )  # fmt: skip
        # A failed update may still leave lists that are good enough; the installation tells.
        if done.returncode and "install" in command:
            raise NoEngineError(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}")
