"""A job that does its worst in its working copy, in a real container: what leaves it, what is said, what is left."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.runners import WorkDirectory
from support.studies import Action, action, change_study, make_study

pytestmark = [pytest.mark.slow]

SECRET = "kept from every job"

NASTY = r"""
import os, socket, sys

here = os.getcwd()
# Without a container this runs on the machine itself, as whoever tests: then it must stay in its working copy.
contained = here == "/workspace"
assert contained or os.path.basename(os.path.dirname(here)).startswith("os-job-"), here


def write(path, content="a\n1\n"):
    with open(path, "w") as file:
        file.write(content)


os.makedirs("out", exist_ok=True)
write("out/good.csv")
os.chmod("out/good.csv", 0o6777)
targets = {
    "shadow": "/etc/shadow", "control": "../../control/code.json", "prepared": here + "/../control/prepared",
    "up": "../../../../../../../../../etc/passwd", "environ": "/proc/self/environ", "zero": "/dev/zero",
    "gone": "nothing.csv", "loop": "loop.csv", "secret": sys.argv[1], "directory": ".",
}
for name, target in targets.items():
    os.symlink(target, "out/" + name + ".csv")
os.symlink("good.csv", "out/inside.csv")
os.symlink(here + "/out/good.csv", "out/absolute.csv")
os.link("input.csv", "out/hard.csv")
os.mkfifo("out/pipe.csv")
os.chdir("out")
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind("socket.csv")
os.chdir(here)
os.mkdir("out/folder.csv")
write("out/new\nline.csv")
write('out/quo"te.csv')
write("out/..csv")
write(b"out/caf\xe9.csv")
with open("out/sparse.csv", "wb") as file:
    file.truncate(1 << 40)
os.symlink("/etc", "outside")
os.symlink("../control", "control")
os.makedirs("metadata")
write("metadata/manifest.csv")
os.makedirs("closed/inner")
write("closed/inner/x.csv")
for number in range(3000):
    write("out/%d.tmp" % number)
for number in range(3000):
    os.mkdir("deep")
    os.chdir("deep")
os.chdir(here)
os.chmod("closed/inner", 0)
os.chmod("closed", 0)
os.chmod("out", 0o3777)
if contained:
    for path in ("../control/code.json", "../control/prepared", "../control", "/usr/escaped"):
        try:
            write(path, "overwritten")
        except OSError as error:
            print("refused", path, error)
print("done\n" * 3)
"""

STORED = {"out/good.csv", "out/inside.csv", "out/absolute.csv", "out/new\nline.csv", 'out/quo"te.csv', "out/..csv"}
REFUSED = {
    "shadow", "control", "prepared", "up", "environ", "zero", "gone", "loop", "secret", "directory",
    "hard", "pipe", "socket", "folder", "caf\\xe9", "sparse",
}  # fmt: skip


def nasty(workdir: WorkDirectory, secret: Path, **more: Any) -> Action:
    patterns = ["out/*.csv", "outside/*.csv", "control/*.json", "m*data/manifest.csv", "closed/*/*.csv"]
    run = workdir.command(f"cp in.csv input.csv; python nasty.py {secret}")
    return action(run, "out/*.csv", high=patterns[1:] if more.pop("all_patterns", False) else [], **more)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file on this machine, readable for everybody."""
    file = tmp_path / "secret.csv"
    file.write_text(SECRET)
    return file


def everything_stored(workdir: WorkDirectory) -> str:
    """All bytes of both stores, logs and manifests included."""
    return "\n".join(
        path.read_text(errors="replace")
        for store in (workdir.high, workdir.medium)
        for path in store.rglob("*")
        if path.is_file() and not path.is_symlink()
    )


def links_in(workdir: WorkDirectory) -> list[Path]:
    return [
        path for store in (workdir.high, workdir.medium) for path in store.rglob("*")
        if path.is_symlink() or not (path.is_dir() or path.is_file())
    ]  # fmt: skip


def test_only_what_is_the_jobs_own_is_stored_and_the_rest_is_named(
    workdir: WorkDirectory, secret: Path, tmp_path: Path
):
    study = make_study(tmp_path / "study", {"nasty": nasty(workdir, secret)}, {"nasty.py": NASTY, "in.csv": "a\n1\n"})
    jobs = workdir.add(study, "nasty")
    workdir.run()
    assert workdir.codes() == {"nasty": "succeeded"}
    assert set(workdir.outputs(workdir.high)) == set(workdir.outputs(workdir.medium)) == STORED
    assert set(workdir.outputs(workdir.high).values()) == {b"a\n1\n"}
    assert set(workdir.manifest()) == STORED
    assert SECRET not in everything_stored(workdir)
    assert links_in(workdir) == []
    assert not (workdir.high / "workspaces/test/out/good.csv").stat().st_mode & 0o6111
    log = (workdir.high / "workspaces/test/metadata/nasty.log").read_text()
    assert {name for name in REFUSED if f"out/{name}.csv" not in log} == set()
    assert "out/new\\nline.csv" in log
    assert workdir.leftovers() == []
    assert workdir.starts() == {jobs["nasty"]: 1}


