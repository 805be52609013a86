"""What a service manager is told: ready, how it goes, still alive, leaving.

The protocol is that of sd_notify(3): lines of `NAME=value` in a datagram to the Unix socket that NOTIFY_SOCKET names.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import MutableMapping

log = logging.getLogger(__name__)

#: A watchdog is fed several times in the time that it allows, as sd_watchdog_enabled(3) advises.
_FEEDS = 3
#: A status is one line, and a datagram has an end.
_LONGEST_STATUS = 500


class Notifier:
    """Speaks to the service manager that started this process; without one, it says nothing."""

    def __init__(self, address: str | None = None, watchdog: float | None = None) -> None:
        """`address` is a path, or begins with `@` for an abstract name; `watchdog` is what it allows, in seconds."""
        self._address = _as_name(address) if address else None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if address else None
        #: seconds between two feeds; None without a watchdog
        self.interval = watchdog / _FEEDS if watchdog and address else None
        self._fed_at = -float("inf")
        self._failed = False

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str]) -> Notifier:
        """The service manager that the environment names; the names are taken out, as they are not for our children."""
        address = environment.pop("NOTIFY_SOCKET", "")
        microseconds = environment.pop("WATCHDOG_USEC", "")
        pid = environment.pop("WATCHDOG_PID", "")
        meant = not pid or pid == str(os.getpid())
        watchdog = int(microseconds) / 1e6 if microseconds.isdigit() and meant else None
        if address and address[0] not in "/@":
            log.warning("NOTIFY_SOCKET is of a kind that is not known here, and nobody is notified")
            address = ""
        return cls(address, watchdog or None)

    def ready(self) -> None:
        """The start is over, or the re-reading of settings."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Settings are being read anew."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def status(self, text: str) -> None:
        """How it goes, in one line."""
        self._send(f"STATUS={' '.join(text.split())[:_LONGEST_STATUS]}")

    def stopping(self, seconds: float) -> None:
        """It is leaving, which may take so many seconds."""
        self._send("STOPPING=1", f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def feed(self) -> None:
        """Tell the watchdog that all is well, if it is time for that; cheap enough to be called all the time."""
        if self.interval is None:
            return
        now = time.monotonic()
        if now - self._fed_at >= self.interval:
            self._fed_at = now
            self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if self._socket is None or self._address is None:
            return
        try:
            # Nobody may be held up by a service manager that does not read.
            self._socket.sendto("\n".join(lines).encode(), socket.MSG_DONTWAIT, self._address)
        except OSError as error:
            if not self._failed:
                log.warning("The service manager cannot be told anything: %s", error.strerror or error)
            self._failed = True
            return
        self._failed = False


def _as_name(address: str) -> bytes:
    name = os.fsencode(address)
    return b"\0" + name[1:] if name.startswith(b"@") else name
