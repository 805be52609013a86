"""Laying out a job's directory: the code of a commit and the inputs in, and the whole of it away again.

    os-job-{id}/work/      the working copy, mounted into the container
    os-job-{id}/tmp/       the container's /tmp
    os-job-{id}/hosts      the container's /etc/hosts
    os-job-{id}/control/   markers and records, out of the job's reach

Markers carry the id of the machine's present boot. So they need not be forced to the disk: after a power cut, when the
files that they speak of may be torn, they no longer count, and what they stood for is done again.
"""

from __future__ import annotations

import functools
import json
import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from jobrunner_cli.engine import work
from jobrunner_cli.engine.errors import JobFilesError
from jobrunner_cli.engine.jobfiles.copying import (
    create,
    file_errors,
    is_full,
    make_directories,
    read_small,
    write_all,
    write_small,
)
from jobrunner_cli.engine.jobfiles.inputs import InputWriter
from jobrunner_cli.engine.jobfiles.removal import remove_tree
from jobrunner_cli.engine.jobfiles.tally import Tally
from jobrunner_cli.engine.jobfiles.treewriter import TreeWriter
from jobrunner_cli.engine.jobfiles.walk import (
    Owner,
    enter_or_make,
    held,
    look,
    open_directory,
    printable,
)

#: The marker that old tools look for in the working copy; never trusted here.
TIMESTAMP_FILE = ".opensafely-timestamp"

_HOSTS = "hosts"
#: A container without a network has itself.
_OWN_NAMES = b"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
_CODE = "code.json"
_INPUTS = "inputs.json"
_PREPARED = "prepared"
_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*", re.ASCII)

