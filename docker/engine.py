"""Makes sure that a Docker engine answers and has the images that tests and the demo run.

    engine.py          the configured engine if it answers, else a private one for this checkout
    engine.py env      print the line that points a shell at it
    engine.py stop     stop the private engine and everything it started; --purge deletes its data, too

A private engine shares nothing with any other on the machine: socket, data, containerd, network bridge and pid file
are its own, and it writes no packet filter rules.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import http.client
import ipaddress
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
KEY = hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]
# The length of a Unix socket's path is limited (107 bytes), the depth of a checkout is not: so the socket is elsewhere.
RUN = Path(f"/run/jobrunner-{KEY}")
STATE = Path(f"/var/lib/jobrunner-engine/{KEY}")
SOCKET = RUN / "docker.sock"
PID = RUN / "docker.pid"
LOG = STATE / "dockerd.log"
BRIDGE = f"jr-{KEY}"
URL = f"unix://{SOCKET}"

DEFAULT_SOCKET = Path("/var/run/docker.sock")
NO_ENGINE = 5  # the exit code that says: none here, and none can be had
PACKAGES = {"dockerd": "docker.io", "iptables": "iptables", "busybox": "busybox-static", "ip": "iproute2"}
NEEDED_TO_RUN = ("dockerd", "iptables", "ip")
SECONDS_TO_START = 60
SECONDS_TO_STOP = 30
SUBNETS = [ipaddress.IPv4Network(f"10.{213 + i // 256}.{i % 256}.0/24") for i in range(512)]


class NoEngineError(Exception):
    """There is no engine, and this machine or user cannot start one."""


def say(line: str) -> None:
    """Tell what happens; standard output is kept for `env`."""
    print(line, file=sys.stderr, flush=True)


# -- who answers


class _SocketConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=5)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def answers(url: str) -> bool:
    """Whether an engine answers at this address."""
    if url.startswith("unix://"):
        # Without docker-py: importing it would take most of the time that "it runs already" takes.
        connection = _SocketConnection(url.removeprefix("unix://"))
        try:
            connection.request("GET", "/_ping")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
    try:
        return bool(connect(url).ping())
    except Exception as error:  # noqa: BLE001 - the ways in which an address can be no engine have no common base
        say(f"{url}: {error}")
        return False


def connect(url: str) -> Any:
    """A docker-py client; for a remote engine with the certificates that the environment names."""
    import docker
    from docker.utils import kwargs_from_env

    arguments: dict[str, Any] = {} if url.startswith("unix://") else {**kwargs_from_env()}
    arguments["base_url"] = arguments.get("base_url") or url
    return docker.APIClient(**arguments, timeout=120)


def configured() -> str | None:
    """The address of the engine that the environment or the default socket names, if it answers."""
    url = os.environ.get("DOCKER_HOST") or (f"unix://{DEFAULT_SOCKET}" if DEFAULT_SOCKET.exists() else "")
    return url if url and answers(url) else None


# -- what has to be installed


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


# -- the private engine


@contextmanager
def alone() -> Iterator[None]:
    """One start or stop at a time."""
    path = Path(f"/run/jobrunner-{KEY}.lock")
    try:
        handle = path.open("w")
    except OSError as error:
        raise NoEngineError(f"a private engine has to be started by root ({error})") from None
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def ip(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run iproute2's ip and hand back what it says, failures included."""
    return subprocess.run(["ip", *arguments], env=daemon_environment(), capture_output=True, text=True, check=False)


def daemon_environment() -> dict[str, str]:
    """What dockerd and ip get: no setting meant for a client, and the administrator's directories on the PATH."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")}
    return kept | {"PATH": f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"}


def free_subnet() -> ipaddress.IPv4Network:
    """A network that overlaps none of this machine's routes."""
    said = ip("-4", "route", "show", "table", "all").stdout + ip("-4", "-o", "addr", "show").stdout
    taken = [
        ipaddress.IPv4Network(found, strict=False)
        for found in re.findall(r"\b\d+\.\d+\.\d+\.\d+(?:/\d+)?", said)
        if found != "0.0.0.0/0"
    ]
    for subnet in SUBNETS:
        if not any(subnet.overlaps(other) for other in taken):
            return subnet
    raise NoEngineError("no free subnet for the engine's bridge")


