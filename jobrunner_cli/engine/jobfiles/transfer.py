"""A job's working copy on its way to an engine elsewhere: what is laid out, as a tar stream, and what is known to be there."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from jobrunner_cli.engine.errors import JobFilesError
from jobrunner_cli.engine.jobfiles.copying import CHUNK, file_errors, read_small, write_small
from jobrunner_cli.engine.jobfiles.layout import TIMESTAMP_FILE, JobDirectory, laid_out_inputs
from jobrunner_cli.engine.jobfiles.removal import remove_tree
from jobrunner_cli.engine.jobfiles.tarstream import END, TarEntry, TarKind, header, padding
from jobrunner_cli.engine.jobfiles.walk import (
    descend,
    held,
    look,
    open_directory,
    open_regular,
    printable,
    split_path,
    walk,
)

#: Characters of a path: more than any that was laid out.
_LONGEST_PATH = 1 << 16
#: Bytes that go over the wire at once.
_PIECE = 1 << 16
#: The record of what was sent: two lines.
_SENT = "sent"


def packed(directory: JobDirectory, *, user: tuple[int, int], stop: threading.Event) -> Iterator[bytes]:
    """The whole working copy, everything in it belonging to `user` (user and group id); links are kept as links.

    Raises JobFilesError, Stopped.
    """
    return _gathered(_all_entries(directory, user, stop))


def _all_entries(directory: JobDirectory, user: tuple[int, int], stop: threading.Event) -> Iterator[bytes]:
    with _reading(directory) as root:
        for entry in walk(root, stop=stop, longest_path=_LONGEST_PATH):
            if entry.item is None:
                msg = f"{printable(entry.path)!r} cannot be sent to the engine: {entry.barrier}"
                raise JobFilesError(msg)
            yield from _entry(entry.parent, entry.name, entry.path, user, stop)
    yield END


def packed_inputs(directory: JobDirectory, *, user: tuple[int, int], stop: threading.Event) -> Iterator[bytes]:
    """What preparing laid out over the code: the inputs, and the old tools' marker.

    The directories above each come before it, so that what the code had in their stead is replaced, as here. Raises
    JobFilesError, Stopped.
    """
    return _gathered(_input_entries(directory, user, stop))


def _input_entries(directory: JobDirectory, user: tuple[int, int], stop: threading.Event) -> Iterator[bytes]:
    done: set[str] = set()
    paths = [*laid_out_inputs(directory), TIMESTAMP_FILE]
    with _reading(directory) as root:
        for path in paths:
            parts = split_path(path)
            for depth in range(len(parts)):
                name = "/".join(parts[: depth + 1])
                if name not in done:
                    done.add(name)
                    with held(descend(root, parts[:depth])) as parent:
                        yield from _entry(parent, parts[depth], name, user, stop)
    yield END


def sent(directory: JobDirectory) -> tuple[str, str] | None:
    """What was last recorded by `record_sent`; None if nothing is known. Raises JobFilesError."""
    with file_errors("read what was sent to the engine"):
        try:
            control = open_directory(directory.control)
        except FileNotFoundError:
            return None
        with held(control):
            told = read_small(control, _SENT)
    words = (told or b"").decode("ascii", "replace").split("\n")
    return (words[0], words[1]) if len(words) == 3 else None


def record_sent(directory: JobDirectory, copy_id: str, what: str) -> None:
    """Record what the working copy at the engine, which goes by this id, holds now. Raises JobFilesError."""
    with file_errors("record what was sent to the engine"), held(open_directory(directory.control)) as control:
        write_small(control, _SENT, f"{copy_id}\n{what}\n".encode(), durable=False)


def forget_sent(directory: JobDirectory) -> None:
    """Record that nobody knows what the working copy at the engine holds. Raises JobFilesError."""
    with file_errors("record what was sent to the engine"), held(open_directory(directory.control)) as control:
        remove_tree(control, _SENT)


@contextmanager
def _reading(directory: JobDirectory) -> Iterator[int]:
    with file_errors("send the job's files to the engine"), held(open_directory(directory.work)) as root:
        yield root


def _entry(parent: int, name: str, path: str, user: tuple[int, int], stop: threading.Event) -> Iterator[bytes]:
    """One entry with its content."""
    info = os.stat(name, dir_fd=parent, follow_symlinks=False)
    about = TarEntry(
        name=path, kind=TarKind.FILE, mode=info.st_mode, uid=user[0], gid=user[1], mtime_ns=info.st_mtime_ns
    )
    if stat.S_ISDIR(info.st_mode):
        yield header(replace(about, name=path + "/", kind=TarKind.DIRECTORY))
    elif stat.S_ISLNK(info.st_mode):
        yield header(replace(about, kind=TarKind.LINK, target=os.readlink(name, dir_fd=parent)))
    else:
        handle, info = open_regular(parent, name)
        with held(handle):
            yield header(replace(about, size=info.st_size))
            left = info.st_size
            while left:
                look(stop)
                data = os.read(handle, min(CHUNK, left))
                if not data:
                    msg = f"{printable(path)!r} was cut while it was sent to the engine"
                    raise JobFilesError(msg)
                left -= len(data)
                yield data
        yield padding(info.st_size)


def _gathered(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in fewer pieces: each of them is a call of the system."""
    held_back = bytearray()
    for piece in pieces:
        held_back += piece
        if len(held_back) >= _PIECE:
            yield bytes(held_back)
            held_back.clear()
    if held_back:
        yield bytes(held_back)
