"""Interactive shells on a terminal of their own, in which somebody types and presses Tab."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SHELLS = ("bash", "zsh", "fish")
PATIENCE = 60.0
#: What the stand-in below prints when it was called.
CALLED = "=was called="
PROMPT = "ready> "
_SEQUENCE = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[()=>][0-9A-Z]?)")

_START = {
    "bash": (["bash", "-i"], ".bashrc", f"PS1='{PROMPT}'\nbind 'set enable-bracketed-paste off'\n"),
    "zsh": (["zsh", "-i"], ".zshrc", f"PS1='{PROMPT}'\nunsetopt zle_bracketed_paste prompt_cr prompt_sp 2>/dev/null\n"),
    "fish": (
        ["fish", "-i"],
        ".config/fish/config.fish",
        f"function fish_prompt; echo -n '{PROMPT}'; end\nset -g fish_greeting\nset -g fish_autosuggestion_enabled 0\n",
    ),
}


def require(shell: str) -> None:
    """Skip the test, loudly, where the shell is not installed; the CI refuses skipped tests."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} IS NOT INSTALLED, so its completion is not tested: apt-get install -y {shell}")


class Shell:
    """A shell whose `jobrunner` completes for real; when it is called it only says with which words."""

    def __init__(self, terminal: int, words_file: Path) -> None:
        self._terminal = terminal
        self._words_file = words_file
        self.screen = ""

    def run(self, line: str) -> list[str]:
        """Type a line, in which Tab is pressed where it has one, then Enter; the words that `jobrunner` was called with."""
        self.type(line + "\r")
        self.read_until(CALLED)
        self.read_until(PROMPT)
        return self.words

    @property
    def words(self) -> list[str]:
        """The words that `jobrunner` was last called with."""
        return self._words_file.read_text().splitlines()

    def type(self, text: str) -> None:
        """Press these keys, on an empty screen."""
        self.screen = ""
        os.write(self._terminal, text.encode())

    def read_until(self, text: str) -> str:
        """What the terminal has shown, up to this text, which is taken off it."""
        deadline = time.monotonic() + PATIENCE
        while text not in (seen := _SEQUENCE.sub("", self.screen)):
            if not select.select([self._terminal], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"no {text!r} on the terminal:\n{seen[-3000:]}")
            self.screen += os.read(self._terminal, 65536).decode(errors="replace")
        before, _, self.screen = seen.partition(text)
        return before


def put_jobrunner(directory: Path) -> Path:
    """A directory with a `jobrunner` that completes, and otherwise writes down its words; returns that file."""
    directory.mkdir(parents=True, exist_ok=True)
    words = directory / "words"
    program = directory / "jobrunner"
    program.write_text(
        "#!/bin/sh\n"
        f'[ "$1" != __complete ] || exec "{sys.executable}" -m jobrunner_cli "$@"\n'
        f"printf '%s\\n' \"$@\" > '{words}'\n"
        f"printf '%s%s\\n' '=was ' 'called='\n"
    )
    program.chmod(0o755)
    return words


def prepare(shell: str) -> None:
    """Write the file that the shell reads at its start, into the home of the test."""
    path = Path.home() / _START[shell][1]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_START[shell][2])


@contextmanager
def interactive(shell: str, directory: Path) -> Iterator[Shell]:
    """The shell at its first prompt, with the `jobrunner` of the directory on its path."""
    words = put_jobrunner(directory)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
    process = subprocess.Popen(
        _START[shell][0],
        env={**os.environ, "PATH": f"{directory}:{os.environ['PATH']}"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        # Job control needs a terminal that is the session's own.
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
    )
    os.close(theirs)
    try:
        started = Shell(ours, words)
        started.read_until(PROMPT)
        yield started
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(ours)