#: Path -> size in bytes and modification time in nanoseconds, as laid out.
Record = dict[str, tuple[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDirectory:
    """Where the files of one job are. Only its path: it may or may not exist."""

    #: `os-job-{id}` below the volumes directory
    root: Path

    @classmethod
    def of(cls, volumes_dir: Path, job_id: str) -> Self:
        """The directory of a job. Raises JobFilesError for an id that is no plain name."""
        if not _JOB_ID.fullmatch(job_id):
            msg = f"{printable(job_id)!r} is not a job id"
            raise JobFilesError(msg)
        return cls(root=volumes_dir / f"os-job-{job_id}")

    @property
    def work(self) -> Path:
        """The working copy, which belongs to the job."""
        return self.root / "work"

    @property
    def control(self) -> Path:
        """Markers, records and captured logs, which the job cannot reach."""
        return self.root / "control"

    @property
    def tmp(self) -> Path:
        """The container's /tmp, which belongs to the job."""
        return self.root / "tmp"

    @property
    def hosts(self) -> Path:
        """The container's /etc/hosts."""
        return self.root / _HOSTS

    @property
    def root_names(self) -> tuple[str, ...]:
        """What the working copy is called for the job: in a container, and where it runs without one."""
        return ("/workspace", str(self.work))


def lay_out_code(directory: JobDirectory, code: work.CodeTree, *, owner: Owner, stop: threading.Event) -> None:
    """Make the working copy hold exactly the commit's tree, owned by `owner` (user and group id; None: the runner).

    Nothing is done if it is laid out already; what is half done, is another commit's, or belongs to somebody else is
    removed first. Raises JobFilesError for a tree that would write outside, DiskFullError, GitError, Stopped.
    """
    marker = {"commit": code.commit, "boot": _boot(), "owner": None if owner is None else list(owner)}
    with file_errors(f"lay out commit {code.commit}"), _opened(directory, owner) as (root, control):
        if _is_laid_out(control, marker):
            if read_small(root, _HOSTS) is None:
                # Laid out by an older version.
                _write_hosts(root)
            return
        _start_over(root, control)
        make_tmp(root, owner)
        _write_hosts(root)
        # Nobody but the job and the runner may look into a working copy that is not behind the root's own mode.
        with held(enter_or_make(root, "work", mode=0o777 if owner is None else 0o700, owner=owner)) as handle:
            try:
                with TreeWriter(handle, commit=code.commit, owner=owner, stop=stop) as writer:
                    for entry in code.read():
                        look(stop)
                        writer.write(entry)
            except OSError as error:
                if is_full(error):
                    _start_over(root, control)
                raise
        _write_json(control, _CODE, {**marker, "files": writer.record})


def lay_out_inputs(
    directory: JobDirectory,
    workspace_dir: Path,
    inputs: Sequence[work.InputFile],
    *,
    owner: Owner,
    stop: threading.Event,
    tally: Tally | None = None,
) -> None:
    """Copy the inputs from the workspace's directory into the working copy, over whatever the repository has there.

    Nothing is done for a job that is prepared. `tally` counts what is done. Raises JobFilesError for an input that is
    not there, naming it and its action, DiskFullError, Stopped.
    """
    if is_prepared(directory) or not inputs:
        return
    with file_errors("lay out the inputs"), _opened(directory, owner) as (root, control):
        # From here on the working copy is more than the commit: were this cut off, the code is laid out anew.
        _write_json(control, _INPUTS, {"files": {}})
        try:
            with (
                held(open_directory("work", root)) as target,
                InputWriter(workspace_dir, target, owner=owner, stop=stop, tally=tally) as writer,
            ):
                writer.write_all(inputs)
        except OSError as error:
            if is_full(error):
                _start_over(root, control)
            raise
        _write_json(control, _INPUTS, {"files": writer.record})


def mark_prepared(directory: JobDirectory, *, now_ns: int, owner: Owner) -> None:
    """Say that code and inputs are laid out: the time, in nanoseconds, for old tools; last, the marker that counts.

    Raises JobFilesError, DiskFullError.
    """
    with file_errors("mark the job as prepared"), _opened(directory, owner) as (root, control):
        with held(open_directory("work", root)) as handle:
            remove_tree(handle, TIMESTAMP_FILE)
            with held(create(handle, TIMESTAMP_FILE, mode=0o644)) as file:
                write_all(file, str(now_ns).encode())
                if owner is not None:
                    os.fchown(file, *owner)
        _write_json(control, _PREPARED, {"boot": _boot(), "at": now_ns})


def is_prepared(directory: JobDirectory) -> bool:
    """Whether the job was prepared since this machine started. Raises JobFilesError."""
    with file_errors("read the job's markers"):
        try:
            handle = open_directory(directory.control)
        except FileNotFoundError:
            return False
        with held(handle):
            return _is_prepared(handle)


def laid_out(directory: JobDirectory) -> Record:
    """What was laid out, code and inputs; empty if that is not known. Raises JobFilesError."""
    with file_errors("read what was laid out"):
        try:
            handle = open_directory(directory.control)
        except FileNotFoundError:
            return {}
        with held(handle):
            code, inputs = _read_json(handle, _CODE), _read_json(handle, _INPUTS)
    return {**code.get("files", {}), **inputs.get("files", {})}


def laid_out_inputs(directory: JobDirectory) -> Record:
    """What was laid out over the code. Raises JobFilesError."""
    with file_errors("read what was laid out"), held(open_directory(directory.control)) as control:
        found: Record = _read_json(control, _INPUTS).get("files", {})
    return found


def remove(directory: JobDirectory) -> None:
    """Remove the job's directory, whatever is in it. Absent is fine. Raises JobFilesError if the system refuses."""
    with file_errors(f"remove {directory.root}"):
        try:
            parent = open_directory(directory.root.parent)
        except FileNotFoundError:
            return
        with held(parent):
            _forget_markers(directory)
            remove_tree(parent, directory.root.name)


def make_tmp(root: int, owner: Owner) -> None:
    """Make the container's /tmp below the handle of a job's directory. Raises OSError."""
    with held(enter_or_make(root, "tmp", owner=owner)) as handle:
        # Without an owner the container may run as anybody; others are kept out by the mode of the root.
        os.fchmod(handle, 0o1777 if owner is None else 0o700)


@contextmanager
def _opened(directory: JobDirectory, owner: Owner) -> Iterator[tuple[int, int]]:
    """Handles of the root and of the control directory, made if absent."""
    with held(make_directories(directory.root, mode=0o700)) as root:
        # A job that is not a container's needs to pass through to its own directories, and no more.
        mode = 0o700 if owner is None else 0o711
        if os.fstat(root).st_mode & 0o777 != mode:
            os.fchmod(root, mode)
        with held(enter_or_make(root, "control", mode=0o700)) as control:
            yield root, control


def _is_laid_out(control: int, marker: dict[str, Any]) -> bool:
    code = _read_json(control, _CODE)
    if any(code.get(key) != value for key, value in marker.items()):
        return False
    return _is_prepared(control) or read_small(control, _INPUTS) is None


def _is_prepared(control: int) -> bool:
    return _read_json(control, _PREPARED).get("boot") == _boot()


def _start_over(root: int, control: int) -> None:
    """Remove what was laid out, the markers first; on a full disk, too, where it would leave even less to the next."""
    for name in (_PREPARED, _CODE, _INPUTS):
        remove_tree(control, name)
    for name in ("work", "tmp"):
        remove_tree(root, name)


def _read_json(control: int, name: str) -> dict[str, Any]:
    """What a record says; a torn one says nothing."""
    try:
        found = json.loads(read_small(control, name) or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _write_json(control: int, name: str, value: dict[str, Any]) -> None:
    write_small(control, name, json.dumps(value).encode(), durable=False)


def _write_hosts(root: int) -> None:
    write_small(root, _HOSTS, _OWN_NAMES, durable=False)
    # The job is another user, whatever the runner's umask.
    os.chmod(_HOSTS, 0o644, dir_fd=root)


def _forget_markers(directory: JobDirectory) -> None:
    try:
        control = open_directory(directory.control)
    except OSError:
        return
    with held(control):
        for name in (_PREPARED, _CODE, _INPUTS):
            remove_tree(control, name)


@functools.cache
def _boot() -> str:
    """The id of this machine's present boot (proc(5), random/boot_id)."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return "unknown"
