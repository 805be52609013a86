"""Work directories for what is tested through the command line."""

from support.places import executor, make_workdir, workdir

__all__ = ["executor", "make_workdir", "workdir"]
