"""Fetches that die, leave things behind or happen at once: nothing half is ever taken for whole."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

import jobrunner_cli
from jobrunner_cli.engine.errors import GitError
from jobrunner_cli.engine.study.git import GitInterruptedError
from jobrunner_cli.engine.study.repository import GitAccess, Repositories
from support.git_server import GitServer, SourceRepository, git_server, set_at_the_end

pytestmark = pytest.mark.slow

#: Fetches commits given as arguments, in a process of its own.
FETCH = """
import sys
from pathlib import Path
from jobrunner_cli.engine.study.repository import GitAccess, Repositories
repos_dir, host, url, *commits = sys.argv[1:]
repositories = Repositories(GitAccess(repos_dir=Path(repos_dir), backend="test", github_host=host))
print("ready", flush=True)
sys.stdin.readline()
for commit in commits:
    repositories.ensure_commit(url, commit)
    assert b"".join(b"".join(entry.chunks) for entry in repositories.tree(url, commit).read())
"""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitServer]:
    with git_server(tmp_path / "server") as running:
        monkeypatch.setenv("GIT_SSL_CAINFO", str(running.certificate))
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.lower(), raising=False)
        yield running


@pytest.fixture
def study(tmp_path: Path) -> SourceRepository:
    return SourceRepository(tmp_path / "study")


@pytest.fixture
def access(tmp_path: Path, server: GitServer) -> GitAccess:
    return GitAccess(repos_dir=tmp_path / "repos", backend="test", first_wait=0.01, github_host=server.host)


def fetch_elsewhere(access: GitAccess, url: str, *commits: str) -> subprocess.Popen[bytes]:
    """A process that is about to fetch these commits, and does when it gets a line."""
    checkout = Path(jobrunner_cli.__file__).parent.parent
    process = subprocess.Popen(
        [sys.executable, "-c", FETCH, str(access.repos_dir), access.github_host, url, *commits],
        env={**os.environ, "PYTHONPATH": str(checkout)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def go(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.flush()


def gits_at_work(access: GitAccess) -> list[int]:
    """The processes of git that work on these mirrors."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            environment = (directory / "environ").read_bytes()
            name = (directory / "comm").read_text()
        except OSError:
            continue
        if b"GIT_DIR=" + os.fsencode(access.repos_dir) in environment and name.startswith("git"):
            found.append(int(directory.name))
    return found