def test_patterns_that_lead_behind_links_match_nothing(workdir: WorkDirectory, secret: Path, tmp_path: Path):
    study = make_study(
        tmp_path / "study",
        {"nasty": nasty(workdir, secret, all_patterns=True)},
        {"nasty.py": NASTY, "in.csv": "a\n1\n"},
    )
    workdir.add(study, "nasty")
    workdir.run(code=1)
    assert workdir.codes() == {"nasty": "unmatched_patterns"}
    for pattern in ("outside/*.csv", "control/*.json", "m*data/manifest.csv"):
        assert pattern in workdir.messages()["nasty"]
    # A runner that is root needs no permission to look into a closed directory.
    closed = {"closed/inner/x.csv"}
    assert set(workdir.outputs(workdir.high)) in (STORED, STORED | closed)
    assert set(workdir.outputs(workdir.medium)) == STORED
    assert not (workdir.high / "workspaces/test/metadata/manifest.csv").exists()
    assert workdir.leftovers() == []


def test_names_of_one_job_reach_the_next_whatever_links_its_repository_plants(
    workdir: WorkDirectory, secret: Path, tmp_path: Path
):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "good.csv").write_text("precious")
    study = make_study(tmp_path / "study", {"nasty": nasty(workdir, secret)}, {"nasty.py": NASTY, "in.csv": "a\n1\n"})
    workdir.add(study, "nasty")
    workdir.run()
    count = workdir.command("find out -type f | grep -c csv > seen.txt; cat out/*.csv > all.csv; test ! -L out")
    planted = {
        "nasty": nasty(workdir, secret),
        "after": action(count, "seen.txt", "all.csv", needs=["nasty"]),
    }
    (study.path / "out").symlink_to(outside)
    (study.path / "in.csv").unlink()
    (study.path / "in.csv").symlink_to(secret)
    change_study(study, planted)
    workdir.add(study, "after")
    workdir.run()
    assert workdir.codes() == {"nasty": "succeeded", "after": "succeeded"}
    # One of the six names is hidden from the shell.
    assert workdir.outputs(workdir.high)["seen.txt"].strip() == b"6"
    assert workdir.outputs(workdir.high)["all.csv"] == b"a\n1\n" * 5
    assert {path.name: path.read_text() for path in outside.iterdir()} == {"good.csv": "precious"}
    assert SECRET not in everything_stored(workdir)
    assert workdir.leftovers() == []


@contextmanager
def swapped(path: Path, other: Path) -> Iterator[None]:
    """While the block runs, two things exchange their places without end, in one step each.

    The directory of each is held open: when that one is itself exchanged, nothing is taken from where a link leads.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    done = threading.Event()
    ends = [(os.open(end.parent, os.O_RDONLY | os.O_DIRECTORY), os.fsencode(end.name)) for end in (path, other)]

    def swap() -> None:
        while not done.is_set():
            libc.renameat2(*ends[0], *ends[1], 2)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        for descriptor, _ in ends:
            os.close(descriptor)


def test_what_is_swapped_for_links_while_the_runner_stores_it_gives_nothing_away(
    workdir: WorkDirectory, secret: Path, tmp_path: Path
):
    """No container outlives its command, so somebody beside it does the swapping."""
    held = "mkdir out; for n in 0 1 2 3 4 5 6 7 8 9; do echo mine > out/$n.txt; done; touch busy; "
    held += "while [ ! -e go ]; do sleep 0.05; done"
    study = make_study(tmp_path / "study", {"raced": action(workdir.command(held), "out/*.txt")})
    job_id = workdir.add(study, "raced")["raced"]
    runner = workdir.start("run", "--until-idle")
    workdir.wait_for_file(job_id, "busy")
    work = workdir.working_copy(job_id)
    (work / "link").symlink_to(secret)
    (tmp_path / "5.txt").write_text(SECRET)
    (work / "directory").symlink_to(tmp_path)
    with swapped(work / "out/5.txt", work / "link"), swapped(work / "out", work / "directory"):
        workdir.let_go(job_id)
        assert runner.ends() in {0, 1}
    assert workdir.codes()["raced"] in {"succeeded", "unmatched_patterns", "internal_error"}
    assert set(workdir.outputs(workdir.high).values()) <= {b"mine\n"}
    assert SECRET not in everything_stored(workdir)
    workdir.cli("jobs", "kill", job_id, "--cleanup")
    assert workdir.leftovers() == []
    assert secret.read_text() == SECRET
