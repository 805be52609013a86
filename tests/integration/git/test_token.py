"""The token for private repositories: where it goes, and where it is never seen."""

from __future__ import annotations

import logging
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from jobrunner_cli.engine.errors import GitError, GitRepoNotReachableError
from jobrunner_cli.engine.study.repository import GitAccess, Repositories
from support.git_places import CALLS, LOGIN, TOKEN, Recorder, contents
from support.git_server import GitServer, SourceRepository

pytestmark = pytest.mark.slow


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


def test_token_is_in_no_argument_list_file_log_or_error(
    study: SourceRepository,
    server: GitServer,
    access: GitAccess,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    recorder = Recorder(tmp_path / "recorder", monkeypatch)
    for name in ("GIT_TRACE", "GIT_CURL_VERBOSE", "GIT_TRACE_CURL"):
        monkeypatch.setenv(name, str(tmp_path / "trace") if name == "GIT_TRACE" else "1")
    monkeypatch.setenv("GIT_TRACE_REDACT", "0")
    first = study.change({"file": "first"})
    commit = study.change({"file": os.urandom(100_000)})
    url = server.publish(study, "org/study")
    server.demand = LOGIN
    repositories = Repositories(access)

    assert repositories.resolve(url, "main") == commit
    assert repositories.is_reachable(url, first, "main")
    server.fail_next("cut", "git-upload-pack")
    repositories.ensure_commit(url, commit)
    assert len(contents(repositories.tree(url, commit))) == 1
    server.fail_next(503, times=100)
    with pytest.raises(GitError) as caught:
        repositories.ensure_commit(url, first)

    recorded = recorder.text()
    for program in ("ls-remote", "fetch", "git-remote-https origin", "index-pack", "cat-file"):
        assert program in recorded
    written = [file.read_text(errors="replace") for file in access.repos_dir.rglob("*") if file.is_file()]
    assert "trying again" in caplog.text
    for secret in secrets_of(access):
        for text in (recorded, repr(access), str(caught.value), repr(caught.value), caplog.text, *written):
            assert secret not in text
    assert not (tmp_path / "trace").exists()


def test_recorder_would_have_seen_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(tmp_path / "recorder", monkeypatch)
    subprocess.run(
        ["git", "-c", f"http.extraHeader=X: {TOKEN}", "ls-remote", f"https://user:{TOKEN}x@localhost:1/x"],
        capture_output=True,
        env={**os.environ, "GIT_TERMINAL_PROMPT": "0"},
    )
    recorded = recorder.text()
    assert f"http.extraHeader=X: {TOKEN}" in recorded
    assert [line for line in recorded.splitlines() if "remote-https" in line and f"user:{TOKEN}x@" in line]


def test_token_that_a_server_repeats_is_masked(
    study: SourceRepository, server: GitServer, access: GitAccess, caplog: pytest.LogCaptureFixture
) -> None:
    commit = study.change()
    url = server.publish(study, "org/study")
    told = " ".join(secrets_of(access)).encode()
    refusal = b"ERR go away, " + told + b"\n"

    server.lie_next("info/refs", tell=lambda answer: b"%04x" % (len(refusal) + 4) + refusal)
    with pytest.raises(GitError, match="go away, xxxx-REDACTED-xxxx") as caught:
        Repositories(access).ensure_commit(url, commit)

    for secret in secrets_of(access):
        assert secret not in str(caught.value)
        assert secret not in caplog.text


def secrets_of(access: GitAccess) -> list[str]:
    assert access.token is not None
    assert access.credentials is not None
    return [access.token, access.credentials]


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
