"""Makes a developer's `.env` from `dotenv-sample`, which keeps everything below the checkout's workdir/."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORKDIR = ROOT / "workdir"
#: The variables that are filled in; their directories are made.
DIRECTORIES = {
    "WORKDIR": WORKDIR,
    "HIGH_PRIVACY_STORAGE_BASE": WORKDIR / "high_privacy",
    "MEDIUM_PRIVACY_STORAGE_BASE": WORKDIR / "medium_privacy",
}


def quoted(value: str) -> str:
    """The value as a `.env` file has to have it."""
    if re.fullmatch(r"[A-Za-z0-9_./:@%+,-]+", value):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def filled_in(sample: str) -> str:
    """The sample with the directories of this checkout."""
    lines = []
    for line in sample.splitlines():
        name = line.partition("=")[0].removeprefix("#").strip()
        lines.append(f"{name}={quoted(str(DIRECTORIES[name]))}" if "=" in line and name in DIRECTORIES else line)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Make what is missing; what is there stays as it is."""
    try:
        with (ROOT / ".env").open("x") as made:
            made.write(filled_in((ROOT / "dotenv-sample").read_text()))
    except FileExistsError:
        print(".env is there already and stays as it is")
        return
    for directory in DIRECTORIES.values():
        directory.mkdir(parents=True, exist_ok=True)
    print(f"Made .env; jobrunner keeps its database and outputs in {WORKDIR}")


if __name__ == "__main__":
    main()
