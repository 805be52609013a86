"""Work directories for tests of the live view."""

from support.places import make_workdir

__all__ = ["make_workdir"]
