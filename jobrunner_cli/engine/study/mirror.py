"""A mirror: the bare repository that holds what was fetched of one study repository, and what makes it crash-safe.

Only a tag `fetched/{sha}` makes a commit complete (section 6). Whoever changes a mirror holds its lock, and so does
every git process that works for him: the lock's descriptor is handed down, hence a git that outlives a killed runner
still keeps others out. So whoever has the lock knows that every temporary and lock file in the mirror is a leftover.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobrunner_cli.engine.errors import GitError
from jobrunner_cli.engine.study.git import Git, GitDiskFullError, GitInterruptedError, GitResult, Trouble

#: Bytes of a file that holds a ref.
_REF_SIZE = 41

#: Packs beyond which a mirror's small ones are put together; each fetch adds one.
MANY_PACKS = 50

#: Seconds between two attempts to get a lock that another process holds: the first wait, and the longest.
_LOCK_WAITS = (0.01, 0.25)


class Mirror:
    """The files of one mirror below `repos_dir`: `{key}.git`, `{key}.history.git`, `{key}.lock`."""

    def __init__(self, repos_dir: Path, key: str) -> None:
        self.key = key
        #: holds the fetched commits with their files, each without its history
        self.git_dir = repos_dir / f"{key}.git"
        #: holds branches as bare chains of commits, without files
        self.history_dir = repos_dir / f"{key}.history.git"
        #: configuration under which a local repository is served
        self.serving_config = repos_dir / f"{key}.gitconfig"
        self._lock_file = repos_dir / f"{key}.lock"

    def has(self, commit: str) -> bool:
        """Whether the commit was fetched completely."""
        try:
            tagged = self._tag(commit).read_bytes()
        except OSError:
            return False
        return tagged.strip() == commit.encode()

    @contextmanager
    def locked(self, *, stop: threading.Event | None, timeout: float) -> Iterator[int]:
        """Hold the mirror's lock, all leftovers cleared; gives the descriptor that git processes must keep open.

        Raises GitInterruptedError when `stop` is set while waiting, GitError after `timeout` seconds.
        """
        try:
            self._lock_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unusable(self._lock_file, error) from None
        try:
            try:
                self._wait_for(lock, stop or threading.Event(), time.monotonic() + timeout)
                self._clear_leftovers()
            except OSError as error:
                raise _unusable(self.git_dir, error) from None
            yield lock
        finally:
            os.close(lock)

    def create(self, git: Git, directory: Path) -> None:
        """Make one of the two bare repositories unless it is there. Call it with the lock held."""
        if directory.exists():
            return
        draft = directory.with_suffix(".new")
        result = git.run("init", "--quiet", "--bare", "--template=", "--initial-branch=none", str(draft))
        if result.returncode != 0:
            raise _refused(f"Cannot make the mirror {directory}", result)
        try:
            draft.rename(directory)
        except OSError as error:
            raise _unusable(directory, error) from None

    def unmark(self, commit: str) -> None:
        """Remove a tag that does not count, so that it is not in the way of the right one."""
        self._tag(commit).unlink(missing_ok=True)

    def mark(self, git: Git, commit: str, lock: int) -> None:
        """Say that the commit was fetched completely."""
        result = git.run("update-ref", f"refs/tags/fetched/{commit}", commit, git_dir=self.git_dir, keep_open=(lock,))
        if result.returncode != 0:
            raise _refused(f"Cannot mark commit {commit} as fetched in {self.git_dir}", result)

    def put_packs_together(
        self, git: Git, directory: Path, lock: int, *, stop: threading.Event | None, timeout: float
    ) -> None:
        """Keep the number of packs small, which every read pays for; what goes wrong here is of no consequence."""
        packs = sum(1 for _ in directory.glob("objects/pack/*.pack"))
        if packs >= MANY_PACKS:
            git.run("repack", "-a", "-d", "-q", git_dir=directory, keep_open=(lock,), stop=stop, timeout=timeout)

    def remove(self) -> None:
        """Remove both repositories. Call it with the lock held.

        What is half removed goes by the name of a draft, so that nothing takes it for a mirror.
        """
        try:
            for directory in (self.git_dir, self.history_dir):
                draft = directory.with_suffix(".new")
                if directory.exists():
                    directory.rename(draft)
                    shutil.rmtree(draft)
            self.serving_config.unlink(missing_ok=True)
        except OSError as error:
            raise _unusable(self.git_dir, error) from None

    def _tag(self, commit: str) -> Path:
        return self.git_dir / "refs" / "tags" / "fetched" / commit

    def _wait_for(self, lock: int, stop: threading.Event, deadline: float) -> None:
        wait, longest = _LOCK_WAITS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise GitError(f"Another process keeps the mirror {self.git_dir} busy") from None
            if stop.wait(wait):
                raise GitInterruptedError("Git was interrupted, because the runner is stopping")
            wait = min(wait * 2, longest)

    def _clear_leftovers(self) -> None:
        """Remove what fetches that died left behind: half-made repositories, lock files, temporary packs."""
        for directory in (self.git_dir, self.history_dir):
            shutil.rmtree(directory.with_suffix(".new"), ignore_errors=True)
            for found in _leftovers(directory):
                if found.is_dir():
                    shutil.rmtree(found, ignore_errors=True)
                else:
                    found.unlink(missing_ok=True)


def _leftovers(directory: Path) -> Iterator[Path]:
    for pattern in ("*.lock", "shallow_*", "objects/tmp_*", "objects/??/tmp_obj_*"):
        yield from directory.glob(pattern)
    for pattern in ("tmp_*", ".tmp-*", "*.keep", "*.lock"):
        yield from (directory / "objects" / "pack").glob(pattern)
    # A ref that a power cut left empty or a lock file beside it: a whole one is a SHA and the end of the line.
    for ref in (directory / "refs").rglob("*"):
        if ref.is_file() and (ref.stat().st_size != _REF_SIZE or ref.suffix == ".lock"):
            yield ref


def _refused(what: str, result: GitResult) -> GitError:
    kind = GitDiskFullError if result.trouble is Trouble.DISK_FULL else GitError
    return kind(f"{what}: {result.reason}")


def _unusable(path: Path, error: OSError) -> GitError:
    kind = GitDiskFullError if error.errno in {errno.ENOSPC, errno.EDQUOT} else GitError
    return kind(f"Cannot use {path}: {error.strerror}", hint="Check the directory `repos` in WORKDIR.")
