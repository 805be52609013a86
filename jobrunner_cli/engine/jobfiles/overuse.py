"""Jobs that take up too much: measuring a job's directory, and a note in it that survives the runner."""

from __future__ import annotations

import threading

from jobrunner_cli.engine.jobfiles.copying import allocated, file_errors, read_small, write_small
from jobrunner_cli.engine.jobfiles.layout import JobDirectory
from jobrunner_cli.engine.jobfiles.walk import held, open_directory, walk
from jobrunner_cli.engine.work import size_text

_NOTE = "overuse"
#: Longer paths are not entered: each level that is entered is kept in mind with its whole path.
_LONGEST_PATH = 1 << 16


def excess(directory: JobDirectory, limit: int, *, stop: threading.Event) -> str | None:
    """Why a job is to be ended for what is below its directory: it takes up more than so many bytes of disk, or it is
    nested so deeply that nobody would find out; None if neither.

    Holes are not counted, and a file of several names is counted once. Files that nobody can name any more, because they
    were removed while they were open, and what is in directories that the runner may not read, are not seen. Raises
    JobFilesError or OSError if something was moved while it was looked at, Stopped.
    """
    used = 0
    seen: set[tuple[int, int]] = set()
    with file_errors("measure the job's directory"):
        try:
            root = open_directory(directory.root)
        except FileNotFoundError:
            return None
        with held(root):
            for entry in walk(root, stop=stop, longest_path=_LONGEST_PATH):
                if entry.item is None:
                    if len(entry.path) > _LONGEST_PATH:
                        return "it nested directories too deeply for the disk that it uses to be measured"
                    continue
                try:
                    info = entry.item.stat(follow_symlinks=False)
                except OSError:
                    # It was removed at this moment.
                    continue
                if info.st_nlink > 1 and not entry.item.is_dir(follow_symlinks=False):
                    if (info.st_dev, info.st_ino) in seen:
                        continue
                    seen.add((info.st_dev, info.st_ino))
                used += allocated(info)
                if used > limit:
                    return f"it used more than {size_text(limit)} of disk, the limit for a job's directory"
    return None


def note(directory: JobDirectory, reason: str) -> None:
    """Note that a job is ended because it took up too much disk or time; before it is, lest its end be taken for its own."""
    with file_errors("note that the job takes up too much"), held(open_directory(directory.control)) as control:
        write_small(control, _NOTE, reason.encode(), durable=False)


def noted(directory: JobDirectory) -> str | None:
    """Why a job was ended, if it took up too much. Raises JobFilesError."""
    with file_errors("read the job's notes"):
        try:
            control = open_directory(directory.control)
        except FileNotFoundError:
            return None
        with held(control):
            found = read_small(control, _NOTE)
    return None if found is None else found.decode()
