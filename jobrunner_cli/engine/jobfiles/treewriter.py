"""Writing a commit's tree into an empty directory: exactly its entries, and never through or outside of anything."""

from __future__ import annotations

import errno
import os
import threading
from typing import Self

from jobrunner_cli.engine.errors import JobFilesError
from jobrunner_cli.engine.jobfiles.copying import create, write_all
from jobrunner_cli.engine.jobfiles.walk import Owner, descend, held, look, printable
from jobrunner_cli.engine.work import EntryKind, TreeEntry

#: Bytes of a link's target that the system takes (PATH_MAX less the final NUL), and of a path.
_LONGEST = 4095
#: What the system says of entries that contradict each other, or of names that it cannot hold.
_IMPOSSIBLE = frozenset(
    {errno.EEXIST, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EISDIR, errno.EINVAL, errno.ENOENT}
)


class TreeWriter:
    """Writes the entries of one commit, one after the other.

    `record` has path -> size and modification time in nanoseconds of what was written.
    """

    def __init__(self, root: int, *, commit: str, owner: Owner, stop: threading.Event) -> None:
        self._root = root
        self._commit = commit
        self._owner = owner
        self._stop = stop
        # Entries come in order, so that most are in the directory of the one before.
        self._above: tuple[str, ...] = ()
        self._parent = os.dup(root)
        self.record: dict[str, tuple[int, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._parent)

    def write(self, entry: TreeEntry) -> None:
        """Write an entry. Raises JobFilesError for one that cannot be part of a good tree, OSError, GitError."""
        *above, name = self._parts(entry.path)
        try:
            self._go_to(tuple(above))
            info = self._write_at(name, entry)
        except OSError as error:
            if error.errno not in _IMPOSSIBLE:
                raise
            raise self._refusal(entry.path, os.strerror(error.errno).lower()) from error
        if info is not None:
            self.record[os.fsdecode(entry.path)] = (info.st_size, info.st_mtime_ns)

    def _parts(self, path: bytes) -> list[str]:
        parts = os.fsdecode(path).split("/")
        if any(part in {"", ".", ".."} or "\0" in part for part in parts):
            raise self._refusal(path, "it leads out of the tree")
        if any(part.casefold() == ".git" for part in parts):
            raise self._refusal(path, "it would be git's own")
        if len(path) > _LONGEST:
            raise self._refusal(path, "it is too long")
        return parts

    def _go_to(self, above: tuple[str, ...]) -> None:
        if above == self._above:
            return
        parent = descend(self._root, above, make=True, owner=self._owner)
        os.close(self._parent)
        self._above, self._parent = above, parent

    def _write_at(self, name: str, entry: TreeEntry) -> os.stat_result | None:
        match entry.kind:
            case EntryKind.SUBMODULE:
                os.close(descend(self._parent, (name,), make=True, owner=self._owner))
                return None
            case EntryKind.LINK:
                return self._write_link(name, entry)
            case EntryKind.FILE | EntryKind.EXECUTABLE:
                return self._write_file(name, entry)

    def _write_file(self, name: str, entry: TreeEntry) -> os.stat_result:
        mode = 0o755 if entry.kind is EntryKind.EXECUTABLE else 0o644
        with held(create(self._parent, name, mode=mode)) as handle:
            for chunk in entry.chunks:
                look(self._stop)
                write_all(handle, chunk)
            if self._owner is not None:
                os.fchown(handle, *self._owner)
            info = os.fstat(handle)
        if info.st_size != entry.size:
            raise self._refusal(entry.path, f"{info.st_size} of its {entry.size} bytes came")
        return info

    def _write_link(self, name: str, entry: TreeEntry) -> os.stat_result:
        target = b""
        for chunk in entry.chunks:
            target += chunk
            if len(target) > _LONGEST:
                break
        if not target or len(target) > _LONGEST or b"\0" in target:
            raise self._refusal(entry.path, "it is a link without a possible target")
        os.symlink(target, os.fsencode(name), dir_fd=self._parent)
        if self._owner is not None:
            os.chown(name, *self._owner, dir_fd=self._parent, follow_symlinks=False)
        return os.stat(name, dir_fd=self._parent, follow_symlinks=False)

    def _refusal(self, path: bytes, why: str) -> JobFilesError:
        name = printable(os.fsdecode(path))
        msg = f"commit {self._commit} has {name!r}, which cannot be laid out: {why}"
        return JobFilesError(msg, hint="this tree was not made by git; correct the repository")
