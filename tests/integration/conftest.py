"""Work directories for what is tested through the command line, and places for job requests without a runner."""

from support.places import executor, make_workdir, workdir
from support.requesting import make_place, place

__all__ = ["executor", "make_place", "make_workdir", "place", "workdir"]
