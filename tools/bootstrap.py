"""Makes the checkout's `.venv`; run by `./just` with the interpreter it chose, when the stamp says it is time.

Standard library only: nothing is installed yet.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / ".stamp"
LOCKS = ("requirements.prod.txt", "requirements.dev.txt")
#: Settings of pip that would have it install somewhere else than into the environment: as variables, and as options that
#: outdo what its configuration files say, which stay in force for the rest. An empty target is none; an empty prefix or
#: root would be the directory that it is run in.
ELSEWHERE = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT")
HERE = ("--target=", f"--prefix={VENV}", "--root=/")


def wanted_stamp() -> tuple[str, str]:
    """What the stamp says of a finished environment: of its packages, and of the project itself.

    `./just` compares the same text, in the same order, byte by byte.
    """
    packages = [f"{ROOT}\n", (VENV / "pyvenv.cfg").read_text(), *((ROOT / lock).read_text() for lock in LOCKS)]
    return "".join(packages), (ROOT / "pyproject.toml").read_text()


def quietly(*command: str | Path) -> None:
    """Run a command and show what it said only when it fails."""
    done = subprocess.run(
        command,
        check=False,
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in ELSEWHERE} | {"PIP_USER": "0"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        sys.stderr.write(done.stdout)
        sys.exit(f"./just: failed with exit code {done.returncode}: {' '.join(map(str, command))}")


def install(*arguments: str | Path) -> None:
    """Install into the environment, never from the caller's directory and never asking anything."""
    pip = (VENV / "bin/python", "-I", "-m", "pip", "--no-input", "--disable-pip-version-check")
    quietly(*pip, "install", *HERE, *arguments)


def works(python: Path) -> bool:
    """Whether an environment's interpreter still starts (the one it links to may be gone)."""
    try:
        done = subprocess.run([python, "-I", "-c", ""], check=False, stdin=subprocess.DEVNULL, capture_output=True)
    except OSError:
        return False
    return done.returncode == 0


def make() -> None:
    """Bring the environment up to date: nothing, the project alone, or all of it."""
    done = ""
    if STAMP.is_file() and works(VENV / "bin/python"):
        done = STAMP.read_text()
        packages, project = wanted_stamp()
        if done == packages + project:
            return  # another ./just made it while this one waited for the lock
        if not done.startswith(packages):
            done = ""
    if not done:
        print(f"Making .venv with Python {platform.python_version()} (once, about half a minute)", file=sys.stderr)
        if VENV.is_symlink() or VENV.is_file():
            VENV.unlink()
        elif VENV.exists():
            shutil.rmtree(VENV)
        quietly(sys.executable, "-I", "-m", "venv", VENV)
        install("--require-hashes", "-r", ROOT / "requirements.dev.txt")
    STAMP.unlink(missing_ok=True)
    install("--no-index", "--no-deps", "--no-build-isolation", "--editable", ROOT)
    unfinished = VENV / ".stamp.new"
    unfinished.write_text("".join(wanted_stamp()))
    unfinished.rename(STAMP)


def main() -> None:
    """Make the environment under a lock, which ends with the process that holds it, however that ends."""
    with (ROOT / ".venv.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Waiting for another ./just that is making .venv", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        make()


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.exit(f"./just: .venv cannot be made: {error.filename or ROOT}: {error.strerror}")