def make_bridge() -> ipaddress.IPv4Network | None:
    """Make the engine's own bridge unless it stands, and return its network; None where bridges cannot be made."""
    found = re.search(r"inet (\S+)", ip("-4", "-o", "addr", "show", "dev", BRIDGE).stdout)
    if found:
        ip("link", "set", BRIDGE, "up")
        return ipaddress.IPv4Interface(found[1]).network
    ip("link", "del", BRIDGE)
    subnet = free_subnet()
    for command in (
        ("link", "add", "name", BRIDGE, "type", "bridge"),
        ("addr", "add", f"{subnet[1]}/{subnet.prefixlen}", "dev", BRIDGE),
        ("link", "set", BRIDGE, "up"),
    ):
        done = ip(*command)
        if done.returncode:
            say(f"No bridge network: {done.stderr.strip()}")
            ip("link", "del", BRIDGE)
            return None
    return subnet


def start() -> None:
    """Start the private engine and wait until it answers."""
    stop_processes()  # what a killed engine left behind
    clear_up()
    for folder in (RUN, STATE):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o711)
    (STATE / "checkout").write_text(f"{ROOT}\n")
    subnet = make_bridge()
    command = [
        "dockerd", "--host", URL, "--data-root", str(STATE / "data"), "--exec-root", str(RUN / "exec"),
        "--pidfile", str(PID), "--bridge", BRIDGE if subnet else "none", "--iptables=false", "--ip-masq=false",
        # Apart from any other engine on a machine whose containerd both would use.
        "--containerd-namespace", f"jobrunner-{KEY}", "--containerd-plugins-namespace", f"jobrunner-{KEY}-plugins",
        "--shutdown-timeout", "5", "--log-level", "warn",
    ]  # fmt: skip
    if subnet:
        # Networks that tests make come from a range of their own, away from 172.17.0.0 and its neighbours.
        command += ["--default-address-pool", "base=10.215.0.0/16,size=24"]
    begun = time.monotonic()
    with LOG.open("a") as log:
        daemon = subprocess.Popen(
            command, cwd="/", env=daemon_environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,  # it outlives the terminal and the session that asked for it
        )  # fmt: skip
    while not answers(URL):
        if daemon.poll() is not None or time.monotonic() - begun > SECONDS_TO_START:
            stop_processes()
            last = "\n".join(LOG.read_text(errors="replace").splitlines()[-15:])
            raise NoEngineError(f"dockerd does not start here; the end of {LOG}:\n{last}")
        time.sleep(0.05)
    say(f"Engine started in {time.monotonic() - begun:.1f} s (log: {LOG})")


