"""Which program of this machine an image stands for, and what it is given."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from jobrunner_cli.engine.errors import ExecutorError, ImageMissingError
from jobrunner_cli.engine.executors.programs import PROGRAMS, command_for, installed_programs

REGISTRY = "ghcr.io/opensafely-core"


@pytest.fixture
def bin_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A search path of one directory with every program that stands for an image."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for program in PROGRAMS:
        for name in program.names:
            (directory / name).write_text("#!/bin/sh\n")
            (directory / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(directory))
    return directory


@pytest.mark.parametrize(
    ("image", "args", "words"),
    [
        ("python:v2", ("python", "analysis/a.py", "--x"), ("{bin}/python3", "analysis/a.py", "--x")),
        ("python:v2", ("python3", "-m", "module"), ("{bin}/python3", "-m", "module")),
        ("python:v2", ("analysis/a.py", "--x"), ("{bin}/python3", "analysis/a.py", "--x")),
        ("python:v2", ("pytest", "-q"), ("pytest", "-q")),
        ("python:v2", ("python",), ("{bin}/python3",)),
        ("r:latest", ("analysis/model.R", "arg"), ("{bin}/Rscript", "analysis/model.R", "arg")),
        ("r:v2", ("-e", "1 + 1"), ("{bin}/Rscript", "-e", "1 + 1")),
        ("r:v2", ("Rscript", "a.R"), ("{bin}/Rscript", "a.R")),
        ("r:v2", ("R", "--version"), ("R", "--version")),
        ("jupyter:v1", ("jupyter", "nbconvert", "a.ipynb"), ("{bin}/jupyter", "nbconvert", "a.ipynb")),
        ("jupyter:v1", ("python", "a.py"), ("python", "a.py")),
        ("ehrql:v1", ("generate-dataset", "d.py"), ("{bin}/ehrql", "generate-dataset", "d.py")),
        ("databuilder:v0", ("generate-dataset", "d.py"), ("{bin}/databuilder", "generate-dataset", "d.py")),
        ("cohortextractor:latest", ("measures",), ("{bin}/cohortextractor", "measures")),
        ("sqlrunner:v1", ("--output", "o.csv", "q.sql"), ("{bin}/sqlrunner", "--output", "o.csv", "q.sql")),
        ("stata-mp:latest", ("analysis/m.do", "arg"), ("{bin}/stata-mp", "-b", "do", "analysis/m.do", "arg")),
        ("busybox:v1", ("sh", "-c", "exit 3"), ("sh", "-c", "exit 3")),
    ],
)
def test_arguments_are_given_to_the_program_that_the_image_stands_for(
    bin_dir: Path, image: str, args: tuple[str, ...], words: tuple[str, ...]
) -> None:
    command = command_for(f"{REGISTRY}/{image}", args)

    assert command.words == tuple(word.format(bin=bin_dir) for word in words)


@pytest.mark.parametrize(
    "image", ["ehrql", "ehrql:v1", "ehrql@sha256:0123", "localhost:5000/ehrql:v1", f"{REGISTRY}/ehrql:v1.2"]
)
def test_image_is_known_by_its_name_alone(bin_dir: Path, image: str) -> None:
    assert command_for(image, ("--help",)).program == str(bin_dir / "ehrql")


@pytest.mark.parametrize("image", [program.image for program in PROGRAMS if program.image != "python"])
def test_program_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image: str) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ImageMissingError) as caught:
        command_for(f"{REGISTRY}/{image}:v1", ("x",))

    assert f"{REGISTRY}/{image}:v1" in caught.value.message
    assert "EXECUTOR=docker" in (caught.value.hint or "")


def test_python_is_always_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert command_for("python:v2", ("python", "a.py")).words == (sys.executable, "a.py")


def test_nothing_to_run_is_refused() -> None:
    with pytest.raises(ExecutorError, match="nothing to run"):
        command_for("busybox:v1", ())


def test_what_a_user_installed_for_python_is_found_in_a_job(bin_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/researcher")
    assert command_for("python:v2", ("python",)).env == {"PYTHONUSERBASE": "/home/researcher/.local"}

    monkeypatch.setenv("PYTHONUSERBASE", "/elsewhere")
    assert command_for("python:v2", ("python",)).env == {"PYTHONUSERBASE": "/elsewhere"}


def test_installed_programs_are_listed_with_their_paths(bin_dir: Path) -> None:
    (bin_dir / "stata-mp").unlink()
    programs = {program.name: program.id for program in installed_programs()}

    assert list(programs) == sorted(programs)
    assert programs["r"] == f"process:{bin_dir}/Rscript"
    assert "stata-mp" not in programs
