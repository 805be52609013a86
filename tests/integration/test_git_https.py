"""Repositories on an HTTPS server: the token, the proxy, what fails and what is tried again."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from jobrunner_cli.engine.errors import GitError, GitRepoNotReachableError, GitUnknownRefError
from jobrunner_cli.engine.study.git import GitInterruptedError
from jobrunner_cli.engine.study.repository import GitAccess, Repositories
from support.git_server import GitServer, SourceRepository, git_server, set_at_the_end

pytestmark = pytest.mark.slow

TOKEN = "very-secret-token"
LOGIN = f"jobrunner-tpp:{TOKEN}"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitServer]:
    with git_server(tmp_path / "server") as running:
        trust(monkeypatch, running)
        yield running


@pytest.fixture
def study(tmp_path: Path) -> SourceRepository:
    return SourceRepository(tmp_path / "study")


@pytest.fixture
def access(tmp_path: Path, server: GitServer) -> GitAccess:
    return GitAccess(
        repos_dir=tmp_path / "repos",
        backend="tpp",
        token=TOKEN,
        first_wait=0.01,
        github_host=server.host,
        proxy_host="127.0.0.1:1",
    )


def trust(monkeypatch: pytest.MonkeyPatch, server: GitServer) -> None:
    """Let git accept the server's certificate, and no other one, and reach it directly."""
    monkeypatch.setenv("GIT_SSL_CAINFO", str(server.certificate))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def argument_lists() -> str:
    """The command lines of all processes, as anybody on this machine can read them."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(file.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return "\n".join(found)


def test_public_repository_is_read_without_a_token(
    study: SourceRepository, server: GitServer, access: GitAccess
) -> None:
    first = study.change({"file": "first"})
    commit = study.change({"file": "content"})
    url = server.publish(study, "org/study")
    repositories = Repositories(replace(access, token=None))

    assert repositories.resolve(url, "main") == commit
    assert repositories.read_file(url, commit, "file") == b"content"
    assert repositories.is_reachable(url, first, "main")
    assert {seen.authorization for seen in server.seen} == {None}


def test_private_repository_is_read_with_the_token(
    study: SourceRepository, server: GitServer, access: GitAccess
) -> None:
    first = study.change({"file": "first"})
    commit = study.change({"file": "content"})
    url = server.publish(study, "org/study")
    server.demand = LOGIN
    repositories = Repositories(access)

    assert repositories.resolve(url, "main") == commit
    assert repositories.read_file(url, commit, "file") == b"content"
    assert repositories.is_reachable(url, first, "main")


def test_commit_is_fetched_once_whichever_way_the_url_is_written(
    study: SourceRepository, server: GitServer, access: GitAccess
) -> None:
    commit = study.change({"file": "content"})
    url = server.publish(study, "org/study")
    Repositories(access).ensure_commit(url, commit)
    server.seen.clear()

    repositories = Repositories(access)
    repositories.ensure_commit(f"{url}/", commit)
    assert repositories.read_file(url, commit, "file") == b"content"
    assert server.seen == []


def test_commit_of_a_pull_request_can_be_fetched_but_is_not_on_the_branch(
    study: SourceRepository, server: GitServer, access: GitAccess
) -> None:
    study.change({"file": "content"})
    study.git("checkout", "--quiet", "--detach")
    proposed = study.change({"file": "proposed"})
    study.git("update-ref", "refs/pull/1/head", proposed)
    url = server.publish(study, "org/study")
    repositories = Repositories(access)

    assert repositories.read_file(url, proposed, "file") == b"proposed"
    assert not repositories.is_reachable(url, proposed, "main")


def test_history_is_followed_without_fetching_any_files(
    study: SourceRepository, server: GitServer, access: GitAccess
) -> None:
    commits = [study.change({"file": str(number)}) for number in range(5)]
    url = server.publish(study, "org/study")

    assert Repositories(access).is_reachable(url, commits[0], "main")
    assert Repositories(access).is_reachable(str(study.path), commits[0], "main")

    histories = list(access.repos_dir.glob("*.history.git"))
    assert len(histories) == 2
    for history in histories:
        listed = study.git("--git-dir", str(history), "cat-file", "--batch-all-objects", "--batch-check=%(objecttype)")
        assert listed.split() == ["commit"] * 5


@pytest.mark.parametrize("token", [None, "the-wrong-token"])
def test_without_the_right_token_the_repository_is_not_reachable(
    study: SourceRepository, server: GitServer, access: GitAccess, token: str | None
) -> None:
    commit = study.change()
    url = server.publish(study, "org/study")
    server.demand = LOGIN
    repositories = Repositories(replace(access, token=token))

    for call in CALLS:
        with pytest.raises(GitRepoNotReachableError) as caught:
            call(repositories, url, commit)
        assert url in caught.value.message
        assert "PRIVATE_REPO_ACCESS_TOKEN" in (caught.value.hint or "")
        assert "the-wrong-token" not in str(caught.value)


def test_absent_repository_is_not_reachable_and_not_asked_for_again(server: GitServer, access: GitAccess) -> None:
    with pytest.raises(GitRepoNotReachableError, match="does not exist, or may not be read"):
        Repositories(access).resolve(server.url("org/absent"), "main")

    assert len(server.seen) == 1


def test_absent_commit_is_an_unknown_ref_and_not_asked_for_again(
    study: SourceRepository, server: GitServer, access: GitAccess
) -> None:
    study.change()
    url = server.publish(study, "org/study")
    absent = "0123456789" * 4

    with pytest.raises(GitUnknownRefError) as caught:
        Repositories(access).ensure_commit(url, absent)

    assert absent in caught.value.message
    assert url in caught.value.message
    assert len(server.seen) == 2


CALLS: tuple[Callable[[Repositories, str, str], object], ...] = (
    lambda repositories, url, commit: repositories.resolve(url, "main"),
    lambda repositories, url, commit: repositories.ensure_commit(url, commit),
    lambda repositories, url, commit: repositories.is_reachable(url, commit, "main"),
)


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
    with pytest.raises(GitError, match=r"look up main in https://localhost:1/org/study"):
        Repositories(replace(access, attempts=2)).resolve("https://localhost:1/org/study", "main")


def test_certificate_of_a_stranger_is_refused_at_once(
    study: SourceRepository, server: GitServer, access: GitAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.change()
    url = server.publish(study, "org/study")
    monkeypatch.delenv("GIT_SSL_CAINFO")
    monkeypatch.setenv("GIT_SSL_NO_VERIFY", "1")
    strict = replace(access, attempts=2, first_wait=1000.0)

    with pytest.raises(GitError, match="certificate"):
        Repositories(strict).resolve(url, "main")

    assert server.seen == []


def test_redirection_is_not_followed_and_takes_the_token_nowhere(
    study: SourceRepository, server: GitServer, access: GitAccess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = study.change()
    url = server.publish(study, "org/study")
    with git_server(tmp_path / "elsewhere") as elsewhere:
        elsewhere.publish(study, "org/study")
        both = tmp_path / "both.pem"
        both.write_bytes(server.certificate.read_bytes() + elsewhere.certificate.read_bytes())
        monkeypatch.setenv("GIT_SSL_CAINFO", str(both))
        for path in ("info/refs", "git-upload-pack"):
            server.fail_next(f"https://{elsewhere.host}", path)
            with pytest.raises(GitRepoNotReachableError, match="has moved"):
                Repositories(access).ensure_commit(url, commit)
        assert elsewhere.seen == []


def test_token_goes_to_no_other_host_and_not_over_plain_http(
    study: SourceRepository, server: GitServer, access: GitAccess, tmp_path: Path
) -> None:
    commit = study.change()
    url = server.publish(study, "org/study")
    server.demand = LOGIN

    with pytest.raises(GitRepoNotReachableError):
        Repositories(replace(access, github_host="github.com")).resolve(url, "main")
    with pytest.raises(GitRepoNotReachableError):
        Repositories(replace(access, github_host=server.host.partition(":")[0])).resolve(url, "main")
    assert {seen.authorization for seen in server.seen} == {None}
    assert Repositories(access).resolve(url, "main") == commit


def test_with_the_proxy_all_traffic_and_the_token_go_there(
    study: SourceRepository, server: GitServer, access: GitAccess
) -> None:
    first = study.change({"file": "first"})
    commit = study.change({"file": "content"})
    server.publish(study, "org/study")
    server.demand = LOGIN
    # Nothing listens at this address, so that whatever went there directly would fail.
    behind = replace(access, use_proxy=True, github_host="localhost:1", proxy_host=server.host, attempts=1)
    repositories = Repositories(behind)

    for url in ("https://localhost:1/org/study", "https://LOCALHOST:1/org/study/"):
        assert repositories.resolve(url, "main") == commit
        assert repositories.read_file(url, commit, "file") == b"content"
        assert repositories.is_reachable(url, first, "main")
    assert all(seen.authorization is not None for seen in server.seen)


def test_with_the_proxy_other_hosts_get_no_token(study: SourceRepository, server: GitServer, access: GitAccess) -> None:
    commit = study.change()
    url = server.publish(study, "org/study")
    behind = replace(access, use_proxy=True, github_host="github.com", proxy_host="github-proxy.opensafely.org")

    assert Repositories(behind).resolve(url, "main") == commit
    assert {seen.authorization for seen in server.seen} == {None}


def test_token_is_in_no_argument_list_file_log_or_error(
    study: SourceRepository,
    server: GitServer,
    access: GitAccess,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("GIT_TRACE", "GIT_CURL_VERBOSE", "GIT_TRACE_CURL"):
        monkeypatch.setenv(name, str(tmp_path / "trace") if name == "GIT_TRACE" else "1")
    monkeypatch.setenv("GIT_TRACE_REDACT", "0")
    commit = study.change({"file": os.urandom(100_000)})
    url = server.publish(study, "org/study")
    server.demand = LOGIN
    credentials = access.credentials
    assert credentials is not None
    held = server.fail_next("hold", "git-upload-pack")
    repositories = Repositories(access)
    stop = threading.Event()

    with ThreadPoolExecutor() as pool, set_at_the_end(stop, held.release):
        fetching = pool.submit(repositories.ensure_commit, url, commit, stop)
        assert held.struck.wait(30)
        listed = argument_lists()
        stop.set()
        error = fetching.exception(30)
    server.fail_next(503, times=20)
    with pytest.raises(GitError) as caught:
        repositories.ensure_commit(url, commit)

    written = [file.read_text(errors="replace") for file in access.repos_dir.rglob("*") if file.is_file()]
    assert "remote-https" in listed
    assert caplog.text
    for secret in (TOKEN, credentials):
        for text in (listed, repr(access), repr(error), repr(caught.value), caplog.text, *written):
            assert secret not in text
    assert not (tmp_path / "trace").exists()


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


def test_users_netrc_and_credential_helpers_are_not_asked(
    study: SourceRepository, server: GitServer, access: GitAccess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.change()
    url = server.publish(study, "org/study")
    server.demand = LOGIN
    (tmp_path / ".netrc").write_text(f"machine localhost login jobrunner-tpp password {TOKEN}\n")
    (tmp_path / ".netrc").chmod(0o600)
    askpass = tmp_path / "askpass"
    askpass.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\necho {TOKEN}\n")
    askpass.chmod(0o755)
    (tmp_path / ".gitconfig").write_text(f"[credential]\n\thelper = {askpass}\n[core]\n\taskPass = {askpass}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_ASKPASS", str(askpass))
    monkeypatch.setenv("SSH_ASKPASS", str(askpass))

    with pytest.raises(GitRepoNotReachableError):
        Repositories(replace(access, token=None)).resolve(url, "main")
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize(
    "url",
    [
        "https://user:secret-word@github.com/org/study",
        "https://secret-word@github.com/org/study",
        "https://github.com",
        "https://github.com/",
        "https:///org/study",
        "https://github.com/org/study?x=secret-word",
        "https://github.com/org/study#x",
        "https://github.com/org/st udy",
        "https://github.com/org/study\nx",
        "https://github.com:port/org/study",
        "https://[::1/org/study",
        "",
        "ssh://git@github.com/org/study",
        "git@github.com:org/study",
        "ext::sh -c 'touch evil'",
        "git://github.com/org/study",
        "--upload-pack=touch evil",
    ],
)
def test_url_that_is_none_is_refused_and_runs_nothing(
    access: GitAccess, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    for call in CALLS:
        with pytest.raises(GitError) as caught:
            call(Repositories(access), url, "0123456789" * 4)
        assert "secret-word@" not in caught.value.message
    assert not list(tmp_path.rglob("evil"))
