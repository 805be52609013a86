"""The small images that tests and the demo run, made from this machine's own files: no registry is asked.

Each carries a digest of its recipe as a label. An image of the same name without that label is somebody's real one
and is left alone.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

REGISTRY = "ghcr.io/opensafely-core"
LABEL = "org.jobrunner.recipe"
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BUSYBOX_PLACES = ("/bin/busybox", "/usr/bin/busybox")

# Parts of the standard library that an action has no use for, and what would drag in a compiler or a screen.
LEFT_OUT = {
    "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "pydoc_data",
    "site-packages", "dist-packages", "lib-tk", "distutils",
}  # fmt: skip
LEFT_OUT_MODULES = ("_tkinter", "_test", "_xxtestfuzz", "xxlimited", "_ctypes_test")

# Stands in for the programs that read the patients' database: the same arguments, five made-up patients.
# A database is under maintenance when its URL says so.
GENERATE_DATASET = r"""#!/bin/sh
set -eu
if [ "${1-}" = maintenance ]; then
    case ${DATABASE_URL-} in *maintenance*) echo db-maintenance ;; *) echo ;; esac
    exit
fi
output= dummy=
while [ $# -gt 0 ]; do
    case $1 in
    --output=*) output=${1#*=} ;;
    --dummy-data-file=*) dummy=${1#*=} ;;
    --output | --dummy-data-file)
        [ $# -gt 1 ] || { echo "$1 needs a file" >&2; exit 2; }
        case $1 in --output) output=$2 ;; *) dummy=$2 ;; esac
        shift
        ;;
    --output-dir=*) output=${1#*=}/input.csv ;;
    --output-dir) output=${2:?}/input.csv; shift ;;
    esac
    shift
done
rows() {
    if [ -n "$dummy" ]; then
        cat "$dummy"
    else
        printf 'patient_id,age,sex\n1,34,female\n2,58,male\n3,71,female\n4,19,male\n5,46,female\n'
    fi
}
if [ -z "$output" ]; then
    rows
    exit
fi
mkdir -p "$(dirname "$output")"
case $output in
*.gz) rows | gzip -c >"$output" ;;
*) rows >"$output" ;;
esac
echo "5 made-up patients written to $output"
"""


def busybox_program() -> Path | None:
    """Debian's statically linked busybox, None where it is not installed."""
    return next((Path(place) for place in BUSYBOX_PLACES if Path(place).exists()), None)


class Tree:
    """A root file system being written into a tar file."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self.tar = tar
        self.made: set[str] = set()

    def directory(self, path: str, mode: int = 0o755) -> None:
        """Add a directory and those above it, once each."""
        path = path.strip("/")
        if path and path not in self.made:
            self.directory(path.rpartition("/")[0])
            self.made.add(path)
            entry = tarfile.TarInfo(path)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            self.tar.addfile(entry)

    def text(self, path: str, content: str, mode: int = 0o644) -> None:
        """Add a small file."""
        self._entry(path, mode, len(content.encode()))
        self.tar.addfile(self.entry, io.BytesIO(content.encode()))

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link, unless the tree has that name."""
        if path.strip("/") not in self.made:
            self._entry(path, 0o777, 0)
            self.entry.type, self.entry.linkname = tarfile.SYMTYPE, target
            self.tar.addfile(self.entry)

    def file(self, path: str, source: Path) -> None:
        """Add a file's content; the time stays, for compiled Python files are checked against their source's."""
        if path.strip("/") in self.made:
            return
        with source.open("rb") as content:
            found = os.fstat(content.fileno())
            if stat.S_ISREG(found.st_mode):
                self._entry(path, 0o755 if found.st_mode & 0o111 else 0o644, found.st_size)
                self.entry.mtime = int(found.st_mtime)
                self.tar.addfile(self.entry, content)

    def _entry(self, path: str, mode: int, size: int) -> None:
        path = path.strip("/")
        self.directory(path.rpartition("/")[0])
        self.made.add(path)
        self.entry = tarfile.TarInfo(path)
        self.entry.mode, self.entry.size = mode, size


def base_system(tree: Tree) -> None:
    """Add busybox with all its commands, users, and the directories that every container expects."""
    program = busybox_program()
    if program is None:
        msg = "busybox-static is not installed"
        raise FileNotFoundError(msg)
    for path in ("/proc", "/sys", "/dev", "/etc", "/root", "/workspace", "/usr/bin", "/usr/sbin", "/sbin", "/var/tmp"):
        tree.directory(path)
    tree.directory("/tmp", 0o1777)
    tree.text("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
    tree.text("/etc/group", "root:x:0:\nnogroup:x:65534:\n")
    tree.file("/bin/busybox", program)
    commands = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for command in commands:
        tree.link(f"/bin/{command}", "/bin/busybox")
    tree.link("/usr/bin/env", "/bin/busybox")


def shared_libraries(programs: list[Path]) -> Iterator[tuple[str, Path]]:
    """Everything that the dynamic loader maps for these files: path inside the image, path here."""
    done = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False)
    for here in sorted(set(re.findall(r"(?:=>\s+|^\s+)(/\S+) \(0x", done.stdout, re.MULTILINE))):
        standard = here.startswith(("/lib/", "/lib64/", "/usr/lib/"))
        yield (here if standard else f"/usr/local/lib/{Path(here).name}"), Path(here)


