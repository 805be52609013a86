"""An HTTPS server that lies: nothing that it says of a commit is believed unless the commit's own name proves it."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from jobrunner_cli.engine.errors import GitError, GitRepoNotReachableError, GitUnknownRefError
from jobrunner_cli.engine.study.repository import GitAccess, Repositories
from support.git_places import ABSENT, CALLS, trust
from support.git_server import GitServer, SourceRepository, git_server

pytestmark = pytest.mark.slow


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
        trust(monkeypatch, server, elsewhere)
        for path in ("info/refs", "git-upload-pack"):
            server.fail_next(f"https://{elsewhere.host}", path)
            with pytest.raises(GitRepoNotReachableError, match="has moved"):
                Repositories(access).ensure_commit(url, commit)
        assert elsewhere.seen == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("scheme", ["https", "http"])
def test_redirection_of_any_kind_is_not_followed(
    study: SourceRepository, server: GitServer, access: GitAccess, status: int, scheme: str
) -> None:
    commit = study.change()
    url = server.publish(study, "org/study")
    server.publish(study, "moved/org/study")
    server.redirect_next(f"{scheme}://{server.host}/moved", "info/refs", status)

    with pytest.raises(GitRepoNotReachableError, match="has moved"):
        Repositories(access).ensure_commit(url, commit)
    assert [seen.path.startswith("/moved") for seen in server.seen] == [False]


PAGE = f"<!DOCTYPE html>\n<title>Please sign in</title>\n{ABSENT}\trefs/heads/main\n"


@pytest.mark.parametrize("path", ["info/refs", "git-upload-pack"])
def test_page_for_people_is_no_repository(
    study: SourceRepository, server: GitServer, access: GitAccess, path: str
) -> None:
    commit = study.change()
    url = server.publish(study, "org/study")
    for call in CALLS:
        server.fail_next(PAGE, path, times=20)
        with pytest.raises(GitError) as caught:
            call(Repositories(access), url, commit)
        assert url in caught.value.message
        assert "sign in" not in caught.value.message
        server.faults.clear()
    assert not list(access.repos_dir.glob("*.git/refs/tags/fetched/*"))


def test_other_commit_than_the_one_asked_for_is_not_taken(
    study: SourceRepository, server: GitServer, access: GitAccess
) -> None:
    wanted = study.change({"file": "harmless"})
    other = study.change({"file": "evil"})
    url = server.publish(study, "org/study")
    server.lie_next("git-upload-pack", 20, ask=lambda body: body.replace(wanted.encode(), other.encode()))

    repositories = Repositories(access)
    with pytest.raises(GitError) as caught:
        repositories.read_file(url, wanted, "file")
    assert wanted in caught.value.message
    assert not list(access.repos_dir.glob("*.git/refs/tags/fetched/*"))
    server.faults.clear()
    assert repositories.read_file(url, wanted, "file") == b"harmless"


def test_commit_without_all_of_its_files_is_not_taken(
    study: SourceRepository, server: GitServer, access: GitAccess
) -> None:
    commit = study.change({"file": "content", "folder/other": "content of another"})
    url = server.publish(study, "org/study")

    def without_files(body: bytes) -> bytes:
        # A filter that git did not ask for: the pack has the commit and none of its files.
        line = b"0014filter blob:none"
        return body.replace(b"0009done\n", line + b"0009done\n") if b"want " in body else body

    server.lie_next("git-upload-pack", 20, ask=without_files)
    with pytest.raises(GitError) as caught:
        Repositories(access).ensure_commit(url, commit)
    assert commit in caught.value.message
    assert not list(access.repos_dir.glob("*.git/refs/tags/fetched/*"))
    server.faults.clear()
    assert Repositories(access).read_file(url, commit, "folder/other") == b"content of another"


def test_objects_that_were_changed_on_the_way_are_not_taken(
    study: SourceRepository, server: GitServer, access: GitAccess
) -> None:
    commit = study.change({"file": os.urandom(20_000)})
    url = server.publish(study, "org/study")

    def flipped(answer: bytes) -> bytes:
        middle = len(answer) // 2
        return answer[:middle] + bytes([answer[middle] ^ 1]) + answer[middle + 1 :] if b"PACK" in answer else answer

    server.lie_next("git-upload-pack", 20, tell=flipped)
    with pytest.raises(GitError) as caught:
        Repositories(access).ensure_commit(url, commit)
    assert commit in caught.value.message
    assert not list(access.repos_dir.glob("*.git/refs/tags/fetched/*"))
    server.faults.clear()
    assert len(Repositories(access).read_file(url, commit, "file")) == 20_000


def test_branch_at_a_commit_that_the_server_does_not_have_gives_no_files(
    study: SourceRepository, server: GitServer, access: GitAccess
) -> None:
    commit = study.change({"file": "content"})
    url = server.publish(study, "org/study")
    repositories = Repositories(access)
    server.lie_next("git-upload-pack", tell=lambda answer: answer.replace(commit.encode(), ABSENT.encode()))
    assert repositories.resolve(url, "main") == ABSENT
    with pytest.raises(GitUnknownRefError, match=ABSENT):
        repositories.read_file(url, ABSENT, "file")

    # Nor does it make another commit one that is on the branch.
    server.lie_next("git-upload-pack", 20, tell=lambda answer: answer.replace(commit.encode(), ABSENT.encode()))
    with pytest.raises(GitError) as caught:
        repositories.is_reachable(url, commit, "main")
    assert url in caught.value.message
    server.faults.clear()
    assert repositories.is_reachable(url, commit, "main")


@pytest.mark.parametrize(
    "name", ["refs/heads/../../../evil", "refs/heads/main\x1b[31m", "--upload-pack=evil", "refs/heads/main.lock"]
)
def test_names_that_a_server_makes_up_do_no_harm(
    study: SourceRepository, server: GitServer, access: GitAccess, tmp_path: Path, name: str
) -> None:
    commit = study.change()
    url = server.publish(study, "org/study")
    line = f"{commit} {name}\n".encode()
    extra = b"%04x" % (len(line) + 4) + line
    server.lie_next("git-upload-pack", tell=lambda answer: extra + answer)
    repositories = Repositories(replace(access, attempts=1))
    with contextlib.suppress(GitError):
        assert repositories.resolve(url, "main") == commit
    assert not list(tmp_path.rglob("evil*"))
    server.faults.clear()
    assert repositories.resolve(url, "main") == commit
