"""The view on a real terminal, in tmux, beside a real runner with real containers."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import stat
import sys
from pathlib import Path

import pytest

from support.places import MakeWorkDirectory
from support.runners import WorkDirectory, until
from support.sshd import needs_sshd, sshd
from support.studies import action, make_study
from support.tmux import Terminal, needs_tmux, terminals

__all__ = ["terminals"]

pytestmark = [pytest.mark.slow, needs_tmux]

#: For a shell: what the program before it has left of the terminal.
SAY_HOW_IT_IS = "echo code $?; stty -a | grep -o -- '-\\?icanon'; sleep 100"
#: Sequences that set a colour of text or ground (ECMA-48, section 8.3.117; the 256 and the 16 million are xterm's).
COLOUR = re.compile(r"[34]8[;:]5[;:](\d+)|[34]8[;:]2[;:](\d+[;:]\d+[;:]\d+)|(?<=[\[;])((?:3|4|9|10)[0-7])(?=[;m])")
#: Of the 256: black, white and the greys.
GREYS = {0, 7, 8, 15, 16, 231, *range(232, 256)}


def hues(text: str) -> set[str]:
    """The colours on a screen that are not grey."""
    found = set()
    for sequence in re.findall(r"\x1b\[[0-9;:]*m", text):
        for number, mixed, plain in COLOUR.findall(sequence):
            if plain or (number and int(number) not in GREYS) or (mixed and len(set(re.split("[;:]", mixed))) > 1):
                found.add(sequence)
    return found


def jobrunner(
    workdir: WorkDirectory, *words: str, after: str = "", term: str | None = None, **environment: str
) -> Terminal:
    """A terminal with a command in it, to which it may say that it is another one than it is."""
    surroundings = {**os.environ, **workdir.settings, **environment}
    program = [] if term is None else ["env", "-u", "COLORTERM", f"TERM={term}"]
    program += [sys.executable, "-m", "jobrunner_cli", *words]
    return Terminal(workdir.base / "tmux", program, surroundings, after=after)


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
    terminal = jobrunner(workdir, "tui", "--job", "test/prepare")
    terminals.append(terminal)
    terminal.shows("workspace test", "● executing", "prepare", "○ waiting", "report", "● runner", "✔ engine")
    terminal.press("2")
    terminal.shows("the data is here")
    workdir.let_go(ids["prepare"])
    terminal.shows("✔ succeeded", "● executing     report")
    # Typed ahead: each key goes to where the one before has led.
    terminal.press("/", "r", "e", "p", "o", "r", "t", "Enter", "1")
    terminal.shows("1 of 2: “report”", "K Kill")
    terminal.shows("1 of 2", "has run for", "test/report")
    terminal.press("K")
    terminal.shows("Kill 1 job?", "test/report", ids["report"])
    terminal.press("y")
    terminal.shows("✘ killed")
    assert workdir.codes() == {"prepare": "succeeded", "report": "killed_by_admin"}
    terminal.press("q")
    until(lambda: not terminal.runs, "the end of the view")


def test_whoever_ends_the_process_gets_the_terminal_back(make_workdir: MakeWorkDirectory, terminals: list[Terminal]):
    workdir = make_workdir("process")
    terminal = jobrunner(workdir, "tui", after=f"; {SAY_HOW_IT_IS}")
    terminals.append(terminal)
    terminal.shows("No job is chosen.", "NO SERVICE RUNS HERE")
    (view,) = terminal.children()
    os.kill(view, signal.SIGTERM)
    terminal.shows("code 0", "icanon")
    assert "-icanon" not in terminal.text()


@pytest.fixture
def ended(make_workdir: MakeWorkDirectory) -> WorkDirectory:
    """A job that has printed more than a screen, and has an output."""
    workdir = make_workdir("process")
    script = "seq -f 'line %g of the log' 500; echo n > out.csv; echo 41 >> out.csv"
    study = make_study(workdir.base / "study", {"prepare": action(workdir.command(script), "out.csv")})
    workdir.add(study, "prepare")
    workdir.run()
    return workdir


@pytest.fixture
def pager(tmp_path: Path) -> Path:
    """A pager that shows how much it was given, is deaf to Ctrl-C as pagers are, and ends with Enter."""
    path = tmp_path / "pager"
    path.write_text(
        f"""#!/bin/sh
        trap 'echo it heard Ctrl-C' INT
        cat "$@" > {tmp_path}/paged
        echo "NO_COLOR=$NO_COLOR; $(wc -l < {tmp_path}/paged) lines are in the pager"
        until read answer; do :; done < /dev/tty
        """
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_the_whole_log_is_opened_in_the_pager_and_the_view_comes_back(
    ended: WorkDirectory, pager: Path, terminals: list[Terminal]
):
    terminal = jobrunner(ended, "tui", "--tab", "log", PAGER=str(pager), NO_COLOR="1")
    terminals.append(terminal)
    terminal.shows("✔ succeeded", "line 500 of the log")
    terminal.press("v")
    terminal.shows("NO_COLOR=1", "lines are in the pager")
    assert "✔ succeeded" not in terminal.text()
    lines = (pager.parent / "paged").read_text().splitlines()
    assert lines[0] == "line 1 of the log"
    assert "line 500 of the log" in lines
    terminal.press("C-c")
    terminal.shows("it heard Ctrl-C")
    terminal.press("Enter")
    terminal.shows("✔ succeeded", "line 500 of the log")
    terminal.press("1")
    terminal.shows("ran for")


def test_an_output_is_opened_in_the_pager_and_the_view_comes_back(
    ended: WorkDirectory, pager: Path, terminals: list[Terminal]
):
    terminal = jobrunner(ended, "tui", "--tab", "outputs", PAGER=str(pager))
    terminals.append(terminal)
    terminal.shows("✔ succeeded", "out.csv", "moderately sensitive")
    terminal.press("Tab")
    terminal.shows("o Open", "▸ out.csv")
    terminal.press("Enter")
    terminal.shows("2 lines are in the pager")
    assert (pager.parent / "paged").read_text() == "n\n41\n"
    terminal.press("Enter")
    terminal.shows("✔ succeeded", "▸ out.csv")


def test_what_is_gone_or_cannot_be_shown_is_said(ended: WorkDirectory, terminals: list[Terminal]):
    terminal = jobrunner(ended, "tui", "--tab", "outputs", PAGER="no-such-pager")
    terminals.append(terminal)
    terminal.shows("✔ succeeded", "out.csv")
    terminal.press("Tab")
    terminal.shows("▸ out.csv")
    terminal.press("o")
    terminal.shows("there is no program no-such-pager")
    (ended.high / "workspaces/test/out.csv").unlink()
    terminal.press("o")
    terminal.shows("the output is gone")


@pytest.mark.parametrize("wanted", [True, False], ids=["colours", "none"])
def test_there_are_no_colours_where_nobody_wants_them(ended: WorkDirectory, terminals: list[Terminal], wanted: bool):
    terminal = jobrunner(ended, "tui", **({} if wanted else {"NO_COLOR": "1"}))
    terminals.append(terminal)
    terminal.shows("workspace test", "✔ succeeded", "prepare", "ran for", "NO SERVICE RUNS HERE", "? Help")
    assert bool(hues(terminal.coloured_text())) is wanted
    terminal.press("?")
    terminal.shows("Legend", "Cancel the marked jobs")
    assert bool(hues(terminal.coloured_text())) is wanted


def test_warnings_can_be_read_on_a_terminal_with_sixteen_colours(ended: WorkDirectory, terminals: list[Terminal]):
    terminal = jobrunner(ended, "tui", term="xterm")
    terminals.append(terminal)
    terminal.shows("workspace test", "✔ succeeded", "NO SERVICE RUNS HERE")
    before = terminal.coloured_text().partition("NO SERVICE RUNS HERE")[0]
    numbers = [
        int(number) for found in re.findall(r"\x1b\[([0-9;]*)m", before) for number in found.split(";") if number
    ]
    text = [number for number in numbers if 30 <= number <= 37 or 90 <= number <= 97][-1]
    ground = [number for number in numbers if 40 <= number <= 47 or 100 <= number <= 107][-1]
    assert ground in {43, 103}
    assert text == 30


def test_a_theme_that_was_chosen_on_such_a_terminal_is_there_at_the_next_start(
    ended: WorkDirectory, terminals: list[Terminal], tmp_path: Path
):
    chosen = []
    for _ in range(2):
        terminal = jobrunner(ended, "tui", term="xterm", XDG_STATE_HOME=str(tmp_path / "state"))
        terminals.append(terminal)
        terminal.shows("workspace test", "✔ succeeded")
        terminal.press("t")
        terminal.shows("Theme ")
        terminal.press("q")
        until(lambda terminal=terminal: not terminal.runs, "the end of the view")
        chosen.append(json.loads((tmp_path / "state/jobrunner/tui.json").read_text())["theme"])
    # It goes on from the one that was chosen first.
    assert len(set(chosen)) == 2


def test_without_colours_such_a_terminal_keeps_its_own(ended: WorkDirectory, terminals: list[Terminal]):
    terminal = jobrunner(ended, "tui", term="xterm", NO_COLOR="1")
    terminals.append(terminal)
    terminal.shows("workspace test", "✔ succeeded", "NO SERVICE RUNS HERE", "? Help")
    assert not COLOUR.findall(terminal.coloured_text())


def test_a_terminal_that_cannot_show_it_is_refused(ended: WorkDirectory, terminals: list[Terminal]):
    terminal = jobrunner(ended, "tui", term="dumb", after="; echo code $?; sleep 100")
    terminals.append(terminal)
    terminal.shows("TERM=dumb cannot", "jobs ls shows the jobs", "code 2")


def test_it_steps_aside_for_the_shell_and_comes_back(ended: WorkDirectory, terminals: list[Terminal]):
    terminal = jobrunner(ended, "tui", after="; echo over")
    terminals.append(terminal)
    terminal.shows("workspace test", "✔ succeeded")
    (view,) = terminal.children()
    terminal.press("C-z")
    until(lambda: Path(f"/proc/{view}/stat").read_text().rpartition(")")[2].split()[0] == "T", "a view that is stopped")
    assert terminal.asked("#{alternate_on}") == "0"
    os.kill(view, signal.SIGCONT)
    terminal.shows("workspace test", "✔ succeeded")
    terminal.press("2")
    terminal.shows("line 500 of the log")


def test_how_it_was_left_is_remembered_also_when_it_was_ended(
    ended: WorkDirectory, terminals: list[Terminal], tmp_path: Path
):
    place = {"XDG_STATE_HOME": str(tmp_path / "state")}
    terminal = jobrunner(ended, "tui", after=f"; {SAY_HOW_IT_IS}", **place)
    terminals.append(terminal)
    terminal.shows("workspace test", "1 job by workspace")
    terminal.press("g", "f")
    terminal.shows("0 of 1: unfinished")
    (view,) = terminal.children()
    os.kill(view, signal.SIGHUP)
    terminal.shows("code 0")
    terminal.close()
    terminal = jobrunner(ended, "tui", **place)
    terminals.append(terminal)
    terminal.shows("0 of 1: unfinished")
    terminal.press("f")
    terminal.shows("▾ request", "1 job by request")
    terminal.press("q")
    until(lambda: not terminal.runs, "the end of the view")
    remembered = json.loads((tmp_path / "state/jobrunner/tui.json").read_text())
    assert remembered == {"grouping": "request", "hide_finished": False}


@needs_sshd
def test_over_ssh_the_view_shows_the_jobs_and_leaves_the_terminal_as_it_was(
    ended: WorkDirectory, terminals: list[Terminal]
):
    place = ended.base / "ssh"
    place.mkdir()
    # Whoever logs in has a home of their own, and nothing of the test's surroundings.
    given = [f"{name}={value}" for name, value in {**os.environ, **ended.settings}.items() if name != "TERM"]
    view = shlex.join(["env", *given, sys.executable, "-m", "jobrunner_cli", "tui"])
    with sshd(place) as client:
        command = [*client, f"echo it was so before; {view}; {SAY_HOW_IT_IS}"]
        terminal = Terminal(ended.base / "tmux", command, os.environ)
        terminals.append(terminal)
        terminal.shows("workspace test", "✔ succeeded", "prepare", "ran for", "? Help")
        assert hues(terminal.coloured_text())
        terminal.press("2")
        terminal.shows("line 500 of the log")
        assert terminal.asked("#{alternate_on}") == "1"
        terminal.press("q")
        terminal.shows("it was so before", "code 0", "icanon")
        assert "-icanon" not in terminal.text()
        assert "workspace test" not in terminal.text()
        assert terminal.asked("#{alternate_on} #{mouse_any_flag} #{cursor_flag}") == "0 0 1"
