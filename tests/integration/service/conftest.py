"""A job-server, and work directories for services."""

from support.places import executor
from support.serving import make_service, server

__all__ = ["executor", "make_service", "server"]
