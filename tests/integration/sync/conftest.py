"""A job-server, and work directories that are kept in step with it."""

from support.syncing import make_place, place, server

__all__ = ["make_place", "place", "server"]
