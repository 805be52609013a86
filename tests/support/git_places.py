"""What tests of git have in common: the token, the calls that go to a server, and a recorder of every git that is started."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from jobrunner_cli.engine.study.repository import Repositories
from jobrunner_cli.engine.work import CodeTree, EntryKind
from support.git_server import GitServer

TOKEN = "very-secret-token"
LOGIN = f"jobrunner-tpp:{TOKEN}"

#: A commit that no repository has.
ABSENT = "0123456789" * 4

#: Everything that asks a server for something.
CALLS: tuple[Callable[[Repositories, str, str], object], ...] = (
    lambda repositories, url, commit: repositories.resolve(url, "main"),
    lambda repositories, url, commit: repositories.ensure_commit(url, commit),
    lambda repositories, url, commit: repositories.is_reachable(url, commit, "main"),
)


def trust(monkeypatch: pytest.MonkeyPatch, *servers: GitServer) -> None:
    """Let git accept the certificates of these servers, and no other one, and reach them directly."""
    bundle = servers[0].certificate.with_name("trusted.pem")
    bundle.write_bytes(b"".join(server.certificate.read_bytes() for server in servers))
    monkeypatch.setenv("GIT_SSL_CAINFO", str(bundle))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def contents(tree: CodeTree) -> dict[bytes, tuple[EntryKind, bytes]]:
    """Path -> kind and content of everything in a tree."""
    return {entry.path: (entry.kind, b"".join(entry.chunks)) for entry in tree.read()}


def git_is_gone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let there be no git on this machine."""
    monkeypatch.setenv("PATH", str(tmp_path / "no-programs-here"))


class Recorder:
    """Stands before git, and before the programs that git itself starts, and writes down what each is called with."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._record = directory / "record"
        self._record.parent.mkdir()
        real = Path(_output("git", "--exec-path"))
        programs, helpers = directory / "bin", directory / "exec"
        programs.mkdir()
        helpers.mkdir()
        for path in real.iterdir():
            (helpers / path.name).symlink_to(path)
        self._wrap(programs / "git", Path(_output("sh", "-c", "command -v git")))
        for name in ("git", "git-remote-http", "git-remote-https"):
            self._wrap(helpers / name, real / name)
        monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setenv("GIT_EXEC_PATH", str(helpers))

    def _wrap(self, place: Path, real: Path) -> None:
        place.unlink(missing_ok=True)
        record = shlex.quote(str(self._record))
        place.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "$*" "$(tr "\\0" " " < /proc/$$/cmdline)" >> {record}\n'
            f'exec {shlex.quote(str(real))} "$@"\n'
        )
        place.chmod(0o755)

    def text(self) -> str:
        """Every argument list so far."""
        return self._record.read_text() if self._record.exists() else ""


def _output(*words: str) -> str:
    return subprocess.run(words, capture_output=True, check=True, text=True).stdout.strip()
