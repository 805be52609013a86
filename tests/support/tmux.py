"""A terminal of its own, in tmux, with one program in it: keys are pressed, and the screen is read."""

from __future__ import annotations

import itertools
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from support.runners import until

_numbers = itertools.count(1)
needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="there is no tmux")


class Terminal:
    """A terminal of 100 columns and 30 lines."""

    def __init__(
        self, socket: Path, program: Sequence[str], environment: Mapping[str, str], *, after: str = ""
    ) -> None:
        """`after` is for a shell that runs the program first, and stays around.

        A server that was told to end still answers for a moment: each terminal has a socket of its own, beside
        the one that is named.
        """
        self._socket = f"{socket}-{next(_numbers)}"
        command = f"{shlex.join(program)}{after}" if after else f"exec {shlex.join(program)}"
        surroundings = {"LC_ALL": "C.UTF-8", **environment, "TERM": "xterm-256color"}
        begin = ["-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", command]
        subprocess.run(["tmux", "-S", self._socket, *begin], env=surroundings, check=True, timeout=60)

    def _tmux(self, *words: str) -> str:
        done = subprocess.run(["tmux", "-S", self._socket, *words], capture_output=True, text=True, timeout=60)
        return done.stdout if done.returncode == 0 else ""

    def press(self, *keys: str) -> None:
        """Press keys, by tmux's names."""
        self._tmux("send-keys", *keys)

    def text(self) -> str:
        """What the terminal shows."""
        return self._tmux("capture-pane", "-p")

    def coloured_text(self) -> str:
        """What the terminal shows, with the sequences that make it look as it does."""
        return self._tmux("capture-pane", "-p", "-e")

    def asked(self, form: str) -> str:
        """What tmux knows of the terminal, in a format of its own."""
        return self._tmux("display-message", "-p", form).strip()

    def shows(self, *texts: str) -> None:
        """Wait until the terminal shows these."""
        try:
            until(lambda: all(text in self.text() for text in texts), f"a screen with {texts}")
        except AssertionError as failure:
            raise AssertionError(f"{failure}\n{self.text()}") from None

    @property
    def runs(self) -> bool:
        """Whether the program has not ended."""
        return bool(self._tmux("list-sessions"))

    def children(self) -> list[int]:
        """The processes that the terminal's shell has started."""
        shell = self._tmux("list-panes", "-F", "#{pane_pid}").strip()
        return [int(pid) for pid in Path(f"/proc/{shell}/task/{shell}/children").read_text().split()]

    def close(self) -> None:
        """End it."""
        self._tmux("kill-server")


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    """Terminals that are closed at the end."""
    made: list[Terminal] = []
    yield made
    for terminal in made:
        terminal.close()
