"""Starts the shim of a job, so that it is on its own: no child of the runner, and in a session of its own."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

from jobrunner_cli.engine.errors import ExecutorError, ExecutorUnavailableError

_SHIM = Path(__file__).with_name("process_shim.py")
#: Seconds for a shim to come up.
_START_SECONDS = 30.0
#: What an interpreter may need of the environment to start at all; the command's own is in a file.
_INTERPRETERS = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")


def launch(control: Path, lock: int) -> None:
    """Start the shim of this control directory and return when it has started the command.

    It inherits `lock`, the locked file, so there is no moment at which the job looks dead; the caller closes its own
    copy. Raises ExecutorUnavailableError if it did not come up this time, ExecutorError if it cannot.
    """
    answer, status = os.pipe()
    try:
        with (control / "shim.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-X", "utf8", str(_SHIM), str(control), str(lock), str(status)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lock, status),
                cwd="/",
                env={name: os.environ[name] for name in _INTERPRETERS if name in os.environ},
            )
    except OSError as error:
        os.close(answer)
        msg = f"the process of {control.parent.name} cannot be started: {error.strerror}"
        raise ExecutorUnavailableError(msg) from error
    finally:
        os.close(status)
    try:
        said = _answer(answer)
    finally:
        os.close(answer)
    if said is None:
        msg = f"the process of {control.parent.name} did not come up within {_START_SECONDS:.0f} s"
        raise ExecutorUnavailableError(msg)
    # The process that was started has left the work to its child.
    process.wait()
    if said.startswith("failed "):
        msg = f"{control.parent.name} cannot be started: {said.removeprefix('failed ')}"
        raise ExecutorUnavailableError(msg)
    if said != "started":
        lines = (control / "shim.log").read_text(errors="replace").strip().splitlines()
        msg = f"{control.parent.name} cannot be started: {lines[-1] if lines else 'its shim ended at once'}"
        raise ExecutorError(msg)


def _answer(descriptor: int) -> str | None:
    """What the shim says; empty if it ended without a word, None if it says nothing in time."""
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    if not waiting.poll(_START_SECONDS * 1000):
        return None
    return os.read(descriptor, select.PIPE_BUF).decode(errors="replace")
