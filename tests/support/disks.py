"""Real disks of a test's own: file systems in a file, whose power can be cut."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

#: Both ext4 and XFS take it: stop at once, and write nothing of what is only in memory.
_SHUT_DOWN = 0x8004587D
_WITHOUT_THE_JOURNAL = 2
_MAKERS = {"ext4": ["mkfs.ext4", "-q"], "xfs": ["mkfs.xfs", "-q", "-m", "reflink=1"]}


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
        """Unmount it."""
        subprocess.run(["umount", self.path], check=True)

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
