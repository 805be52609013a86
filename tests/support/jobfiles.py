"""What tests of job files share: trees of hostile commits, a job with its stores, children that are killed for real."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from jobrunner_cli.engine.jobfiles import layout, manifest, matching, publish
from jobrunner_cli.engine.jobfiles.removal import remove_tree
from jobrunner_cli.engine.work import EntryKind, StoredOutput, TreeEntry
from support.disks import unmount

COMMIT = "c0ffee" + "0" * 34
LIMITS = publish.Level4Limits(max_bytes=16 << 20, max_csv_rows=5000)
NEVER = threading.Event()

#: What the interpreter announces before it asks the system to change a file or a directory.
STEPS = frozenset(
    {
        "open",
        "os.chmod",
        "os.chown",
        "os.mkdir",
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.symlink",
        "os.truncate",
        "os.utime",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedTree:
    """A commit's tree with any entries, also those that git would not make: path -> kind and content."""

    entries: list[tuple[bytes, EntryKind, bytes]]
    commit: str = COMMIT

    def read(self) -> Iterator[TreeEntry]:
        for path, kind, content in self.entries:
            yield TreeEntry(path=path, kind=kind, size=len(content), chunks=iter([content] if content else []))


def tree_of(files: Mapping[str, str], *, commit: str = COMMIT) -> ListedTree:
    entries = [(path.encode(), EntryKind.FILE, text.encode()) for path, text in sorted(files.items())]
    return ListedTree(entries=entries, commit=commit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job's directory and the stores of its workspace, below a directory of the test's."""

    base: Path
    id: str = "job1"
    action: str = "make"
    levels: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def directory(self) -> layout.JobDirectory:
        return layout.JobDirectory.of(self.base / "volumes", self.id)

    @property
    def work(self) -> Path:
        return self.directory.work

    @property
    def stores(self) -> publish.WorkspaceStores:
        return publish.WorkspaceStores(
            workspace="ws", high=self.base / "high/workspaces/ws", medium=self.base / "medium/workspaces/ws"
        )

    @property
    def origin(self) -> manifest.Origin:
        return manifest.Origin(job_id=self.id, job_request="r", action=self.action, repo="repo", commit="c")

    @property
    def high(self) -> Path:
        return self.stores.high

    @property
    def medium(self) -> Path:
        return self.stores.medium

    def lay_out(self, files: Mapping[str, str] | None = None) -> None:
        layout.lay_out_code(self.directory, tree_of(files or {}), owner=None, stop=NEVER)

    def make(self, path: str, content: str | bytes = "x") -> Path:
        """What the job's command does: write a file into the working copy."""
        file = self.work / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    def match(self, **patterns: str | list[str]) -> matching.Matched:
        """Match patterns, given by level; short names for the levels are enough."""
        names = {"high": "highly_sensitive", "moderate": "moderately_sensitive", "minimal": "minimally_sensitive"}
        spec = {
            names[level]: {f"o{n}": text for n, text in enumerate([texts] if isinstance(texts, str) else texts)}
            for level, texts in patterns.items()
        }
        return matching.match(self.directory, spec, stop=NEVER)

    def stage(self, limits: publish.Level4Limits = LIMITS, **patterns: str | list[str]) -> tuple[StoredOutput, ...]:
        matched = self.match(**patterns)
        return publish.stage(self.directory, matched, self.stores, job_id=self.id, limits=limits, stop=NEVER)

    def publish(self, limits: publish.Level4Limits = LIMITS, **patterns: str | list[str]) -> tuple[StoredOutput, ...]:
        outputs = self.stage(limits, **patterns)
        self.put_in_place(outputs, remove_obsolete=False)
        return outputs

    def put_in_place(self, outputs: Sequence[StoredOutput], *, remove_obsolete: bool = True) -> tuple[str, ...]:
        return publish.publish(outputs, self.stores, self.origin, remove_obsolete=remove_obsolete)


def files_below(directory: Path) -> dict[str, bytes]:
    """Path -> content of every file below a directory, our own administration left out."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.relative_to(directory).parts[0] != "metadata"
    }


def make_socket(path: Path) -> None:
    """A UNIX socket at a path, however long that is."""
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(here)


def make_deep(directory: Path, levels: int, name: str = "d") -> None:
    """Directories in one another, far deeper than any path can say."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=handle)
        below = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(os.open("bottom.txt", os.O_CREAT | os.O_WRONLY, dir_fd=handle))
    os.close(handle)


def killed_at(step: int, act: Callable[[], object]) -> bool:
    """Do something in a child that is killed, by SIGKILL, just before its `step`-th change of the file system.

    False if it ended before it came to that many. Fails if it raised.
    """
    child = os.fork()
    if child == 0:
        seen = 0

        def count(event: str, _: object) -> None:
            nonlocal seen
            if event in STEPS:
                seen += 1
                if seen == step:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(count)
            act()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def as_nobody(act: Callable[[Path], object]) -> None:
    """Do something in a child without privileges, with a directory that belongs to it; what fails there fails here."""
    base = Path(tempfile.mkdtemp(prefix="jobrunner-nobody-"))
    if os.geteuid() == 0:
        os.chown(base, 65534, 65534)
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            act(base)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    handle = os.open(base.parent, os.O_RDONLY)
    try:
        remove_tree(handle, base.name)
    finally:
        os.close(handle)
    assert os.waitstatus_to_exitcode(status) == 0


@contextmanager
def small_disk(base: Path, mebibytes: int) -> Iterator[Path]:
    """A file system of that size, which only root can have made."""
    place = base / "small-disk"
    place.mkdir()
    options = f"size={mebibytes}m"
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"a small file system cannot be made here: {made.stderr.decode().strip()}")
    try:
        yield place
    finally:
        unmount(place)
