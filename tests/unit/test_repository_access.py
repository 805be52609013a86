"""How repositories are reached, who gets the token, and what the complaints of git mean."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from jobrunner_cli.engine.study.access import GitAccess, reach
from jobrunner_cli.engine.study.git import GitResult, Trouble
from jobrunner_cli.engine.study.repository import is_ref_name

DIRECT = GitAccess(repos_dir=Path("/nowhere"), backend="tpp", token="secret-token")
PROXIED = replace(DIRECT, use_proxy=True)


def header_scopes(url: str, access: GitAccess) -> list[str]:
    return [key for key, value in reach(url, access).config if value.startswith("Authorization:")]


def test_token_goes_to_github_and_with_the_proxy_to_the_proxy_only() -> None:
    url = "https://github.com/opensafely/study"

    assert reach(url, DIRECT).address == url
    assert header_scopes(url, DIRECT) == ["http.https://github.com/.extraHeader"]
    assert reach(url, PROXIED).address == "https://github-proxy.opensafely.org/opensafely/study"
    assert header_scopes(url, PROXIED) == ["http.https://github-proxy.opensafely.org/.extraHeader"]


@pytest.mark.parametrize(
    "url",
    ["https://GitHub.com/o/s", "https://github.com:443/o/s", "https://github.com./o/s", "http://github.com/o/s"],
)
def test_no_spelling_of_github_gets_around_the_proxy(url: str) -> None:
    assert reach(url, PROXIED).address == "https://github-proxy.opensafely.org/o/s"
    assert reach(url, PROXIED).protocol == "https"


@pytest.mark.parametrize(
    "url",
    [
        "http://github.com/o/s",
        "https://github.com:8443/o/s",
        "https://github.com.example.org/o/s",
        "https://example.org/github.com/s",
        "/srv/github.com/s",
    ],
)
def test_token_goes_nowhere_else(url: str) -> None:
    assert header_scopes(url, DIRECT) == []


def test_token_is_in_no_representation() -> None:
    assert DIRECT.credentials is not None
    for shown in (repr(DIRECT), repr(reach("https://github.com/o/s", DIRECT))):
        assert "secret-token" not in shown
        assert DIRECT.credentials not in shown


def test_each_repository_has_a_readable_file_name_of_its_own() -> None:
    urls = [
        "https://github.com/one/study",
        "https://github.com/two/study",
        "https://github.com/one/Study",
        "/srv/one/study",
        "/srv/../..",
        "/srv/a\nb/ü é",
        "https://github.com/one/" + "x" * 300,
    ]
    keys = [reach(url, DIRECT).key for url in urls]

    assert len(set(keys)) == len(urls)
    assert keys[0].startswith("study-")
    assert all(key.isascii() and "/" not in key and not key.startswith(".") and len(key) < 100 for key in keys)
    assert reach(urls[0] + "/", DIRECT).key == keys[0]


@pytest.mark.parametrize(
    ("stderr", "trouble"),
    [
        ("fatal: unable to access 'https://x/': Could not resolve host: x", Trouble.PASSING),
        ("fatal: unable to access 'https://x/': The requested URL returned error: 503", Trouble.PASSING),
        ("fatal: unable to access 'https://x/': Recv failure: Connection reset by peer", Trouble.PASSING),
        ("error: RPC failed; curl 56 GnuTLS recv error (-9)\nfatal: early EOF", Trouble.PASSING),
        ("fatal: unable to access 'https://x/': Operation timed out after 1 ms", Trouble.PASSING),
        ("fatal: unable to access 'https://x/': The requested URL returned error: 403", Trouble.NOT_REACHABLE),
        ("remote: Repository not found.\nfatal: repository 'https://x/' not found", Trouble.NOT_REACHABLE),
        ("fatal: could not read Username for 'https://x': terminal prompts disabled", Trouble.NOT_REACHABLE),
        ("fatal: remote error: upload-pack: not our ref 0123", Trouble.UNKNOWN_REF),
        ("fatal: couldn't find remote ref x\nfatal: The remote end hung up unexpectedly", Trouble.UNKNOWN_REF),
        ("error: RPC failed; HTTP 302 curl 22 The requested URL returned error: 302", Trouble.MOVED),
        ("fatal: write error: No space left on device\nfatal: early EOF", Trouble.DISK_FULL),
        ("fatal: unable to access 'https://x/': SSL certificate problem: expired", Trouble.OTHER),
        ("remote: early EOF, says the server\nfatal: something new", Trouble.OTHER),
        ("", Trouble.OTHER),
    ],
)
def test_complaints_of_git_are_told_apart(stderr: str, trouble: Trouble) -> None:
    assert GitResult(returncode=128, stdout=b"", stderr=stderr).trouble is trouble


def test_reason_is_one_short_line_without_control_characters() -> None:
    stderr = "remote: \x1b[31mred\nwarning: x\nfatal: it \x1b[31mfailed" + "x" * 1000 + "\nfatal: more"

    reason = GitResult(returncode=128, stdout=b"", stderr=stderr).reason

    assert reason.startswith("it ?[31mfailed")
    assert len(reason) <= 300
    assert GitResult(returncode=128, stdout=b"", stderr="").reason == "git exited with 128"


@pytest.mark.parametrize(
    "name",
    ["main", "feature/x", "v1.2", "ünï", "a@b", "@", "@{1}", "a..b", ".a", "a/.b", "a.lock", "a.lock/b", "a/", "/a",
     "a//b", "a b", "a~b", "a^b", "a:b", "a?b", "a*b", "a[b", "a\\b", "a\x7fb", "a\tb", "a.", "a@{b"],
)  # fmt: skip
def test_ref_names_are_those_that_git_accepts(name: str) -> None:
    accepted = subprocess.run(["git", "check-ref-format", f"refs/heads/{name}"], check=False).returncode == 0
    # As a branch, `@` is a name; asked for as an exact ref, it would stand for HEAD.
    assert is_ref_name(name) == (accepted and name != "@")
