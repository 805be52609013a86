"""The lock files: written by `just update-dependencies`, checked by `just check`.

Each lock begins with a digest of the declarations it was made from, so that a stale lock is found without
asking any package index: `python tools/locks.py check` needs nothing but the two files and pyproject.toml.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OLDEST_PYTHON = "3.11"
NOTE = "# Made by `just update-dependencies`; not to be edited by hand."
DIGEST_LINE = "# declarations: sha256:"
LOCKS: dict[str, list[str]] = {"requirements.prod.txt": [], "requirements.dev.txt": ["--group", "dev"]}


def declarations(with_dev: bool) -> str:
    """Digest of what pyproject.toml asks for: it changes exactly when a lock has to be made anew."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = {
        "python": project["project"]["requires-python"],
        "dependencies": sorted(project["project"]["dependencies"]),
    }
    if with_dev:
        asked["dev"] = sorted(project["dependency-groups"]["dev"])
        asked["build"] = sorted(project["build-system"]["requires"])
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def recorded(lock: Path) -> str | None:
    """The digest in a lock's header, None where there is no lock or no such line."""
    if not lock.exists():
        return None
    for line in lock.read_text().splitlines():
        if line.startswith(DIGEST_LINE):
            return line.removeprefix(DIGEST_LINE).strip()
    return None


def pins(lock: Path) -> dict[str, set[str]]:
    """Each package of a lock with its pinned requirement lines (more than one where Python versions differ)."""
    found: dict[str, set[str]] = {}
    for line in lock.read_text().splitlines():
        if "==" in line and not line.startswith((" ", "#")):
            requirement = line.removesuffix("\\").strip()
            found.setdefault(requirement.split("==")[0], set()).add(requirement.split(";")[0].strip())
    return found


def check() -> int:
    """Return 0 when both locks are fresh and agree, else say what is wrong."""
    problems = [
        f"{name} does not match pyproject.toml"
        for name, extra in LOCKS.items()
        if recorded(ROOT / name) != declarations(bool(extra))
    ]
    if not problems:
        prod, dev = (pins(ROOT / name) for name in LOCKS)
        problems = [f"{name}: requirements.dev.txt has another version" for name in prod if prod[name] != dev.get(name)]
    for problem in problems:
        print(f"{problem}: run `just update-dependencies`", file=sys.stderr)
    return 1 if problems else 0


def update() -> int:
    """Resolve afresh: newest versions, one resolution for every supported Python, hashes, no index named."""
    constraints: list[str] = []
    for name, extra in LOCKS.items():
        with tempfile.TemporaryDirectory() as scratch:
            made = Path(scratch, "lock.txt")
            command: list[str | Path] = [
                Path(sys.executable).with_name("uv"), "pip", "compile", "pyproject.toml", *extra, *constraints,
                "--universal", "--python-version", OLDEST_PYTHON, "--generate-hashes", "--upgrade",
                "--no-header", "--no-emit-index-url", "--no-annotate", "--quiet", "--output-file", made,
            ]  # fmt: skip
            done = subprocess.run(command, cwd=ROOT, check=False)
            if done.returncode:
                return done.returncode
            digest = f"{DIGEST_LINE}{declarations(bool(extra))}"
            (ROOT / name).write_text(f"{NOTE}\n{digest}\n{made.read_text()}")
        # The second lock takes the first one's versions, so that tests run what an installation gets.
        constraints = ["--constraint", name]
        print(f"{name}: {len(pins(ROOT / name))} packages")
    return 0


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["check"]:
            sys.exit(check())
        case ["update"]:
            sys.exit(update())
        case _:
            sys.exit("usage: locks.py check|update")
