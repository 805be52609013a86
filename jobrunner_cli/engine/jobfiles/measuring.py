"""How much is below a directory, whoever made it."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

from jobrunner_cli.engine.jobfiles.copying import file_errors
from jobrunner_cli.engine.jobfiles.walk import held, open_trusted, walk

#: Characters of a path beyond which nothing is counted any more.
_LONGEST_PATH = 1 << 15


def size_below(directory: Path) -> int:
    """Bytes of the regular files below a directory; links are not followed. 0 if there is none. Raises JobFilesError."""
    total = 0
    with file_errors(f"look through {directory}"):
        try:
            root = open_trusted(directory)
        except (FileNotFoundError, NotADirectoryError):
            return 0
        with held(root):
            for entry in walk(root, stop=threading.Event(), longest_path=_LONGEST_PATH):
                try:
                    info = None if entry.item is None else entry.item.stat(follow_symlinks=False)
                except FileNotFoundError:
                    # Removed at this moment by a job that ends.
                    continue
                if info is not None and stat.S_ISREG(info.st_mode):
                    total += info.st_size
    return total
