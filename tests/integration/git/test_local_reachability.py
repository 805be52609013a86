"""Which commits are on a branch of a repository on this machine's disk."""

from __future__ import annotations

import pytest

from jobrunner_cli.engine.errors import GitUnknownRefError
from jobrunner_cli.engine.study.repository import Repositories
from support.git_places import ABSENT
from support.git_server import SourceRepository

pytestmark = pytest.mark.slow


def test_reachable_are_the_tip_and_its_ancestors_and_nothing_else(
    study: SourceRepository, repositories: Repositories
) -> None:
    url = str(study.path)
    root = study.change()
    study.git("checkout", "--quiet", "-b", "side")
    side = study.change()
    unmerged_tip = side
    study.git("checkout", "--quiet", "main")
    study.change()
    assert repositories.is_reachable(url, root, "main")
    assert not repositories.is_reachable(url, side, "main")
    assert repositories.is_reachable(url, side, "side")

    study.git("merge", "--quiet", "--no-ff", "-m", "merge", "side")
    after = study.change()
    study.git("checkout", "--quiet", "-b", "pr")
    proposed = study.change()
    study.git("update-ref", "refs/pull/1/head", proposed)
    study.git("checkout", "--quiet", "main")
    study.git("branch", "-D", "pr")

    assert repositories.is_reachable(url, unmerged_tip, "main")
    assert repositories.is_reachable(url, after, "main")
    assert not repositories.is_reachable(url, proposed, "main")
    assert not repositories.is_reachable(url, ABSENT, "main")
    assert not repositories.is_reachable(url, "--all", "main")


def test_reachability_follows_a_branch_that_was_pushed_over(
    study: SourceRepository, repositories: Repositories
) -> None:
    url = str(study.path)
    study.change()
    dropped = study.change()
    study.change()
    assert repositories.is_reachable(url, dropped, "main")

    study.git("reset", "--quiet", "--hard", "HEAD~2")
    study.change()
    assert not repositories.is_reachable(url, dropped, "main")


@pytest.mark.parametrize("branch", ["absent", "v1", "HEAD", "", "--all", "refs/heads/main", "main^", "a b"])
def test_reachability_asks_for_a_branch(study: SourceRepository, repositories: Repositories, branch: str) -> None:
    commit = study.change()
    study.git("tag", "v1")

    with pytest.raises(GitUnknownRefError, match="no branch"):
        repositories.is_reachable(str(study.path), commit, branch)


def test_branches_whose_names_were_in_each_others_way_are_told_apart(
    study: SourceRepository, repositories: Repositories
) -> None:
    root = study.change()
    study.change()
    study.git("branch", "topic")
    assert repositories.is_reachable(str(study.path), root, "topic")
    study.git("branch", "-m", "topic", "topic/one")
    assert repositories.is_reachable(str(study.path), root, "topic/one")