def eventually(condition: Callable[[], object]) -> None:
    """Wait for what git does on its own and tells nobody."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def content(repositories: Repositories, url: str, commit: str) -> bytes:
    return b"".join(b"".join(entry.chunks) for entry in repositories.tree(url, commit).read())


def test_git_killed_in_the_middle_leaves_nothing_that_passes_for_complete(
    study: SourceRepository, server: GitServer, access: GitAccess
) -> None:
    payload = os.urandom(300_000)
    commit = study.change({"file": payload})
    url = server.publish(study, "org/study")
    held = server.fail_next("hold", "git-upload-pack")

    with ThreadPoolExecutor() as pool, set_at_the_end(held.release):
        fetching = pool.submit(Repositories(replace(access, attempts=1)).ensure_commit, url, commit)
        assert held.struck.wait(30)
        eventually(lambda: list(access.repos_dir.glob("*.git/objects/pack/tmp_pack_*")))
        killed = gits_at_work(access)
        for number in killed:
            os.kill(number, signal.SIGKILL)
        assert killed
        error = fetching.exception(30)

    assert isinstance(error, GitError)
    assert commit in error.message
    assert not list(access.repos_dir.glob("*.git/refs/tags/fetched/*"))
    assert list(access.repos_dir.glob("*.git/objects/pack/tmp_pack_*"))
    assert content(Repositories(access), url, commit) == payload
    assert not list(access.repos_dir.glob("*.git/objects/pack/tmp_pack_*"))


def test_fetch_that_outlives_its_runner_keeps_others_out_until_it_ends(
    study: SourceRepository, server: GitServer, access: GitAccess
) -> None:
    payload = os.urandom(300_000)
    commit = study.change({"file": payload})
    url = server.publish(study, "org/study")
    held = server.fail_next("hold", "git-upload-pack")
    runner = fetch_elsewhere(access, url, commit)
    go(runner)
    assert held.struck.wait(30)
    runner.kill()
    runner.communicate()
    assert gits_at_work(access)

    with pytest.raises(GitError, match="busy"):
        Repositories(replace(access, timeout=0.2)).ensure_commit(url, commit)
    with ThreadPoolExecutor() as pool:
        fetching = pool.submit(content, Repositories(access), url, commit)
        held.release.set()
        assert fetching.result(60) == payload


def test_leftovers_of_a_dead_fetch_are_in_nobodys_way(
    study: SourceRepository, server: GitServer, access: GitAccess
) -> None:
    first = study.change({"file": "first"})
    second = study.change({"file": "second"})
    url = server.publish(study, "org/study")
    Repositories(access).ensure_commit(url, first)
    Repositories(access).is_reachable(url, first, "main")
    mirror, history = sorted(access.repos_dir.glob("*.git"), key=lambda path: len(path.name))
    (tip,) = (history / "refs" / "heads").iterdir()
    study.change()
    server.publish(study, "org/study")
    leftovers = [
        mirror / "shallow.lock",
        mirror / "config.lock",
        mirror / "packed-refs.lock",
        mirror / f"refs/tags/fetched/{second}.lock",
        mirror / "objects/pack/tmp_pack_abcdef",
        mirror / "objects/pack/tmp_idx_abcdef",
        mirror / "shallow_abcdef",
        mirror.with_suffix(".new") / "config",
        history / "config.lock",
        history / "shallow.lock",
        tip.with_name(f"{tip.name}.lock"),
    ]
    for leftover in leftovers:
        leftover.parent.mkdir(exist_ok=True)
        leftover.write_bytes(b"half")

    repositories = Repositories(access)
    assert content(repositories, url, second) == b"second"
    assert repositories.is_reachable(url, first, "main")
    assert not [leftover for leftover in leftovers if leftover.exists()]


def test_mirror_that_was_half_made_is_made_anew(study: SourceRepository, server: GitServer, access: GitAccess) -> None:
    commit = study.change({"file": "content"})
    url = server.publish(study, "org/study")
    Repositories(access).ensure_commit(url, commit)
    (mirror,) = access.repos_dir.glob("*.git")
    half = mirror.with_suffix(".new")
    mirror.rename(half)
    (half / "HEAD").unlink()

    assert content(Repositories(access), url, commit) == b"content"


@pytest.mark.parametrize("tag", [b"", b"\0" * 41, b"0123456789" * 4 + b"\n"])
def test_tag_that_a_power_cut_spoiled_does_not_count(
    study: SourceRepository, server: GitServer, access: GitAccess, tag: bytes
) -> None:
    commit = study.change({"file": "content"})
    url = server.publish(study, "org/study")
    Repositories(access).ensure_commit(url, commit)
    (marker,) = access.repos_dir.glob("*.git/refs/tags/fetched/*")
    marker.write_bytes(tag)
    for pack in access.repos_dir.glob("*.git/objects/pack/*"):
        pack.unlink()
    (marker.parents[3] / "shallow").unlink()

    assert content(Repositories(access), url, commit) == b"content"


def test_empty_ref_that_a_power_cut_left_is_in_nobodys_way(
    study: SourceRepository, server: GitServer, access: GitAccess
) -> None:
    first = study.change({"file": "first"})
    second = study.change({"file": "second"})
    url = server.publish(study, "org/study")
    Repositories(access).ensure_commit(url, first)
    Repositories(access).is_reachable(url, first, "main")
    for ref in (*access.repos_dir.glob("*.git/refs/tags/fetched/*"), *access.repos_dir.glob("*.git/refs/heads/*")):
        ref.write_bytes(b"")

    repositories = Repositories(access)
    assert content(repositories, url, second) == b"second"
    assert content(repositories, url, first) == b"first"
    assert repositories.is_reachable(url, first, "main")


def test_many_processes_fetch_into_one_mirror_at_once(
    study: SourceRepository, server: GitServer, access: GitAccess
) -> None:
    commits = [study.change({"file": os.urandom(20_000)}) for _ in range(6)]
    url = server.publish(study, "org/study")
    processes = [fetch_elsewhere(access, url, *commits[start:], *commits[:start]) for start in range(3)]
    for process in processes:
        go(process)
    for process in processes:
        process.communicate()
        assert process.returncode == 0

    fetches = [seen for seen in server.seen if seen.method == "GET"]
    assert len(fetches) == len(commits)


def test_many_threads_ask_for_one_commit_and_it_is_fetched_once(
    study: SourceRepository, server: GitServer, access: GitAccess
) -> None:
    commit = study.change({"file": "content"})
    url = server.publish(study, "org/study")
    repositories = Repositories(access)

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: content(repositories, url, commit), range(8)))

    assert results == [b"content"] * 8
    assert len([seen for seen in server.seen if seen.method == "GET"]) == 1


def test_stop_event_ends_the_wait_for_a_mirror_that_another_process_holds(
    study: SourceRepository, server: GitServer, access: GitAccess
) -> None:
    first = study.change({"file": "first"})
    second = study.change({"file": "second"})
    url = server.publish(study, "org/study")
    Repositories(access).ensure_commit(url, first)
    (lock,) = access.repos_dir.glob("*.lock")
    stop = threading.Event()

    with ThreadPoolExecutor() as pool, set_at_the_end(stop), lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = pool.submit(Repositories(access).ensure_commit, url, second, stop)
        # What is complete already needs no lock.
        assert content(Repositories(access), url, first) == b"first"
        assert not waiting.done()
        stop.set()
        assert isinstance(waiting.exception(30), GitInterruptedError)


def test_tree_that_is_not_read_to_its_end_leaves_no_process(
    study: SourceRepository, server: GitServer, access: GitAccess
) -> None:
    commit = study.change({"a": os.urandom(9_000_000), "b": "content"})
    url = server.publish(study, "org/study")
    entries = iter(Repositories(access).tree(url, commit).read())
    next(next(entries).chunks)
    assert gits_at_work(access)
    entries.close()  # type: ignore[attr-defined]
    assert not gits_at_work(access)
