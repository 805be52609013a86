"""The two privacy stores of a workspace: their directories, and safe steps in them.

Stores hold regular files only. What is written there is written beside its place first and then renamed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from jobrunner_cli.engine.errors import JobFilesError
from jobrunner_cli.engine.jobfiles.copying import make_directories
from jobrunner_cli.engine.jobfiles.offload import MANY, can_force_file_system, force_file_system
from jobrunner_cli.engine.jobfiles.removal import remove_tree
from jobrunner_cli.engine.jobfiles.walk import descend, held, printable, split_path

#: The directory in a workspace's directories that is ours: manifest, logs, staging.
METADATA = "metadata"
STAGING = (METADATA, ".staging")
#: Ends the name of the file that says why a file was held back, in the medium privacy store.
REASON_SUFFIX = ".txt"

#: The privacy level whose outputs also go to the medium privacy store.
RELEASED_LEVEL = "moderately_sensitive"

_LOCK = ".manifest.lock"
#: What is said of a file that is not there, or whose name (with the reason's suffix) can be no file's.
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceStores:
    """Where the outputs of a workspace are."""

    workspace: str
    #: the workspace's directory in the high privacy store
    high: Path
    #: the workspace's directory in the medium privacy store
    medium: Path


def may_be_output(path: str) -> bool:
    """Whether an output could be stored there: manifests and rows come from other programs, too, and may have anything."""
    try:
        os.fsencode(path)
        return split_path(path)[0].casefold() != METADATA
    except (JobFilesError, UnicodeEncodeError):
        return False


def staging_parts(job_id: str) -> tuple[str, ...]:
    """The directory below a store's where a job's files wait for their place."""
    return (*STAGING, f"os-job-{job_id}")


@contextmanager
def workspace_lock(stores: WorkspaceStores) -> Iterator[None]:
    """Held by whoever changes the manifest, or the files that it tells of; between processes and between threads.

    Who holds it must not ask for it again. Raises OSError.
    """
    with held(make_directories(stores.medium / METADATA, durable=True)) as parent:
        handle = os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666, dir_fd=parent)
        with held(handle):
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


class Store:
    """One open store of a workspace. It notes which directories were changed, and forces them to the disk at the end.

    Every method raises OSError; `path` is that of an output below the workspace's directory.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._root = make_directories(directory, durable=True)
        # Outputs come sorted, so that most have the parent of the one before.
        self._above: tuple[str, ...] = ()
        self._parent = os.dup(self._root)
        self._way: tuple[str, ...] = ()
        self._changed: set[tuple[str, ...]] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._parent)
        os.close(self._root)

    def open_existing(self, parts: tuple[str, ...]) -> int:
        """A handle of a directory of the store."""
        return descend(self._root, parts)

    def open(self, parts: tuple[str, ...]) -> int:
        """A handle of a directory of the store, made if absent."""
        try:
            return descend(self._root, parts)
        except FileNotFoundError:
            self._note_made(parts)
            return descend(self._root, parts, make=True)

    def require_way(self, path: str) -> None:
        """Check that no link stands where a directory on the way to an output has to be. Raises JobFilesError.

        By construction there is none; an operator may have made one, and following it could lead out of the store.
        """
        *above, _ = split_path(path)
        if tuple(above) in {self._above, self._way}:
            return
        self._way = tuple(above)
        try:
            self._go_to(self._way)
        except OSError as error:
            if error.errno not in _NOT_THERE:
                raise
            link = self._first_link(above)
            if link is not None:
                msg = f"{self._directory / link} is a link, and {printable(path)} would be stored behind it"
                raise JobFilesError(msg, hint="put a directory in its place") from error

    def move_in(self, staging: int, name: str, path: str, *, over_directory: bool = True) -> bool:
        """Put a staged file in its place; false if it is no longer staged, which means that it was moved before.

        What else stands in its way is removed: a path has one owner, and that is the newest. Without `over_directory` a
        directory stays, and the file staged.
        """
        *above, last = split_path(path)
        try:
            os.stat(name, dir_fd=staging, follow_symlinks=False)
        except FileNotFoundError:
            return False
        self._make_way_to(tuple(above))
        try:
            os.rename(name, last, src_dir_fd=staging, dst_dir_fd=self._parent)
        except IsADirectoryError:
            if not over_directory:
                return True
            remove_tree(self._parent, last)
            os.rename(name, last, src_dir_fd=staging, dst_dir_fd=self._parent)
        self._changed.add(tuple(above))
        return True

    def has(self, path: str) -> bool:
        """Whether there is a regular file."""
        return self.look_at(path) is not None

    def look_at(self, path: str) -> os.stat_result | None:
        """What the system says of a regular file; None if there is none."""
        *above, last = split_path(path)
        try:
            self._go_to(tuple(above))
            info = os.stat(last, dir_fd=self._parent, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NOT_THERE:
                raise
            return None
        return info if stat.S_ISREG(info.st_mode) else None

    def is_obstructed(self, path: str) -> bool:
        """Whether there is a directory in the place of a file, or a file in that of a directory on the way to it."""
        *above, last = split_path(path)
        try:
            self._go_to(tuple(above))
            return stat.S_ISDIR(os.stat(last, dir_fd=self._parent, follow_symlinks=False).st_mode)
        except OSError as error:
            if error.errno not in _NOT_THERE:
                raise
            return error.errno == errno.ENOTDIR

    def unlink(self, path: str) -> None:
        """Remove a file. Absent is fine."""
        *above, last = split_path(path)
        try:
            self._go_to(tuple(above))
            os.unlink(last, dir_fd=self._parent)
        except OSError as error:
            if error.errno not in _NOT_THERE and error.errno != errno.EISDIR:
                raise
            return
        self._changed.add(tuple(above))

    def note(self, path: str) -> None:
        """Count a file's directory, and those above it, among the changed: an earlier try may not have forced them."""
        *above, _ = split_path(path)
        self._changed.update(tuple(above[:depth]) for depth in range(len(above) + 1))

    def force(self) -> None:
        """Force the directories that were changed to the disk."""
        if len(self._changed) >= MANY and can_force_file_system():
            force_file_system(self._root)
            self._changed.clear()
        for parts in sorted(self._changed):
            with suppress(FileNotFoundError, NotADirectoryError), held(descend(self._root, parts)) as handle:
                os.fsync(handle)
        self._changed.clear()

    def forget_changes(self) -> None:
        """The whole file system was forced to the disk."""
        self._changed.clear()

    def _go_to(self, above: tuple[str, ...]) -> None:
        if above != self._above:
            self._be_at(above, descend(self._root, above))

    def _make_way_to(self, above: tuple[str, ...]) -> None:
        try:
            self._go_to(above)
        except OSError as error:
            if error.errno not in _NOT_THERE:
                raise
            self._note_made(above)
            self._be_at(above, descend(self._root, above, make=True, replace_files=True))

    def _note_made(self, parts: tuple[str, ...]) -> None:
        """Count those directories among the changed in which one on the way is about to be made."""
        depth = len(parts)
        while depth:
            depth -= 1
            self._changed.add(parts[:depth])
            with suppress(OSError):
                os.close(descend(self._root, parts[:depth]))
                return

    def _be_at(self, above: tuple[str, ...], parent: int) -> None:
        os.close(self._parent)
        self._above, self._parent = above, parent

    def _first_link(self, above: list[str]) -> str | None:
        for depth, name in enumerate(above):
            try:
                with held(descend(self._root, above[:depth])) as parent:
                    if stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                        return "/".join(above[: depth + 1])
            except OSError:
                return None
        return None
