"""Opening many files below an untrusted directory: neighbours share the way down to their directory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

from jobrunner_cli.engine.jobfiles.walk import Descent, RefusedFileError, open_inside, open_regular, split_path


class FilesInside:
    """Opens regular files below a directory as `open_inside` does, one after the other."""

    def __init__(self, root: int, *, root_names: Sequence[str] = ()) -> None:
        self._root = root
        self._root_names = root_names
        self._above: list[str] | None = None
        self._parent: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    def open(self, path: str) -> tuple[int, os.stat_result]:
        """A handle for reading a file, and what `fstat` says of it. Raises RefusedFileError with the reason."""
        *above, name = split_path(path)
        if above != self._above:
            self._go_to(above)
        if self._parent is not None:
            # What fails here is a link that may lead to a file, or something whose refusal has to be worded.
            with suppress(RefusedFileError, OSError):
                return open_regular(self._parent, name)
        return open_inside(self._root, path, root_names=self._root_names)

    def _go_to(self, above: list[str]) -> None:
        """Hold the directory open, if the way to it is plain."""
        self._leave()
        self._above = above
        with suppress(RefusedFileError, OSError), Descent(self._root) as descent:
            for name in above:
                descent.enter(name)
            self._parent = os.dup(descent.handle)

    def _leave(self) -> None:
        if self._parent is not None:
            os.close(self._parent)
        self._parent = None
