"""Real git repositories with a study in them."""

from __future__ import annotations

import os
import subprocess
import textwrap
from collections.abc import Mapping
from pathlib import Path

from support.surroundings import GIT


class StudyRepository:
    """A study's repository with a working copy, on branch `main`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str) -> str:
        """Run git in the working copy, free of any configuration from outside, and return what it prints."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | GIT
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise AssertionError(f"git {' '.join(arguments)}: {done.stderr.decode(errors='replace')}")
        return done.stdout.decode(errors="surrogateescape").strip()

    def write(self, files: Mapping[str, str | bytes]) -> None:
        """Write files into the working copy; texts are dedented."""
        for name, content in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else textwrap.dedent(content).encode())

    def project(self, text: str) -> None:
        """Write project.yaml."""
        self.write({"project.yaml": text})

    def commit(self, message: str = "Change the study") -> str:
        """Commit all that is in the working copy (even if nothing changed) and return the commit's id."""
        self.git("add", "--all", "--force")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")
