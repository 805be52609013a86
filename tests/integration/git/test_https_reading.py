"""Repositories on an HTTPS server: what is read, by way of the proxy too, and what URLs are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from jobrunner_cli.engine.errors import GitError, GitRepoNotReachableError, GitUnknownRefError
from jobrunner_cli.engine.study.repository import GitAccess, Repositories
from support.git_places import ABSENT, CALLS, LOGIN
from support.git_server import GitServer, SourceRepository

pytestmark = pytest.mark.slow


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


def test_history_is_fetched_only_for_a_commit_that_is_not_the_newest(
    study: SourceRepository, server: GitServer, access: GitAccess
) -> None:
    first = study.change({"file": "first"})
    newest = study.change({"file": "newest"})
    url = server.publish(study, "org/study")
    repositories = Repositories(access)

    assert repositories.read_file(url, newest, "file") == b"newest"
    assert repositories.is_reachable(url, newest, "main")
    (mirror,) = access.repos_dir.glob("*.git")
    assert study.git("--git-dir", str(mirror), "rev-list", "--all") == newest

    assert repositories.is_reachable(url, first, "main")
    assert len(list(access.repos_dir.glob("*.history.git"))) == 1
    assert study.git("--git-dir", str(mirror), "rev-list", "--all") == newest


def test_server_that_cannot_leave_files_out_is_asked_in_full(
    study: SourceRepository, server: GitServer, access: GitAccess
) -> None:
    first = study.change({"file": "first"})
    study.change({"file": "newest"})
    url = server.publish(study, "org/study")
    server.filters = False

    assert Repositories(access).is_reachable(url, first, "main")
    assert not Repositories(access).is_reachable(url, ABSENT, "main")


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
