"""Job requests made on this machine: which commit is meant."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobrunner_cli.engine import requests
from jobrunner_cli.engine.errors import GithubValidationError, GitUnknownRefError, UsageError
from support.repositories import StudyRepository
from support.requesting import Place, actions_of

pytestmark = pytest.mark.slow


def test_a_local_request_is_for_the_newest_commit_of_the_branch(place: Place) -> None:
    request = place.local("run_all", workspace="trial", database="default", force_run_dependencies=True)

    assert request.repo_url == str(place.study.path)
    assert (request.commit, request.branch) == (place.head, "main")
    assert (request.workspace, request.database_name) == ("trial", "default")
    assert request.force_run_dependencies
    assert len(request.id) == 16
    assert request.id != place.local("run_all").id
    json.dumps(request.original)
    assert actions_of(place.create(request)) == ["extract", "clean", "report"]


def test_a_relative_path_becomes_absolute(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place.study.path)
    (place.study.path / "analysis").mkdir()
    monkeypatch.chdir(place.study.path / "analysis")
    request = requests.local_request(place.settings, place.repositories, "..", ["clean"])
    assert request.repo_url == str(place.study.path)
    assert place.create(request).error is None


def test_a_commit_may_be_given_in_short_or_by_name(place: Place) -> None:
    first = place.head
    place.study.git("tag", "-a", "-m", "x", "v1")
    second = place.study.commit("Later")

    assert place.local("clean").commit == second
    for text in (first, first.upper(), first[:8], "HEAD~1", "v1", "main^"):
        assert place.local("clean", commit=text).commit == first


@pytest.mark.parametrize("text", ["nothing", "0123456", "0" * 40, "--help", "", "main..v1", "HEAD:project.yaml"])
def test_a_commit_that_is_none_is_refused(place: Place, text: str) -> None:
    with pytest.raises(GitUnknownRefError):
        place.local("clean", commit=text)


def test_a_branch_that_is_not_there_is_answered_with_those_that_are(place: Place) -> None:
    place.study.git("branch", "-m", "main", "trunk")
    with pytest.raises(GitUnknownRefError) as caught:
        place.local("clean")
    assert "no branch main; it has: trunk" in str(caught.value)
    assert caught.value.hint is not None
    assert "--branch trunk" in caught.value.hint
    with pytest.raises(GitUnknownRefError, match="trunk"):
        place.local("clean", commit="HEAD")
    assert place.local("clean", branch="trunk").commit == place.head


def test_without_a_branch_it_is_the_one_that_is_checked_out(place: Place) -> None:
    place.study.git("checkout", "--quiet", "-b", "feature/x")
    head = place.study.commit("More")
    request = place.local("clean", branch=None)
    assert (request.branch, request.commit) == ("feature/x", head)
    place.study.git("checkout", "--quiet", "--detach")
    with pytest.raises(UsageError, match="not on a branch"):
        place.local("clean", branch=None)


def test_a_repository_without_commits_is_told_so(place: Place, tmp_path: Path) -> None:
    StudyRepository(tmp_path / "empty")
    with pytest.raises(GitUnknownRefError, match="nothing is committed"):
        requests.local_request(place.settings, place.repositories, str(tmp_path / "empty"), ["clean"])


def test_a_worktree_and_a_bare_repository_are_repositories_too(place: Place, tmp_path: Path) -> None:
    place.study.git("worktree", "add", "--quiet", str(tmp_path / "tree"), "-b", "side")
    place.study.git("clone", "--quiet", "--bare", ".", str(tmp_path / "bare.git"))
    for path, branch in ((tmp_path / "tree", "side"), (tmp_path / "bare.git", "main")):
        request = requests.local_request(place.settings, place.repositories, str(path), ["clean"], branch=None)
        assert (request.commit, request.branch) == (place.head, branch)
        short = requests.local_request(place.settings, place.repositories, str(path), ["clean"], commit=place.head[:10])
        assert short.commit == place.head


@pytest.mark.parametrize("name", ["", "../up", "a b", "ä", "x" * 201])
def test_an_impossible_workspace_is_refused_at_once(place: Place, name: str) -> None:
    with pytest.raises(UsageError, match="is not a name of letters, digits"):
        place.local("clean", workspace=name)


def test_a_url_that_is_not_allowed_is_refused_before_anything_is_fetched(place: Place) -> None:
    with pytest.raises(GithubValidationError):
        requests.local_request(place.settings, place.repositories, "https://github.com/somebody/study", ["clean"])
