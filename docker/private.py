"""The private engine of this checkout: its processes, its bridge, its places.

It shares nothing with any other on the machine: socket, data, containerd, network bridge and pid file are its own, and
it writes no packet filter rules.
"""

from __future__ import annotations

import fcntl
import hashlib
import ipaddress
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from answering import NoEngineError, answers, connect, say
from installing import present

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

SECONDS_TO_START = 60
SECONDS_TO_STOP = 30
SUBNETS = [ipaddress.IPv4Network(f"10.{213 + i // 256}.{i % 256}.0/24") for i in range(512)]


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
