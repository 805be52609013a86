"""A call is broken off when it takes too long, and only that one."""

from __future__ import annotations

import socket
import threading
import time

from jobrunner_cli.engine.service.breaking import Breaker


def test_call_that_takes_too_long_loses_its_connection() -> None:
    breaker = Breaker()
    near, far = socket.socketpair()
    with near, far:
        with breaker.within(0.01):
            handle = breaker.watch(near)
            assert near.recv(1) == b""
        assert breaker.broke
        breaker.forget(handle)


def test_connection_that_is_made_too_late_is_lost_at_once() -> None:
    breaker = Breaker()
    near, far = socket.socketpair()
    with near, far, breaker.within(0):
        while not breaker.broke:
            time.sleep(0.001)
        handle = breaker.watch(near)
        assert near.recv(1) == b""
        breaker.forget(handle)


class Reluctant(socket.socket):
    """A connection that takes its time to close."""

    def __init__(self) -> None:
        super().__init__()
        self.closing = threading.Event()
        self.may_close = threading.Event()

    def close(self) -> None:
        self.closing.set()
        self.may_close.wait()
        super().close()


def test_call_that_ends_at_its_limit_does_not_break_the_next_one() -> None:
    breaker, old = Breaker(), Reluctant()
    before = set(threading.enumerate())
    with breaker.within(0.01):
        (timer,) = set(threading.enumerate()) - before
        closing = threading.Thread(target=breaker.forget, args=(old,))
        closing.start()
        assert old.closing.wait(30)
        # The timer goes off, and is held up until the next call is under way, or until this one waits for it.
        timer.join(0.1)
        threading.Timer(0.1, old.may_close.set).start()
    with breaker.within(60):
        closing.join()
        timer.join()
        assert not breaker.broke
