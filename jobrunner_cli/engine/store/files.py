"""Files beside the database: names that nobody has yet, and names that are to be there after a power cut."""

from __future__ import annotations

import os
from pathlib import Path


def free_name(path: Path) -> Path:
    """The path itself, or with a number behind it if there is such a file already, one of the same second for instance."""
    name, number = path, 1
    while name.exists():
        number += 1
        name = path.with_name(f"{path.name}-{number}")
    return name


def force_to_disk(path: Path) -> None:
    """Return once a file, or the names in a directory, are on disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
