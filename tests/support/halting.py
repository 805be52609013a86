"""The command line, stopped just before one chosen change that job files make on the disk.

Run as a program: `halting.py MODULES STEP HOW WORDS…`. It counts what the interpreter announces before it asks the system
to change a file or a directory, as far as a function of one of the MODULES (file names in `jobfiles/` without their
suffix, with commas; `all`) has asked for it. Before the STEP-th it either ends, by SIGKILL (HOW is `kill`), or it makes
the file HOW and waits until somebody removes it. With 0 for the STEP nothing is stopped, and HOW gets a line for each
step: its kind.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

#: Events of the interpreter (sys.addaudithook) that announce a change of the disk, besides opening for writing.
CHANGES = frozenset(
    {
        "os.chmod",
        "os.chown",
        "os.link",
        "os.mkdir",
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.symlink",
        "os.truncate",
        "os.utime",
    }
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
PATIENCE = 60.0


def start(
    modules: str, step: int, how: str, words: Sequence[str], *, environment: Mapping[str, str], said: Path
) -> subprocess.Popen[bytes]:
    """Start a command that is stopped there; what it says goes to a file."""
    with said.open("ab") as stream:
        return subprocess.Popen(
            [sys.executable, __file__, modules, str(step), how, *words],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )


def kinds_of_steps(
    modules: str, words: Sequence[str], *, environment: Mapping[str, str], said: Path, listing: Path
) -> list[str]:
    """Run a command to its end; the kind of each step that it made: what is changed, and by which function."""
    assert start(modules, 0, str(listing), words, environment=environment, said=said).wait(PATIENCE) == 0
    return listing.read_text().splitlines()


def _is_change(event: str, arguments: tuple[object, ...]) -> bool:
    if event != "open":
        return event in CHANGES
    flags = arguments[2]
    return isinstance(flags, int) and bool(flags & _WRITING)


def _asked_for_by(modules: frozenset[str]) -> list[str]:
    """The functions of job files that ask for it, the innermost first; none if it is none of the modules' concern."""
    functions = []
    concerned = False
    frame = sys._getframe(2)
    while frame is not None:
        path = frame.f_code.co_filename
        if "/jobfiles/" in path:
            module = path.rpartition("/")[2].removesuffix(".py")
            functions.append(f"{module}.{frame.f_code.co_name}")
            concerned = concerned or not modules or module in modules
        frame = frame.f_back
    return functions if concerned else []


def main(modules: str, step: str, how: str, *words: str) -> None:
    """Install the counter and be the command."""
    wanted = frozenset() if modules == "all" else frozenset(modules.split(","))
    left = int(step)
    guard = threading.Lock()
    listing = os.open(how, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if step == "0" else -1

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if (left <= 0 and step != "0") or not _is_change(event, arguments) or not (callers := _asked_for_by(wanted)):
            return
        if step == "0":
            with guard:
                os.write(listing, f"{event} {' '.join(callers)}\n".encode())
            return
        with guard:
            left -= 1
            if left:
                return
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        Path(how).touch()
        deadline = time.monotonic() + PATIENCE
        while Path(how).exists() and time.monotonic() < deadline:
            time.sleep(0.005)

    sys.argv = ["jobrunner", *words]
    from jobrunner_cli.cli import main as jobrunner

    sys.addaudithook(count)
    jobrunner()


if __name__ == "__main__":
    main(*sys.argv[1:])
