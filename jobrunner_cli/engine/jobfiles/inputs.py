"""Copying inputs: files of the workspace into a working copy, over whatever the repository has there."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from jobrunner_cli.engine.errors import JobFilesError
from jobrunner_cli.engine.jobfiles.copying import copy_content, create, keep_times
from jobrunner_cli.engine.jobfiles.removal import remove_tree
from jobrunner_cli.engine.jobfiles.tally import Tally
from jobrunner_cli.engine.jobfiles.walk import Owner, descend, held, look, open_trusted, printable, split_path
from jobrunner_cli.engine.work import InputFile

_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO})
_READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class InputWriter:
    """Copies inputs, one after the other; neighbours share the way to their directories.

    `record` has path -> size and modification time in nanoseconds of what was written.
    """

    def __init__(
        self, workspace_dir: Path, target: int, *, owner: Owner, stop: threading.Event, tally: Tally | None = None
    ) -> None:
        self._workspace_dir = workspace_dir
        self._target = target
        self._owner = owner
        self._stop = stop
        self._tally = tally or Tally()
        self._source_place: _Place | None = None
        self._target_place: _Place | None = None
        self.record: dict[str, tuple[int, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for place in (self._source_place, self._target_place):
            if place is not None:
                place.close()

    def write_all(self, items: Iterable[InputFile]) -> None:
        """Copy these, after a look at whether they are all there.

        Raises JobFilesError for one that is not, naming it and its action, Stopped, OSError.
        """
        distinct = {item.path: item for item in items}.values()
        self._tally.begin("Laying out inputs", files=len(distinct), size=sum(map(self._size, distinct)))
        for item in distinct:
            look(self._stop)
            self._write(item)
            self._tally.finish_file()

    def _size(self, item: InputFile) -> int:
        look(self._stop)
        parent, name = self._find(item)
        try:
            return os.stat(name, dir_fd=parent, follow_symlinks=False).st_size
        except FileNotFoundError as error:
            raise _missing(item) from error

    def _write(self, item: InputFile) -> None:
        source, info = self._open(item)
        with held(source):
            parent, name = self._make_way(item.path)
            with held(self._create(parent, name)) as handle:
                copy_content(source, handle, info, stop=self._stop, advance=self._tally.advance)
                keep_times(handle, info)
                if self._owner is not None:
                    os.fchown(handle, *self._owner)
                copy = os.fstat(handle)
        self.record[item.path] = (copy.st_size, copy.st_mtime_ns)

    def _open(self, item: InputFile) -> tuple[int, os.stat_result]:
        parent, name = self._find(item)
        try:
            handle = os.open(name, _READING, dir_fd=parent)
        except OSError as error:
            if error.errno not in _NOT_THERE:
                raise
            raise _missing(item) from error
        info = os.fstat(handle)
        if not stat.S_ISREG(info.st_mode):
            os.close(handle)
            raise _missing(item)
        return handle, info

    def _find(self, item: InputFile) -> tuple[int, str]:
        """The directory in the workspace where an input is, and its name there."""
        *above, name = split_path(item.path)
        if self._source_place is None or self._source_place.above != above:
            try:
                with held(open_trusted(self._workspace_dir)) as root:
                    handle = descend(root, above)
            except OSError as error:
                if error.errno not in _NOT_THERE:
                    raise
                raise _missing(item) from error
            if self._source_place is not None:
                self._source_place.close()
            self._source_place = _Place(above, handle)
        return self._source_place.handle, name

    def _make_way(self, path: str) -> tuple[int, str]:
        """The directory in the working copy where an input goes, made if absent, and its name there."""
        *above, name = split_path(path)
        if self._target_place is None or self._target_place.above != above:
            handle = descend(self._target, above, make=True, owner=self._owner, replace_files=True, replace_links=True)
            if self._target_place is not None:
                self._target_place.close()
            self._target_place = _Place(above, handle)
        return self._target_place.handle, name

    @staticmethod
    def _create(parent: int, name: str) -> int:
        try:
            return create(parent, name, mode=0o644)
        except FileExistsError:
            remove_tree(parent, name)
            return create(parent, name, mode=0o644)


class _Place:
    """An open directory, and the names on the way to it."""

    def __init__(self, above: list[str], handle: int) -> None:
        self.above = above
        self.handle = handle

    def close(self) -> None:
        os.close(self.handle)


def _missing(item: InputFile) -> JobFilesError:
    name = printable(item.path)
    msg = f"the input {name}, an output of action {item.action}, is not in the workspace"
    return JobFilesError(msg, hint=f"run {item.action} again")
