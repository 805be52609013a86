"""The view on a real terminal, in tmux, beside a real runner with real containers."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.places import MakeWorkDirectory
from support.runners import WorkDirectory, until
from support.studies import action, make_study

pytestmark = pytest.mark.slow


class Terminal:
    """A terminal of its own, with one program in it."""

    def __init__(self, workdir: WorkDirectory, words: list[str], *, after: str = "", **environment: str) -> None:
        self._socket = str(workdir.base / "tmux")
        environment = {**os.environ, **workdir.settings, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **environment}
        program = shlex.join([sys.executable, "-m", "jobrunner_cli", *words])
        # With something after it, a shell stays around.
        command = ["new-session", "-d", "-x", "100", "-y", "30", program + after if after else f"exec {program}"]
        self._tmux("-f", "/dev/null", *command, environment=environment)

    def _tmux(self, *words: str, environment: dict[str, str] | None = None) -> str:
        done = subprocess.run(
            ["tmux", "-S", self._socket, *words], env=environment, capture_output=True, text=True, timeout=60
        )
        return done.stdout if done.returncode == 0 else ""

    def press(self, *keys: str) -> None:
        """Press keys, by tmux's names."""
        self._tmux("send-keys", *keys)

    def text(self) -> str:
        """What the terminal shows."""
        return self._tmux("capture-pane", "-p")

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


@pytest.mark.skipif(shutil.which("tmux") is None, reason="there is no tmux")
@pytest.mark.parametrize("executor", ["process", pytest.param("docker", marks=pytest.mark.engine)])
def test_a_study_is_watched_and_ended_on_a_terminal(
    make_workdir: MakeWorkDirectory, executor: str, terminals: list[Terminal]
):
    workdir = make_workdir(executor)
    script = "echo the data is here; while [ ! -e go ]; do sleep 0.2; done; echo n > out.csv"
    study = make_study(
        workdir.base / "study",
        {
            "prepare": action(workdir.command(script), "out.csv"),
            "report": action(workdir.command("cat out.csv > report.txt; sleep 600"), "report.txt", needs=["prepare"]),
        },
    )
    ids = workdir.add(study, "run_all")
    workdir.start("run")
    terminal = Terminal(workdir, ["tui", "--job", "test/prepare"], PAGER="cat -n; sleep 1; true")
    terminals.append(terminal)
    terminal.shows("workspace test", "● executing", "prepare", "○ waiting", "report", "● runner", "✔ engine")
    terminal.press("2")
    terminal.shows("the data is here")
    workdir.let_go(ids["prepare"])
    terminal.shows("✔ succeeded", "● executing     report")
    terminal.press("/", "r", "e", "p", "o", "r", "t")
    terminal.shows("1 of 2: “report”")
    terminal.press("Enter")
    terminal.shows("K Kill")
    terminal.press("1")
    terminal.shows("1 of 2", "has run for", "test/report")
    terminal.press("K")
    terminal.shows("Kill 1 job?", "test/report", ids["report"])
    terminal.press("y")
    terminal.shows("✘ killed")
    assert workdir.codes() == {"prepare": "succeeded", "report": "killed_by_admin"}
    terminal.press("q")
    until(lambda: not terminal.runs, "the end of the view")


@pytest.mark.skipif(shutil.which("tmux") is None, reason="there is no tmux")
def test_whoever_ends_the_process_gets_the_terminal_back(make_workdir: MakeWorkDirectory, terminals: list[Terminal]):
    workdir = make_workdir("process")
    terminal = Terminal(workdir, ["tui"], after="; echo code $?; stty -a | grep -o -- '-\\?icanon'; sleep 100")
    terminals.append(terminal)
    terminal.shows("No job is chosen.", "NO SERVICE RUNS HERE")
    (view,) = terminal.children()
    os.kill(view, signal.SIGTERM)
    terminal.shows("code 0", "icanon")
    assert "-icanon" not in terminal.text()
