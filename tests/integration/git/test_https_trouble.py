"""An HTTPS server that fails, hangs or breaks off: what is tried again, what is given up, and after how long."""

from __future__ import annotations

import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from jobrunner_cli.engine.errors import ExitCode, GitError
from jobrunner_cli.engine.study.git import GitInterruptedError
from jobrunner_cli.engine.study.repository import GitAccess, Repositories
from support.git_places import CALLS
from support.git_server import GitServer, SourceRepository, set_at_the_end

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("how", [502, 503, 429, "reset", "cut"])
@pytest.mark.parametrize("path", ["info/refs", "git-upload-pack"])
def test_what_passes_is_tried_again(
    study: SourceRepository, server: GitServer, access: GitAccess, how: int | str, path: str
) -> None:
    first = study.change({"file": os.urandom(50_000)})
    commit = study.change({"file": "content"})
    url = server.publish(study, "org/study")
    repositories = Repositories(access)

    server.fail_next(how, path, times=2)
    assert repositories.resolve(url, "main") == commit
    server.fail_next(how, path, times=2)
    repositories.ensure_commit(url, first)
    assert len(b"".join(b"".join(entry.chunks) for entry in repositories.tree(url, first).read())) == 50_000
    server.fail_next(how, path, times=2)
    assert repositories.is_reachable(url, first, "main")
    assert not server.faults


def test_what_does_not_pass_is_given_up_with_repository_and_commit_named(
    study: SourceRepository, server: GitServer, access: GitAccess
) -> None:
    commit = study.change()
    url = server.publish(study, "org/study")
    server.fail_next(503, times=100)

    with pytest.raises(GitError, match="503") as caught:
        Repositories(access).ensure_commit(url, commit)

    assert commit in caught.value.message
    assert url in caught.value.message
    assert len(server.seen) == access.attempts


def test_server_that_nobody_answers_for_is_a_clear_error(access: GitAccess) -> None:
    with pytest.raises(GitError, match=r"look up main in https://localhost:1/org/study") as caught:
        Repositories(replace(access, attempts=2)).resolve("https://localhost:1/org/study", "main")
    assert caught.value.exit_code is ExitCode.UNREACHABLE


def test_stop_event_ends_a_fetch_and_a_wait(study: SourceRepository, server: GitServer, access: GitAccess) -> None:
    commit = study.change({"file": os.urandom(100_000)})
    url = server.publish(study, "org/study")
    held = server.fail_next("hold", "git-upload-pack")
    stop = threading.Event()

    with ThreadPoolExecutor() as pool, set_at_the_end(stop, held.release):
        fetching = pool.submit(Repositories(access).ensure_commit, url, commit, stop)
        assert held.struck.wait(30)
        stop.set()
        assert isinstance(fetching.exception(30), GitInterruptedError)

        stop.clear()
        patient = replace(access, first_wait=100.0)
        failing = server.fail_next(503)
        waiting = pool.submit(Repositories(patient).ensure_commit, url, commit, stop)
        assert failing.struck.wait(30)
        stop.set()
        assert isinstance(waiting.exception(30), GitInterruptedError)

    repositories = Repositories(access)
    repositories.ensure_commit(url, commit)
    assert len(list(repositories.tree(url, commit).read())) == 1


def test_server_that_stops_sending_is_given_up_after_the_time_limit(
    study: SourceRepository, server: GitServer, access: GitAccess
) -> None:
    commit = study.change({"file": os.urandom(100_000)})
    url = server.publish(study, "org/study")
    held = server.fail_next("hold", "git-upload-pack")

    with pytest.raises(GitError, match="it took too long"):
        Repositories(replace(access, timeout=1.0)).ensure_commit(url, commit)
    held.release.set()

    Repositories(access).ensure_commit(url, commit)


@pytest.mark.parametrize("path", ["info/refs", "git-upload-pack"])
def test_server_that_never_answers_is_given_up_after_the_time_limit(
    study: SourceRepository, server: GitServer, access: GitAccess, path: str
) -> None:
    commit = study.change()
    url = server.publish(study, "org/study")
    for call in CALLS:
        held = server.fail_next("hang", path, times=5)
        with set_at_the_end(held.release), pytest.raises(GitError, match="it took too long") as caught:
            call(Repositories(replace(access, timeout=1.0)), url, commit)
        assert url in caught.value.message
        server.faults.clear()
    assert Repositories(access).resolve(url, "main") == commit


def test_machine_that_takes_the_connection_and_says_nothing_is_given_up(access: GitAccess) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://localhost:{silent.getsockname()[1]}/org/study"
        with pytest.raises(GitError, match="it took too long"):
            Repositories(replace(access, timeout=1.0)).resolve(url, "main")


def test_hanging_server_does_not_hold_up_other_repositories(
    study: SourceRepository, server: GitServer, access: GitAccess
) -> None:
    commit = study.change()
    url, other = server.publish(study, "org/study"), server.publish(study, "org/other")
    held = server.fail_next("hang", "study/info/refs")
    stop = threading.Event()
    repositories = Repositories(access)
    with ThreadPoolExecutor() as pool, set_at_the_end(stop, held.release):
        hanging = pool.submit(repositories.ensure_commit, url, commit, stop)
        assert held.struck.wait(30)
        repositories.ensure_commit(other, commit)
        stop.set()
        assert isinstance(hanging.exception(30), GitInterruptedError)


@pytest.mark.parametrize("how", ["reset", "cut"])
@pytest.mark.parametrize("path", ["info/refs", "git-upload-pack"])
def test_server_that_always_breaks_off_is_given_up_and_leaves_nothing_that_counts(
    study: SourceRepository, server: GitServer, access: GitAccess, how: str, path: str
) -> None:
    commit = study.change({"file": os.urandom(50_000)})
    url = server.publish(study, "org/study")
    server.fail_next(how, path, times=100)
    with pytest.raises(GitError) as caught:
        Repositories(access).ensure_commit(url, commit)
    assert commit in caught.value.message
    assert url in caught.value.message
    assert len([seen for seen in server.seen if seen.path.partition("?")[0].endswith(path)]) == access.attempts
    assert not list(access.repos_dir.glob("*.git/refs/tags/fetched/*"))

    server.faults.clear()
    repositories = Repositories(access)
    assert len(repositories.read_file(url, commit, "file")) == 50_000


def test_break_in_the_middle_of_a_history_is_not_taken_for_its_end(
    study: SourceRepository, server: GitServer, access: GitAccess
) -> None:
    commits = [study.change({"file": str(number)}) for number in range(6)]
    url = server.publish(study, "org/study")
    # The last request is the one with the history; those before it list the branches.
    repositories = Repositories(replace(access, attempts=1))
    for cut in range(8):
        server.lie_next("git-upload-pack", times=cut)
        server.fail_next("cut", "git-upload-pack")
        try:
            reachable = repositories.is_reachable(url, commits[0], "main")
        except GitError:
            server.faults.clear()
            continue
        assert reachable
        assert server.faults, "the break was not noticed"
        break
    else:
        pytest.fail("there are more requests than this test knows of")
    server.faults.clear()
    assert repositories.is_reachable(url, commits[0], "main")
