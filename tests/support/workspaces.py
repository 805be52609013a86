"""What tests of archived workspaces share: settings with stores, a table, and a workspace full of odd files."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from jobrunner_cli.engine import settings as settings_module
from jobrunner_cli.engine.settings import Settings


def settings_for(base: Path, **values: str) -> Settings:
    """Settings whose work directory and stores are below a directory."""
    return settings_module.load({"WORKDIR": str(base), **values}, cwd=base, config_dir=base)


def fill(directory: Path) -> None:
    """Files and directories as outputs may be, with names that are hard to carry, old times and odd permissions."""
    for name, content in {
        "out/a.csv": b"a,b\n1,2\n",
        "out/deep/er/still.bin": bytes(range(256)) * 5000,
        "empty.txt": b"",
        "out/na\nme 'quoted' \xfc.csv": b"odd",
        "metadata/make.log": b"log\n",
        "l" * 120 + "/" + "m" * 120 + ".txt": b"long",
    }.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    undecodable = os.fsencode(directory) + b"/latin-\xe9.csv"
    Path(os.fsdecode(undecodable)).write_bytes(b"undecodable")
    (directory / "hollow").mkdir()
    (directory / "out/a.csv").chmod(0o640)
    os.utime(directory / "out/a.csv", ns=(1, 1_600_000_000_123_456_789))
    (directory / "metadata/.staging/os-job-x").mkdir(parents=True)
    (directory / "metadata/.staging/os-job-x/0").write_text("never put in place")


def picture(directory: Path) -> dict[str, tuple[object, ...]]:
    """Path -> content, permissions and time of everything below a directory, what is only staged left out."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if name.startswith("metadata/.staging"):
            continue
        info = path.lstat()
        content = path.read_bytes() if path.is_file() else None
        # Removing what was staged changes the time of the directory above.
        mtime = info.st_mtime_ns if name != "metadata" else None
        found[name] = (content, stat.S_IMODE(info.st_mode), mtime)
    return found
