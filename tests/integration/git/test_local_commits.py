"""Names and commits of repositories on this machine's disk, through real git."""

from __future__ import annotations

import threading

import pytest

from jobrunner_cli.engine.errors import GitUnknownRefError
from jobrunner_cli.engine.study.repository import GitAccess, Repositories
from support.git_places import ABSENT
from support.git_server import SourceRepository

pytestmark = pytest.mark.slow


def test_ref_resolves_as_exact_then_branch_then_annotated_tag_then_lightweight_tag(
    study: SourceRepository, repositories: Repositories
) -> None:
    commits = [study.change() for number in range(4)]
    study.git("branch", "name", commits[0])
    study.git("tag", "-a", "-m", "annotated", "name", commits[1])
    study.git("tag", "-a", "-m", "annotated", "v1", commits[2])
    study.git("tag", "light", commits[3])
    url = str(study.path)

    assert repositories.resolve(url, "name") == commits[0]
    assert repositories.resolve(url, "refs/tags/name") == commits[1]
    assert repositories.resolve(url, "refs/heads/name") == commits[0]
    assert repositories.resolve(url, "v1") == commits[2]
    assert repositories.resolve(url, "light") == commits[3]
    assert repositories.resolve(url, "HEAD") == commits[3]
    assert repositories.resolve(url, commits[1]) == commits[1]


def test_tag_of_a_tag_resolves_to_the_commit(study: SourceRepository, repositories: Repositories) -> None:
    commit = study.change()
    study.git("tag", "-a", "-m", "inner", "inner")
    study.git("tag", "-a", "-m", "outer", "outer", "inner")

    assert repositories.resolve(str(study.path), "outer") == commit


def test_ref_is_not_found_by_the_end_of_another_ones_name(study: SourceRepository, repositories: Repositories) -> None:
    study.change()
    study.git("branch", "feature/short")

    with pytest.raises(GitUnknownRefError, match=r"no branch, tag or commit short"):
        repositories.resolve(str(study.path), "short")


@pytest.mark.parametrize(
    "ref",
    ["--upload-pack=touch evil", "-h", "a b", "a..b", "*", "", "a\nb", "main^", "x.lock", "a//b", "@{-1}", ABSENT],
)
def test_ref_that_is_none_is_refused_and_runs_nothing(
    study: SourceRepository, repositories: Repositories, ref: str
) -> None:
    study.change()

    with pytest.raises(GitUnknownRefError):
        repositories.resolve(str(study.path), ref)

    assert not list(study.path.parent.rglob("evil"))


def test_short_sha_is_refused_with_the_way_out(study: SourceRepository, repositories: Repositories) -> None:
    commit = study.change()

    with pytest.raises(GitUnknownRefError) as caught:
        repositories.resolve(str(study.path), commit[:8])

    assert "--commit" in (caught.value.hint or "")


@pytest.mark.parametrize("commit", ["main", "--all", "HEAD", ABSENT[:-1], ABSENT.replace("0", "A"), ABSENT + "\n"])
def test_only_a_full_commit_is_fetched(study: SourceRepository, repositories: Repositories, commit: str) -> None:
    study.change()

    with pytest.raises(GitUnknownRefError, match="not a full commit"):
        repositories.ensure_commit(str(study.path), commit, None)


def test_any_commit_of_a_local_repository_is_fetched_even_one_without_a_branch(
    study: SourceRepository, repositories: Repositories
) -> None:
    first = study.change({"file": "first"})
    study.change({"file": "second"})
    study.git("checkout", "--quiet", "--detach", first)
    orphan = study.change({"file": "on no branch"})
    study.git("checkout", "--quiet", "main")
    study.git("reflog", "expire", "--expire=now", "--all")

    for commit, content in ((first, b"first"), (orphan, b"on no branch")):
        repositories.ensure_commit(str(study.path), commit, threading.Event())
        assert repositories.read_file(str(study.path), commit, "file") == content


def test_fetched_commit_is_marked_and_has_no_history(
    study: SourceRepository, repositories: Repositories, local_access: GitAccess
) -> None:
    study.change({"file": "first"})
    commit = study.change({"file": "second"})

    repositories.ensure_commit(str(study.path), commit)

    (mirror,) = local_access.repos_dir.glob("*.git")
    mirrored = ["--git-dir", str(mirror)]
    assert study.git(*mirrored, "rev-parse", f"refs/tags/fetched/{commit}") == commit
    assert study.git(*mirrored, "rev-list", "--all") == commit


def test_object_that_is_no_commit_is_refused_and_not_marked(
    study: SourceRepository, repositories: Repositories, local_access: GitAccess
) -> None:
    study.change({"file": "content"})
    study.git("tag", "-a", "-m", "annotated", "v1")
    for name in ("HEAD^{tree}", "HEAD:file", "v1"):
        with pytest.raises(GitUnknownRefError):
            repositories.ensure_commit(str(study.path), study.git("rev-parse", name))

    assert not list(local_access.repos_dir.glob("*.git/refs/tags/fetched/*"))


def test_absent_commit_names_commit_and_repository(study: SourceRepository, repositories: Repositories) -> None:
    study.change()

    with pytest.raises(GitUnknownRefError) as caught:
        repositories.ensure_commit(str(study.path), ABSENT)

    assert ABSENT in caught.value.message
    assert str(study.path) in caught.value.message
