"""Which repositories and commits may run here."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobrunner_cli.engine.errors import GithubValidationError, GitRepoNotReachableError
from jobrunner_cli.engine.study.provenance import check_commit, check_repo_url
from jobrunner_cli.engine.study.repository import GitAccess, Repositories
from support.git_server import SourceRepository

ORGS = frozenset({"opensafely", "Ebm-Datalab"})


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/opensafely/study",
        "https://github.com/opensafely/study/",
        "https://github.com/opensafely/some_study.v2-x",
        "https://github.com/opensafely/.github",
        "https://github.com/Ebm-Datalab/study",
        "/srv/studies/one",
        "./study",
        "study",
    ],
)
def test_repository_of_an_allowed_organisation_or_on_disk_may_run(url: str) -> None:
    check_repo_url(url, allowed_orgs=ORGS)


@pytest.mark.parametrize(
    "url",
    [
        "http://github.com/opensafely/study",
        "HTTPS://github.com/opensafely/study",
        "https://GitHub.com/opensafely/study",
        "https://github.com/OpenSAFELY/study",
        "https://github.com/ebm-datalab/study",
        "https://github.com/someone/study",
        "https://github.com/opensafely",
        "https://github.com/opensafely/",
        "https://github.com/opensafely//",
        "https://github.com/opensafely/study//",
        "https://github.com//opensafely/study",
        "https://github.com/opensafely/study/tree/main",
        "https://github.com/opensafely/study.git",
        "https://github.com/opensafely/..",
        "https://github.com/opensafely/.",
        "https://github.com/opensafely/study?x=1",
        "https://github.com/opensafely/study#x",
        "https://github.com/opensafely/study\n",
        "https://github.com/opensafely/study ",
        "https://github.com/opensafely/stu%2Fdy",
        "https://github.com/opensafely/stüdy",
        "https://github.com:443/opensafely/study",
        "https://github.com./opensafely/study",
        "https://github.com.example.org/opensafely/study",
        "https://example.org/opensafely/study",
        "https://githubXcom/opensafely/study",
        "https://github.com\\@example.org/opensafely/study",
        "https://user:secret@github.com/opensafely/study",
        "https://github.com@example.org/opensafely/study",
        "https:/github.com/opensafely/study",
        "https:github.com/opensafely/study",
        "httpx://github.com/opensafely/study",
    ],
)
def test_any_other_url_is_refused(url: str) -> None:
    with pytest.raises(GithubValidationError) as caught:
        check_repo_url(url, allowed_orgs=ORGS)

    assert "secret" not in caught.value.message
    assert "\n" not in caught.value.message


def test_refusal_names_the_organisations_that_are_allowed() -> None:
    with pytest.raises(GithubValidationError, match="Ebm-Datalab, opensafely"):
        check_repo_url("https://github.com/someone/study", allowed_orgs=ORGS)


def test_none_allows_no_repository_on_the_network_but_local_ones() -> None:
    check_repo_url("/srv/studies/one", allowed_orgs=frozenset())
    with pytest.raises(GithubValidationError, match="only local ones"):
        check_repo_url("https://github.com/opensafely/study", allowed_orgs=frozenset())


@pytest.mark.parametrize("url", ["https://github.com/someone/study", "https://git.example.org/study", "/srv/one"])
def test_no_restriction_is_none(url: str) -> None:
    check_repo_url(url, allowed_orgs=None)


def test_restricted_commit_must_be_on_its_branch_also_of_a_local_repository(tmp_path: Path) -> None:
    study = SourceRepository(tmp_path / "study")
    merged = study.change()
    study.change()
    study.git("checkout", "--quiet", "--detach")
    proposed = study.change()
    study.git("update-ref", "refs/pull/1/head", proposed)
    repositories = Repositories(GitAccess(repos_dir=tmp_path / "repos", backend="test"))
    url = str(study.path)

    check_commit(repositories, url, merged, "main", restricted=True)
    check_commit(repositories, url, proposed, "main", restricted=False)
    with pytest.raises(GithubValidationError, match="not on branch main") as caught:
        check_commit(repositories, url, proposed, "main", restricted=True)
    assert proposed in caught.value.message
    assert url in caught.value.message
    with pytest.raises(GithubValidationError, match="has no branch absent"):
        check_commit(repositories, url, merged, "absent", restricted=True)
    with pytest.raises(GitRepoNotReachableError):
        check_commit(repositories, f"{url}-absent", merged, "main", restricted=True)