def processes() -> list[int]:
    """Every process of the private engine: dockerd, its containerd, its shims. They all name its directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            program = words[0].rpartition(b"/")[2]
            if program.startswith((b"dockerd", b"containerd", b"docker-proxy")) and any(
                str(RUN).encode() + b"/" in word for word in words[1:]
            ):
                found.append(int(entry.name))
    return found


def _gone(pids: list[int], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with suppress(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        if not any(_alive(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return False


def stop_processes() -> None:
    """End dockerd, which ends its containers and its containerd, and then whatever did not go with it."""
    everything = processes()
    daemons = [pid for pid in everything if b"dockerd" in _program(pid)]
    for pid in daemons:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    _gone(daemons, SECONDS_TO_STOP)
    for how, seconds in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        left = processes()
        if not left or _gone(left, 0.5):
            break
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, how)
        _gone(left, seconds)


def _program(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
    return b""


def clear_up() -> None:
    """Take away mounts, sockets and pid files of an engine that no longer runs."""
    with suppress(OSError):
        mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for point in sorted(mounted, reverse=True):
            if point.startswith((f"{RUN}/", f"{STATE}/")):
                subprocess.run(["umount", "-l", point], capture_output=True, check=False)
    shutil.rmtree(RUN, ignore_errors=True)


def own_bridges() -> list[str]:
    """The bridges of the networks that were made in the private engine: dockerd leaves them standing when it ends."""
    try:
        networks = connect(URL).networks(filters={"driver": "bridge"})
    except Exception:  # noqa: BLE001 - an engine that is stopped need not be well
        return []
    named = [
        (net.get("Options") or {}).get("com.docker.network.bridge.name") or f"br-{net['Id'][:12]}" for net in networks
    ]
    return [name for name in named if name not in {BRIDGE, "docker0"}]


def stop(purge: bool) -> None:
    """Stop the private engine; with purge, also delete its images, containers and volumes."""
    with alone():
        if processes():
            bridges = own_bridges() if answers(URL) else []
            if answers(URL):
                client = connect(URL)
                for container in client.containers():
                    with suppress(Exception):
                        client.kill(container["Id"])
            stop_processes()
            for bridge in bridges:
                ip("link", "del", bridge)
            say("Engine stopped")
        else:
            say("No private engine runs for this checkout")
        clear_up()
        if present("ip"):
            ip("link", "del", BRIDGE)
        if purge and STATE.exists():
            shutil.rmtree(STATE)
            say(f"Deleted {STATE}")
    Path(f"/run/jobrunner-{KEY}.lock").unlink(missing_ok=True)


# -- the command


def ensure() -> tuple[str, bool]:
    """Make sure that an engine answers and has the images: its address, and whether it is the private one."""
    url = configured()
    private = url is None or url == URL
    if url is None:
        if not sys.platform.startswith("linux"):
            raise NoEngineError("no Docker engine answers; start one, or point DOCKER_HOST at it")
        url = URL
        if not answers(URL):
            install(*NEEDED_TO_RUN, "busybox")
            # Where the package starts a system-wide service, that is the engine.
            if late := configured():
                url, private = late, False
            else:
                with alone():
                    if not answers(URL):
                        start()
    make_images(url)
    return url, private


def make_images(url: str) -> None:
    """Make the images that the engine lacks."""
    import docker.errors
    import images

    client = connect(url)
    if not images.missing(client):
        return
    try:
        install("busybox")
    except NoEngineError as error:
        say(f"The images for tests and demo cannot be made: {error}")
        return
    try:
        made = images.make(client)
    except docker.errors.APIError as error:
        raise NoEngineError(f"the engine at {url} takes no images: {error.explanation or error}") from None
    for name in made:
        say(f"Made {name}")


def main() -> int:
    """Carry out one command; the exit code is 5 where there is no engine and none can be started."""
    parser = argparse.ArgumentParser(prog="just engine", description="A Docker engine for tests and demo.")
    parser.add_argument("command", nargs="?", choices=["start", "env", "stop", "status"], default="start")
    parser.add_argument("--env", action="store_true", help="the same as the command env")
    parser.add_argument("--quiet", action="store_true", help="say only what is done, not what is there already")
    parser.add_argument("--purge", action="store_true", help="with stop: delete the private engine's data as well")
    given = parser.parse_args()
    command = "env" if given.env else given.command
    try:
        if command == "stop":
            stop(given.purge)
            return 0
        if command == "status":
            url = configured() or (URL if answers(URL) else None)
            print(url or "no engine answers")
            return 0 if url else NO_ENGINE
        url, private = ensure()
    except NoEngineError as error:
        say(f"No Docker engine: {error}")
        return NO_ENGINE
    if command == "env":
        print(f"export DOCKER_HOST={url}")
        return 0
    if given.quiet:
        return 0
    say(f"A Docker engine answers at {url}{' (private to this checkout)' if private else ''}")
    if url != os.environ.get("DOCKER_HOST"):
        say(f"  to use it: export DOCKER_HOST={url}")
    if private:
        say("  to stop it: ./just engine stop (with --purge to delete its data as well)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
