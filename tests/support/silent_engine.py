"""Something at an engine's address that takes connections and never says a word."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def silent_engine(path: Path) -> Iterator[tuple[str, socket.socket]]:
    """Its URL, and the socket, which breaks all connections when it is closed."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(16)
        yield f"unix://{path}", listener
