"""Real disks of a test's own: file systems in a file, whose power can be cut."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

#: Both ext4 and XFS take it: stop at once, and write nothing of what is only in memory.
_SHUT_DOWN = 0x8004587D
_WITHOUT_THE_JOURNAL = 2
_MAKERS = {"ext4": ["mkfs.ext4", "-q"], "xfs": ["mkfs.xfs", "-q", "-m", "reflink=1"]}


#: Seconds for processes that have just ended, or are just being made, to let go of a file system.
_PATIENCE = 30.0


class Disk:
    """A file system in a file, mounted at `path`."""

    def __init__(self, path: Path, image: Path) -> None:
        self.path = path
        self._image = image

    def mount(self) -> None:
        """Mount it; skips the test where that is not allowed."""
        options = ["-o", "loop"]
        done = subprocess.run(["mount", *options, self._image, self.path], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")

    def unmount(self) -> None:
        """Unmount it, wholly: containers that are being made have all mounts for a moment, and mounted again meanwhile
        it would be the one whose power was cut."""
        unmount(self.path)
        deadline = time.monotonic() + _PATIENCE
        while subprocess.run(["losetup", "--associated", self._image], capture_output=True, check=True).stdout:
            assert time.monotonic() < deadline, f"something holds {self._image}"
            time.sleep(0.02)

    def cut_power(self) -> None:
        """Lose all that is only in memory, and come back."""
        handle = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, _SHUT_DOWN, struct.pack("I", _WITHOUT_THE_JOURNAL))
        finally:
            os.close(handle)
        self.unmount()
        self.mount()

    def free(self) -> int:
        """Bytes that are free once everything is on the disk."""
        os.sync()
        system = os.statvfs(self.path)
        return system.f_bfree * system.f_frsize


def unmount(path: Path) -> None:
    """Unmount a file system as soon as nobody uses it any more."""
    deadline = time.monotonic() + _PATIENCE
    while (done := subprocess.run(["umount", path], capture_output=True, text=True, check=False)).returncode:
        assert "busy" in done.stderr, done.stderr
        assert time.monotonic() < deadline, done.stderr
        time.sleep(0.02)


def fill(path: Path) -> None:
    """Leave not a byte on a disk, by a file there."""
    with path.open("ab", buffering=0) as stream:
        for size in (2**16, 2**12, 1):
            try:
                while True:
                    stream.write(b"\0" * size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


@contextmanager
def disk_of(kind: str, base: Path, mebibytes: int = 512) -> Iterator[Disk]:
    """A file system of a kind, `ext4` or `xfs` (which can share blocks); skips the test where it cannot be made."""
    if shutil.which(_MAKERS[kind][0]) is None:
        pytest.skip(f"{_MAKERS[kind][0]} is not installed")
    image = base / f"{kind}.img"
    with image.open("wb") as file:
        file.truncate(mebibytes << 20)
    subprocess.run([*_MAKERS[kind], image], check=True, capture_output=True)
    disk = Disk(base / kind, image)
    disk.path.mkdir()
    disk.mount()
    try:
        yield disk
    finally:
        disk.unmount()
