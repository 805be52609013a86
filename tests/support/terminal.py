"""Commands as somebody at a terminal, or a script, starts them."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

#: Seconds after which a command that should have ended is said to hang.
PATIENCE = 120.0
_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def jobrunner(*words: str, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command with its streams in pipes, and check its exit code."""
    done = subprocess.run(
        [sys.executable, "-m", "jobrunner_cli", *words],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == code, (
        f"{words}: {done.returncode}, not {code}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    )
    return done


def on_terminal(*words: str, columns: int, code: int = 0, answer: str = "", **environment: str) -> str:
    """Run a command on a terminal so wide, on which `answer` is typed; returns everything that was written to it."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "jobrunner_cli", *words],
        env={**os.environ, **environment},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    os.write(ours, answer.encode())
    written = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # nobody has the other end any more
            break
        if not part:
            break
        written += part
    os.close(ours)
    text = written.decode().replace("\r\n", "\n")
    assert process.wait(PATIENCE) == code, text
    return text


def without_colours(text: str) -> str:
    """What a terminal shows of a text, as far as the text only colours it."""
    return _SEQUENCE.sub("", text)