def python_system(tree: Tree) -> None:
    """Add the interpreter that runs this, with its standard library, below /usr/local."""
    base_system(tree)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    program = Path(sys._base_executable or sys.executable).resolve()  # type: ignore[attr-defined]
    tree.file(f"/usr/local/bin/{version}", program)
    for name in ("python", "python3"):
        tree.link(f"/usr/local/bin/{name}", version)
        tree.link(f"/usr/bin/{name}", f"/usr/local/bin/{version}")
    library = Path(sysconfig.get_path("stdlib"))
    modules = [program]
    for folder, folders, names in os.walk(library):
        folders[:] = sorted(name for name in folders if name not in LEFT_OUT and not name.startswith("config-"))
        inside = f"/usr/local/lib/{version}/{Path(folder).relative_to(library)}"
        for name in sorted(names):
            source = Path(folder, name)
            if not source.is_file() or name.startswith(LEFT_OUT_MODULES) or re.search(r"\.opt-[12]\.pyc$", name):
                continue
            tree.file(os.path.normpath(f"{inside}/{name}"), source)
            if name.endswith(".so"):
                modules.append(source)
    for path, here in shared_libraries(modules):
        tree.file(path, here)


def database_system(tree: Tree) -> None:
    """Add what stands in for the programs that read the database."""
    base_system(tree)
    tree.text("/usr/local/bin/generate", GENERATE_DATASET, 0o755)


PLAIN = [f"ENV PATH={SEARCH_PATH}", "WORKDIR /workspace"]
RECIPES: list[tuple[tuple[str, ...], Callable[[Tree], None], list[str]]] = [
    (("busybox:v1",), base_system, [*PLAIN, 'CMD ["sh"]']),
    (("ehrql:v1", "cohortextractor:latest"), database_system, [*PLAIN, 'ENTRYPOINT ["/usr/local/bin/generate"]']),
    (
        ("python:v2", "python:v1", "python:latest"),
        python_system,
        [*PLAIN, "ENV LD_LIBRARY_PATH=/usr/local/lib", "ENV LANG=C.UTF-8", 'CMD ["python3"]'],
    ),
]
#: The names under which the images are found.
NAMES = tuple(f"{REGISTRY}/{name}" for names, _, _ in RECIPES for name in names)


def recipe_digest() -> str:
    """Changes with this file, with busybox and with the interpreter that goes into the image."""
    program = busybox_program()
    parts = [Path(__file__).read_text(), sys.version, sys.base_prefix]
    if program is not None:
        parts.append(hashlib.sha256(program.read_bytes()).hexdigest())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def missing(client: Any) -> bool:
    """Whether any image has to be made (or, made by an older recipe, made anew)."""
    return any(_wanted(client, name, recipe_digest()) for name in NAMES)


def _wanted(client: Any, name: str, digest: str) -> bool:
    import docker.errors

    try:
        labels = client.inspect_image(name)["Config"].get("Labels") or {}
    except docker.errors.ImageNotFound:
        return True
    return LABEL in labels and labels[LABEL] != digest


def make(client: Any) -> list[str]:
    """Make what is missing and return the names that were made."""
    import docker.errors

    digest = recipe_digest()
    made: list[str] = []
    for names, build, changes in RECIPES:
        wanted = [f"{REGISTRY}/{name}" for name in names if _wanted(client, f"{REGISTRY}/{name}", digest)]
        if not wanted:
            continue
        old = set()
        for name in wanted:
            with suppress(docker.errors.ImageNotFound):
                old.add(client.inspect_image(name)["Id"])
        with tempfile.TemporaryFile() as content:
            with tarfile.open(fileobj=content, mode="w") as tar:
                build(Tree(tar))
            content.seek(0)
            first, *others = wanted
            # The tag goes with the name: Podman passes over one that is given by itself.
            client.import_image_from_data(content, repository=first, changes=[*changes, f"LABEL {LABEL}={digest}"])
        for name in others:
            repository, tag = name.rsplit(":", 1)
            client.tag(first, repository, tag, force=True)
        for image in old:
            with suppress(docker.errors.APIError):
                client.remove_image(image)  # refused while a container still uses it, which is right
        made += wanted
    return made
