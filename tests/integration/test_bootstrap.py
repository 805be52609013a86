"""`./just` on machines of several kinds, and what its first recipes leave behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dotenv import dotenv_values

from support.surroundings import ROOT, STARTED_WITH

#: What a bootstrap reads; the tests are not among it.
PARTS = (
    "just", "justfile", "tools", "docker", "jobrunner_cli", "pyproject.toml", "requirements.prod.txt",
    "requirements.dev.txt", "dotenv-sample", "README.md", "LICENSE",
)  # fmt: skip
PYTHON = getattr(sys, "_base_executable", None) or sys.executable

#: A version manager's command for a version that is not chosen here.
FAILING_SHIM = '#!/bin/sh\necho "pyenv: ${0##*/}: command not found" >&2\nexit 127\n'
WORKING = f'#!/bin/sh\nexec "{PYTHON}" "$@"\n'
#: An interpreter as Debian ships it: the module that puts pip into an environment is a package of its own.
WITHOUT_VENV = (
    f'#!/bin/sh\nexec "{PYTHON}" -I -c "import sys; sys.modules[\'ensurepip\'] = None; exec(sys.argv[1])" "$3"\n'
)
TOO_OLD = "#!/bin/sh\nexit 3\n"


def copy_of_checkout(place: Path) -> Path:
    place.mkdir(parents=True)
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, place / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / part, place / part)
    return place


def programs_in(place: Path) -> Path:
    """A directory with the few programs that are always there."""
    place.mkdir(parents=True, exist_ok=True)
    for name in ("sh", "cat", "cmp", "readlink"):
        (place / name).symlink_to(shutil.which(name) or name)
    return place


class Machine:
    """A PATH with the few programs that are always there, and the Pythons that a test wants."""

    def __init__(self, place: Path) -> None:
        self.programs = programs_in(place / "programs")
        self.later = place / "later"
        self.later.mkdir()
        self.checkout = copy_of_checkout(place / "checkout")
        # What the bootstrap does with the interpreter is shown elsewhere; here it only says which one it got.
        (self.checkout / "tools/bootstrap.py").write_text("import sys\nprint('chosen:', sys.executable)\nsys.exit(7)\n")

    def python(self, name: str, script: str, place: Path | None = None) -> None:
        path = (place or self.programs) / name
        path.write_text(script)
        path.chmod(0o755)

    def bootstrap(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.checkout / "just", "--ready"],
            env={"PATH": f"{self.programs}:{self.later}"}, capture_output=True, text=True, check=False,
        )  # fmt: skip


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_command_of_a_version_manager_that_fails_is_passed_over_in_silence(machine: Machine):
    machine.python("python3.12", FAILING_SHIM)
    machine.python("python3.13", FAILING_SHIM)
    machine.python("python3.11", WORKING)
    done = machine.bootstrap()
    assert (done.returncode, done.stdout, done.stderr) == (7, f"chosen: {PYTHON}\n", "")


def test_real_interpreter_behind_a_failing_command_of_the_same_name_is_found(machine: Machine):
    machine.python("python3.12", FAILING_SHIM)
    machine.python("python3.12", WORKING, machine.later)
    assert machine.bootstrap().stdout == f"chosen: {PYTHON}\n"


def test_interpreter_without_venv_is_passed_over_for_one_that_has_it(machine: Machine):
    machine.python("python3.12", WITHOUT_VENV)
    machine.python("python3", WORKING)
    done = machine.bootstrap()
    assert (done.stdout, done.stderr) == (f"chosen: {PYTHON}\n", "")


def test_missing_venv_names_the_package(machine: Machine):
    machine.python("python3.13", FAILING_SHIM)
    machine.python("python3", WITHOUT_VENV)
    done = machine.bootstrap()
    assert done.returncode == 1
    assert f"apt-get install python{sys.version_info.major}.{sys.version_info.minor}-venv" in done.stderr


@pytest.mark.parametrize("script", [None, TOO_OLD, FAILING_SHIM])
def test_no_python_that_is_new_enough_says_so(machine: Machine, script: str | None):
    if script:
        machine.python("python3", script)
    done = machine.bootstrap()
    assert done.returncode == 1
    assert "no working Python 3.11 or newer" in done.stderr


@pytest.mark.parametrize("link", ["{0}/just", "checkout/just"])
def test_link_to_the_bootstrap_leads_to_its_checkout(machine: Machine, tmp_path: Path, link: str):
    machine.python("python3", WORKING)
    (tmp_path / "link").symlink_to(link.format(machine.checkout))
    (tmp_path / "second link").symlink_to("link")
    for start in ([tmp_path / "second link"], ["sh", "second link"]):
        done = subprocess.run(
            [*start, "--ready"], cwd=tmp_path, env={"PATH": str(machine.programs)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr) == (7, f"chosen: {PYTHON}\n", "")


def test_checkout_that_cannot_be_written_to_is_told_in_one_line(tmp_path: Path):
    checkout = copy_of_checkout(tmp_path / "checkout")
    (checkout / ".venv.lock").mkdir()
    done = subprocess.run([PYTHON, checkout / "tools/bootstrap.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"./just: .venv cannot be made: {checkout}/.venv.lock: Is a directory\n"


def test_environment_that_is_active_is_not_made_from_itself(machine: Machine):
    activated = machine.checkout / ".venv/bin"
    activated.mkdir(parents=True)
    (activated / "python3.12").symlink_to(PYTHON)
    (activated.parent / "pyvenv.cfg").write_text(f"home = {Path(PYTHON).parent}\n")
    machine.programs = programs_in(activated)
    done = machine.bootstrap()
    assert done.returncode == 7
    assert str(machine.checkout) not in done.stdout


# -- devenv


def devenv(checkout: Path) -> None:
    subprocess.run([sys.executable, checkout / "tools/devenv.py"], check=True, capture_output=True)


@pytest.mark.parametrize("name", ["checkout", "a 'strange' $place"])
def test_devenv_fills_in_the_stores_and_makes_them(tmp_path: Path, name: str):
    checkout = copy_of_checkout(tmp_path / name)
    devenv(checkout)
    made = dotenv_values(checkout / ".env", interpolate=False)
    for variable, directory in (
        ("HIGH_PRIVACY_STORAGE_BASE", "high_privacy"),
        ("MEDIUM_PRIVACY_STORAGE_BASE", "medium_privacy"),
    ):
        assert made[variable] == str(checkout / "workdir" / directory)
        assert (checkout / "workdir" / directory).is_dir()
    assert made["BACKEND"] == "expectations"


def test_devenv_leaves_a_dotenv_as_it_is(tmp_path: Path):
    checkout = copy_of_checkout(tmp_path / "checkout")
    (checkout / ".env").write_text("BACKEND=mine\n")
    devenv(checkout)
    assert (checkout / ".env").read_text() == "BACKEND=mine\n"


# -- the environment itself, made for real


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[subprocess.CompletedProcess[str]]]]:
    """A checkout in which two bootstraps were started at the same moment, by someone who has pip install elsewhere."""
    checkout = copy_of_checkout(tmp_path_factory.mktemp("bootstrap") / "checkout")
    elsewhere = checkout.parent / "elsewhere"
    configuration = checkout.parent / "pip.conf"
    # Read beside the machine's own, which may name an index that is needed.
    configuration.write_text(
        f"[install]\ntarget = {elsewhere}/target\nprefix = {elsewhere}/prefix\nroot = {elsewhere}/root\nuser = true\n"
    )
    starting = [
        subprocess.Popen(
            [checkout / "just", "--ready"],
            env={
                **STARTED_WITH,
                "PIP_CONFIG_FILE": str(configuration),
                "PIP_USER": "1",
                "PIP_TARGET": str(elsewhere / "variable"),
            },
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    done = []
    for process in starting:
        out, err = process.communicate(timeout=280)
        done.append(subprocess.CompletedProcess(process.args, process.returncode, out, err))
    yield checkout, done
    shutil.rmtree(checkout)


@pytest.mark.slow
def test_two_at_once_make_one_environment(made):
    checkout, done = made
    assert [one.returncode for one in done] == [0, 0], done
    assert sorted("Waiting" in one.stderr for one in done) == [False, True]
    assert sum("Making .venv" in one.stderr for one in done) == 1
    subprocess.run([checkout / ".venv/bin/python", "-c", "import jobrunner_cli, pytest"], check=True, cwd="/")
    assert not (checkout.parent / "elsewhere").exists()


@pytest.mark.slow
def test_environment_that_stands_is_used_as_it_is(made, tmp_path: Path):
    checkout, _ = made
    # Without a single Python on the PATH: none is asked.
    done = subprocess.run(
        [checkout / "just", "--ready"], env={"PATH": str(programs_in(tmp_path))}, capture_output=True, check=True
    )
    assert done.stderr == done.stdout == b""


@pytest.mark.slow
def test_recipes_are_listed_from_any_directory(made, tmp_path: Path):
    checkout, _ = made
    done = subprocess.run([checkout / "just"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "devenv" in done.stdout


@pytest.mark.slow
def test_installed_just_makes_the_environment_too(made):
    checkout, _ = made
    stamp = checkout / ".venv/.stamp"
    whole = stamp.read_text()
    stamp.write_text(whole[:-1])
    elsewhere = shutil.copy2(checkout / ".venv/bin/just", checkout.parent / "just")
    done = subprocess.run(
        [elsewhere, "devenv"], cwd=checkout / "docker", env=STARTED_WITH, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert stamp.read_text() == whole
    assert (checkout / ".env").is_file()


@pytest.mark.slow
def test_changed_project_file_installs_the_project_alone(made):
    checkout, _ = made
    seen = checkout / ".venv/here-before"
    seen.touch()
    with (checkout / "pyproject.toml").open("a") as project:
        project.write("\n# one line more\n")
    subprocess.run([checkout / "just", "--ready"], env=STARTED_WITH, capture_output=True, check=True)
    assert seen.exists()
    assert (checkout / ".venv/.stamp").read_text().endswith("\n# one line more\n")


@pytest.mark.slow
def test_half_made_environment_is_made_anew(made):
    checkout, _ = made
    (checkout / ".venv/.stamp").unlink()
    left = checkout / ".venv/left-behind"
    left.touch()
    os.truncate(checkout / ".venv/bin/just", 0)
    subprocess.run([checkout / "just", "--ready"], env=STARTED_WITH, capture_output=True, check=True)
    assert not left.exists()
    assert subprocess.run([checkout / ".venv/bin/just", "--version"], capture_output=True, check=True).stdout
