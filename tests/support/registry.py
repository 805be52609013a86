"""A registry of images on this machine: Debian's, in a process of its own, with images that an engine has pushed to it."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from support.runners import PATIENCE, pause_process, until

#: Who may use a registry that asks for a login, and the password as htpasswd keeps it (bcrypt).
USER, PASSWORD = "puller", "s3cret-of-the-registry"
_HTPASSWD = f"{USER}:$2b$04$KAJgxPwZodqwFVPKpCx3Cuqjwhyh07TnxAtuXDgFd3hvrv6A51Qu2\n"


class Registry:
    """One registry; an engine has to share its loopback, and takes it without TLS there."""

    def __init__(self, place: Path, client: Any, *, login: bool = False) -> None:
        """`client` is of the engine that pushes. Skips the test where there is no program for it."""
        program = shutil.which("docker-registry")
        if program is None:
            pytest.skip("docker-registry is not installed")
        place.mkdir()
        self._client = client
        self._said = place / "said.log"
        settings: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "info", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(place / "storage")}},
            "http": {"addr": "127.0.0.1:0"},
        }
        if login:
            (place / "htpasswd").write_text(_HTPASSWD)
            settings["auth"] = {"htpasswd": {"realm": "tests", "path": str(place / "htpasswd")}}
        # JSON is YAML, too.
        (place / "config.yml").write_text(json.dumps(settings))
        with self._said.open("wb") as stream:
            self._process = subprocess.Popen(
                [program, "serve", str(place / "config.yml")], cwd=place, stdin=subprocess.DEVNULL,
                stdout=stream, stderr=stream,
            )  # fmt: skip
        try:
            #: host and port, as the beginning of an image's name
            self.address = str(until(self._listens_at, "a registry that listens"))
        except AssertionError as failure:
            self._end()
            raise AssertionError(f"{failure}\n{self._said.read_text()}") from None

    def publish(self, source: str, name: str, tag: str) -> str:
        """Push an image that the engine has under a name of this registry; the engine forgets that name again.

        Returns its full name.
        """
        full = f"{self.address}/{name}:{tag}"
        self._client.tag(source, f"{self.address}/{name}", tag)
        login = {"username": USER, "password": PASSWORD}
        for line in self._client.push(full, stream=True, decode=True, auth_config=login):
            assert "error" not in line, line
        self._client.remove_image(full)
        return full

    def hang(self) -> None:
        """Have it accept connections and answer none."""
        pause_process(self._process.pid)

    def is_asked(self) -> bool:
        """Whether somebody is connected to it."""
        port, established = f":{int(self.address.rpartition(':')[2]):04X}", "01"
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return any(row[1].endswith(port) and row[3] == established for row in rows)

    def wake(self) -> None:
        """Have it answer again."""
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it, and have the engine forget every name of it."""
        for image in self._client.images(all=True):
            names = [*(image.get("RepoTags") or ()), *(image.get("RepoDigests") or ())]
            for name in names:
                if name.startswith(f"{self.address}/"):
                    # The last tag takes its digest along.
                    with suppress(Exception):
                        self._client.remove_image(name, force=True)
        self._end()

    def _end(self) -> None:
        self._process.kill()
        self._process.wait(PATIENCE)

    def _listens_at(self) -> str | None:
        assert self._process.poll() is None, "it has ended"
        found = re.search(r"listening on (127\.0\.0\.1:\d+)", self._said.read_text())
        return found[1] if found else None


@contextmanager
def serving(place: Path, client: Any, *, login: bool = False) -> Iterator[Registry]:
    """A registry that answers while inside; its files are at `place`."""
    registry = Registry(place, client, login=login)
    try:
        yield registry
    finally:
        registry.close()
