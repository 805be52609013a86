"""A commit's tree, read from a mirror's objects as they are: no checkout, no filters, no attributes, no submodules."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobrunner_cli.engine.errors import GitError
from jobrunner_cli.engine.study.git import Git, GitStream
from jobrunner_cli.engine.work import EntryKind, TreeEntry

#: More entries than any study has; a few objects of git can stand for billions of files.
MOST_ENTRIES = 250_000

#: Bytes of one tree, and of all, that are kept in memory.
TREE_CACHE_BYTES = 8 * 1024 * 1024
CACHE_BYTES = 32 * 1024 * 1024

#: Bytes that an entry costs in memory besides its path and content, roughly.
_ENTRY_OVERHEAD = 400

_CHUNK = 256 * 1024

_KINDS = {
    b"100644": EntryKind.FILE,
    b"100664": EntryKind.FILE,
    b"100755": EntryKind.EXECUTABLE,
    b"120000": EntryKind.LINK,
    b"160000": EntryKind.SUBMODULE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedEntry:
    """One entry of a tree, without its content."""

    path: bytes
    kind: EntryKind
    #: bytes of content; 0 for a submodule
    size: int
    #: the name of its object, hex
    object_id: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldTree:
    """A whole tree in memory."""

    entries: tuple[ListedEntry, ...]
    #: object name -> content
    contents: dict[bytes, bytes]
    #: bytes that it takes up, roughly
    cost: int


class TreeCache:
    """The trees that were read last, up to a number of bytes; safe to share between threads."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._trees: OrderedDict[tuple[str, str], HeldTree] = OrderedDict()

    def get(self, key: tuple[str, str]) -> HeldTree | None:
        """The tree of this mirror and commit, if it is held."""
        with self._lock:
            tree = self._trees.get(key)
            if tree is not None:
                self._trees.move_to_end(key)
            return tree

    def put(self, key: tuple[str, str], tree: HeldTree) -> None:
        """Hold this tree, at the cost of those that were not read for longest."""
        with self._lock:
            self._trees[key] = tree
            self._trees.move_to_end(key)
            while sum(held.cost for held in self._trees.values()) > self._limit:
                self._trees.popitem(last=False)


class MirrorTree:
    """The tree of a commit that a mirror holds; each `read` begins anew. `repo` is for messages."""

    def __init__(self, *, git: Git, git_dir: Path, repo: str, commit: str, cache: TreeCache) -> None:
        self._git = git
        self._git_dir = git_dir
        self._repo = repo
        self._commit = commit
        self._cache = cache

    @property
    def commit(self) -> str:
        """The full SHA of the commit."""
        return self._commit

    def read(self) -> Iterator[TreeEntry]:
        """Every entry, in git's order; an entry's content is there until the next one is asked for.

        Raises GitError if the mirror is damaged, or if the tree has more than MOST_ENTRIES entries.
        """
        held = self._held()
        if held is not None:
            for entry in held.entries:
                yield _as_entry(entry, iter((held.contents[entry.object_id],)) if entry.size else iter(()))
            return
        with self._git.stream("cat-file", "--batch", git_dir=self._git_dir) as stream:
            for entry in self.entries():
                if entry.kind is EntryKind.SUBMODULE:
                    yield _as_entry(entry, iter(()))
                    continue
                chunks = self._content(stream, entry)
                yield _as_entry(entry, chunks)
                for _ in chunks:
                    pass

    def read_one(self, entry: ListedEntry) -> bytes:
        """The content of one of this tree's entries. Raises GitError."""
        held = self._cache.get(self._key)
        if held is not None:
            return held.contents[entry.object_id]
        with self._git.stream("cat-file", "--batch", git_dir=self._git_dir) as stream:
            return b"".join(self._content(stream, entry))

    def entries(self) -> Sequence[ListedEntry]:
        """Every entry without its content. Raises GitError."""
        held = self._cache.get(self._key)
        return held.entries if held is not None else list(self._list())

    @property
    def _key(self) -> tuple[str, str]:
        return (str(self._git_dir), self._commit)

    def _held(self) -> HeldTree | None:
        """The tree in memory, read now if it is small enough."""
        held = self._cache.get(self._key)
        if held is not None:
            return held
        entries = tuple(self._list())
        cost = sum(len(entry.path) + entry.size + _ENTRY_OVERHEAD for entry in entries)
        if cost > TREE_CACHE_BYTES:
            return None
        with self._git.stream("cat-file", "--batch", git_dir=self._git_dir) as stream:
            contents = {
                entry.object_id: b"".join(self._content(stream, entry))
                for entry in {entry.object_id: entry for entry in entries}.values()
                if entry.kind is not EntryKind.SUBMODULE
            }
        held = HeldTree(entries=entries, contents=contents, cost=cost)
        self._cache.put(self._key, held)
        return held

    def _list(self) -> Iterator[ListedEntry]:
        arguments = ("ls-tree", "-r", "-z", "-l", "--full-tree", "--end-of-options", self._commit)
        with self._git.stream(*arguments, git_dir=self._git_dir) as stream:
            count = 0
            rest = b""
            while chunk := stream.read(_CHUNK):
                *records, rest = (rest + chunk).split(b"\0")
                for record in records:
                    count += 1
                    if count > MOST_ENTRIES:
                        raise GitError(f"Commit {self._commit} of {self._repo} has more than {MOST_ENTRIES:,} files")
                    yield self._parsed(record)
            if rest or not stream.ended_well():
                raise self._damaged("its tree cannot be listed")

    def _parsed(self, record: bytes) -> ListedEntry:
        """One record of ls-tree: `mode type object size<TAB>path`; the size of a submodule is `-`."""
        head, _, path = record.partition(b"\t")
        fields = head.split()
        kind = _KINDS.get(fields[0]) if len(fields) == 4 else None
        if kind is None:
            raise self._damaged("its tree has an entry of an unknown kind")
        if kind is EntryKind.SUBMODULE:
            return ListedEntry(path=path, kind=kind, size=0, object_id=fields[2])
        if not fields[3].isdigit():
            raise self._damaged("a file's content is missing")
        return ListedEntry(path=path, kind=kind, size=int(fields[3]), object_id=fields[2])

    def _content(self, stream: GitStream, entry: ListedEntry) -> Iterator[bytes]:
        stream.ask(entry.object_id)
        if stream.read_line().split() != [entry.object_id, b"blob", b"%d" % entry.size]:
            raise self._damaged("a file's content is missing")
        left = entry.size
        while left:
            chunk = stream.read(min(left, _CHUNK))
            if not chunk:
                raise self._damaged("a file's content is cut short")
            left -= len(chunk)
            yield chunk
        stream.read(1)

    def _damaged(self, how: str) -> GitError:
        return GitError(
            f"Cannot read commit {self._commit} of {self._repo}: {how}",
            hint=f"Remove the mirror {self._git_dir}: it is a copy, and what is needed is fetched again.",
        )


def _as_entry(entry: ListedEntry, chunks: Iterator[bytes]) -> TreeEntry:
    return TreeEntry(path=entry.path, kind=entry.kind, size=entry.size, chunks=chunks)
