"""Which files of a working copy are outputs: the patterns of an action against what its command left behind."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from jobrunner_cli.engine.errors import JobFilesError
from jobrunner_cli.engine.jobfiles.copying import allocated, file_errors
from jobrunner_cli.engine.jobfiles.layout import TIMESTAMP_FILE, JobDirectory, Record, laid_out
from jobrunner_cli.engine.jobfiles.removal import make_ours
from jobrunner_cli.engine.jobfiles.walk import (
    Entry,
    RefusedFileError,
    held,
    look,
    open_directory,
    open_inside,
    open_regular,
    printable,
    their_fault,
    walk,
)
from jobrunner_cli.engine.patterns import fits
from jobrunner_cli.engine.work import PRIVACY_LEVELS

#: Bytes of the longest path of an output: with the store's own path before it, other programs must be able to open it.
LONGEST_PATH = 3500
#: Outputs of a job, and characters of all their paths: the verdict and the manifest hold all of them, and so does memory.
MOST_OUTPUTS = 500_000
MOST_CHARACTERS = 1 << 26
#: How many unmatched and how many refused files are named.
MOST_NAMED = 100
#: Bytes of all outputs of a job that take up no disk in its working copy, holes and further links to a file: hashing a
#: terabyte of holes takes an hour, and each link becomes a copy in the store, whatever the limit of the job's directory.
MOST_BYTES_OF_NOTHING = 1 << 34

#: Bytes of holes that are not looked into.
_FEW_HOLES = 1 << 20
_STORES_OWN = "metadata"


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """What the patterns of an action found in its working copy."""

    #: path -> privacy level of each output, sorted by path
    outputs: Mapping[str, str]
    #: bytes of all outputs
    size: int
    #: patterns without an output, as declared
    unmatched_patterns: tuple[str, ...]
    #: printable names of files that the job made and no pattern matched: the first hundred
    unmatched_files: tuple[str, ...]
    #: how many more there are
    unmatched_files_more: int
    #: printable name -> why it was not taken, of what a pattern matched but may not be read: the first hundred
    refused: Mapping[str, str]
    #: how many more there are
    refused_more: int


def match(directory: JobDirectory, output_spec: Mapping[str, Mapping[str, str]], *, stop: threading.Event) -> Matched:
    """Match the patterns (privacy level -> output id -> pattern) against the working copy (section 5).

    `*` does not cross `/`. Raises JobFilesError, also for more outputs than a runner can keep in mind, Stopped.
    """
    search = _Search(output_spec, laid_out(directory), directory.root_names, stop)
    with file_errors("look for the outputs"), held(open_directory(directory.root)) as above:
        make_ours(above, directory.work.name)
        with held(open_directory(directory.work.name, above)) as root:
            for entry in walk(root, stop=stop, longest_path=LONGEST_PATH):
                search.see(root, entry)
    return search.result()


def selector(output_spec: Mapping[str, Mapping[str, str]]) -> Callable[[str], bool]:
    """What says of a path below the working copy whether one of the patterns matches it, whatever goes by that path."""
    patterns = [
        _Pattern(text, level).components for level in PRIVACY_LEVELS for text in output_spec.get(level, {}).values()
    ]

    def selects(path: str) -> bool:
        names = path.split("/")
        return any(len(each) == len(names) and all(map(fits, each, names)) for each in patterns)

    return selects


class _Pattern:
    """A pattern, split into components, and those at their `*`."""

    def __init__(self, text: str, level: str) -> None:
        self.text = text
        self.level = level
        self.components = [component.split("*") for component in text.split("/")]


class _Search:
    """What was found so far."""

    def __init__(
        self,
        output_spec: Mapping[str, Mapping[str, str]],
        record: Record,
        root_names: Sequence[str],
        stop: threading.Event,
    ) -> None:
        self._patterns = [
            _Pattern(text, level) for level in PRIVACY_LEVELS for text in output_spec.get(level, {}).values()
        ]
        self._record = record
        self._root_names = root_names
        self._stop = stop
        self._nothing_left = MOST_BYTES_OF_NOTHING
        #: inodes of files that a link led to
        self._linked: set[int] = set()
        self._directory: str | None = None
        self._here: list[_Pattern] = []
        self._through: list[_Pattern] = []
        self._outputs: dict[str, str] = {}
        self._size = self._characters = 0
        self._fulfilled: set[str] = set()
        self._unmatched = _FirstNames()
        self._refused = _FirstNames()

    def see(self, root: int, entry: Entry) -> None:
        """Take a name of the walk into account."""
        if entry.directory != self._directory:
            self._come_to(entry.directory)
        if entry.item is None:
            if any(fits(pattern.components[self._depth], entry.name) for pattern in self._through):
                self._refused.add(entry.path, entry.barrier or "")
            return
        matching = [pattern for pattern in self._here if fits(pattern.components[-1], entry.name)]
        is_directory = entry.item.is_dir(follow_symlinks=False)
        if matching:
            self._take(root, entry, matching)
        elif is_directory:
            return
        elif entry.item.is_symlink() and any(
            fits(pattern.components[self._depth], entry.name) for pattern in self._through
        ):
            self._refused.add(entry.path, "it is a link, and outputs are not looked for behind one")
        elif not self._was_laid_out(entry):
            self._unmatched.add(entry.path, "")

    def result(self) -> Matched:
        """Everything."""
        unfulfilled = [pattern.text for pattern in self._patterns if pattern.text not in self._fulfilled]
        return Matched(
            outputs=dict(sorted(self._outputs.items())),
            size=self._size,
            unmatched_patterns=tuple(dict.fromkeys(unfulfilled)),
            unmatched_files=tuple(self._unmatched.named()),
            unmatched_files_more=self._unmatched.more(),
            refused=self._refused.named(),
            refused_more=self._refused.more(),
        )

    def _come_to(self, directory: str) -> None:
        """Find the patterns that can match in a directory, and those that can below one in it."""
        names = directory.split("/") if directory else []
        depth = len(names)
        reaching = [
            pattern
            for pattern in self._patterns
            if len(pattern.components) > depth
            and all(fits(pieces, name) for pieces, name in zip(pattern.components, names, strict=False))
        ]
        self._directory = directory
        self._depth = depth
        self._here = [pattern for pattern in reaching if len(pattern.components) == depth + 1]
        self._through = [pattern for pattern in reaching if len(pattern.components) > depth + 1]

    def _take(self, root: int, entry: Entry, matching: list[_Pattern]) -> None:
        path = entry.path
        reason = _name_trouble(path) or self._file_trouble(root, entry, path)
        if reason is not None:
            self._refused.add(path, reason)
            return
        self._outputs[path] = matching[-1].level
        self._characters += len(path)
        if len(self._outputs) > MOST_OUTPUTS or self._characters > MOST_CHARACTERS:
            msg = f"its patterns match more files than can be stored ({len(self._outputs):,} of them were seen)"
            raise JobFilesError(msg, hint="have the action make fewer files, or call them by shorter names")
        self._fulfilled.update(pattern.text for pattern in matching)

    def _file_trouble(self, root: int, entry: Entry, path: str) -> str | None:
        assert entry.item is not None
        is_link = entry.item.is_symlink()
        try:
            if is_link:
                handle, info = open_inside(root, path, root_names=self._root_names)
            else:
                handle, info = open_regular(entry.parent, entry.name)
        except RefusedFileError as error:
            return error.message
        except OSError as error:
            return their_fault(error)
        with held(handle):
            if is_link and info.st_ino in self._linked:
                nothing, reason = info.st_size, "it is one of many links to a file that is too large for so many copies"
            else:
                nothing, reason = self._holes(handle, info), "it is sparse: too much of its size is holes"
        if nothing > self._nothing_left:
            return reason
        if is_link:
            self._linked.add(info.st_ino)
        self._nothing_left -= nothing
        self._size += info.st_size
        return None

    def _holes(self, handle: int, info: os.stat_result) -> int:
        if info.st_size - allocated(info) < _FEW_HOLES:
            return 0
        return _length_of_holes(handle, info.st_size, self._stop)

    def _was_laid_out(self, entry: Entry) -> bool:
        path = entry.path
        before = self._record.get(path)
        if before is None:
            return path == TIMESTAMP_FILE
        assert entry.item is not None
        try:
            info = entry.item.stat(follow_symlinks=False)
        except OSError:
            return True
        return tuple(before) == (info.st_size, info.st_mtime_ns)


def _length_of_holes(handle: int, size: int, stop: threading.Event) -> int:
    """Bytes of a file that were never written. What its file system merely packs is data."""
    holes = end = 0
    while end < size:
        look(stop)
        try:
            start = os.lseek(handle, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            start = size
        holes += min(start, size) - end
        end = os.lseek(handle, start, os.SEEK_HOLE) if start < size else size
    return holes


def _name_trouble(path: str) -> str | None:
    """Why a path cannot be an output's, whatever it is the path of."""
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    if len(encoded) > LONGEST_PATH:
        return "its path is too long"
    if path.split("/", 1)[0].casefold() == _STORES_OWN:
        return f"{_STORES_OWN} belongs to the store"
    return None


class _FirstNames:
    """The first so many names in the order of the alphabet, each with a reason, in bounded memory."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}
        self._seen = 0

    def add(self, path: str, reason: str) -> None:
        self._seen += 1
        self._reasons[path] = reason
        if len(self._reasons) > 10 * MOST_NAMED:
            self._reasons = dict(sorted(self._reasons.items())[:MOST_NAMED])

    def named(self) -> dict[str, str]:
        return {printable(path): reason for path, reason in sorted(self._reasons.items())[:MOST_NAMED]}

    def more(self) -> int:
        return self._seen - min(self._seen, MOST_NAMED)
