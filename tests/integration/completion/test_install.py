"""`completion install` and `show`: the script in its place, loaded once, and nothing else of the user's touched."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from support.shells import SHELLS, require
from support.surroundings import ROOT
from support.terminal import jobrunner

pytestmark = pytest.mark.slow

PLACES = {
    "bash": ".local/share/jobrunner/completions/jobrunner.bash",
    "zsh": ".local/share/jobrunner/completions/_jobrunner",
    "fish": ".config/fish/completions/jobrunner.fish",
}
STARTUP = {"bash": ".bashrc", "zsh": ".zshrc"}


@pytest.mark.parametrize("shell", SHELLS)
def test_scripts_of_the_repository_are_those_that_are_installed(shell: str):
    jobrunner("completion", "install", shell)
    installed = (Path.home() / PLACES[shell]).read_text()
    assert installed == jobrunner("completion", "show", shell).stdout
    assert installed == (ROOT / "completions" / Path(PLACES[shell]).name).read_text()


@pytest.mark.parametrize("shell", SHELLS)
def test_scripts_are_what_the_shell_takes_for_its_language(shell: str):
    require(shell)
    done = subprocess.run([shell, "-n", str(ROOT / "completions" / Path(PLACES[shell]).name)], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("shell", STARTUP)
def test_startup_file_gets_one_line_however_often_it_is_installed(shell: str):
    startup = Path.home() / STARTUP[shell]
    startup.write_bytes(b"export MINE=1  # \xe9, no newline")
    first = jobrunner("completion", "install", shell).stdout
    again = jobrunner("completion", "install", shell).stdout
    content = startup.read_bytes()
    assert content.startswith(b"export MINE=1  # \xe9, no newline\n")
    assert content.count(b"source ") == 1
    assert str(startup) in first
    assert str(startup) not in again


def test_startup_file_that_is_a_link_stays_one():
    kept = Path.home() / "dotfiles"
    kept.mkdir()
    (kept / "bashrc").write_text("# mine\n")
    (Path.home() / ".bashrc").symlink_to("dotfiles/bashrc")
    jobrunner("completion", "install", "bash")
    assert (Path.home() / ".bashrc").is_symlink()
    assert (kept / "bashrc").read_text().startswith("# mine\n")


def test_fish_needs_no_startup_file():
    jobrunner("completion", "install", "fish")
    assert not (Path.home() / ".config/fish/config.fish").exists()


def test_shell_is_that_of_the_user_unless_it_is_named():
    assert "fish" in jobrunner("completion", "install", SHELL="/usr/bin/fish").stderr
    assert jobrunner("completion", "show", SHELL="/bin/zsh").stdout.startswith("#compdef jobrunner")


@pytest.mark.parametrize("own", ["/bin/sh", ""])
def test_unknown_shell_has_to_be_named(own: str):
    done = jobrunner("completion", "install", code=2, SHELL=own)
    assert done.stderr.splitlines() == [
        "jobrunner: SHELL does not name one of bash, zsh, fish",
        "  hint: name the shell: jobrunner completion install bash",
    ]
    assert "'tcsh' is not one of bash, zsh, fish" in jobrunner("completion", "install", "tcsh", code=2).stderr


def test_place_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").touch()
    done = jobrunner("completion", "install", "bash", code=3, XDG_DATA_HOME=str(tmp_path / "file"))
    assert str(tmp_path / "file") in done.stderr
    assert "Traceback" not in done.stderr
    assert not (Path.home() / ".bashrc").exists()
