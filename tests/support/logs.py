"""The logs of a process, which belong to whoever configured them last."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def own_log() -> Iterator[None]:
    """Whatever configures the package's log inside, it is as it was before afterwards."""
    try:
        yield
    finally:
        package, root = logging.getLogger("jobrunner_cli"), logging.getLogger()
        for handler in list(package.handlers):
            for logger in (package, root):
                logger.removeHandler(handler)
            handler.close()
        package.propagate = True
