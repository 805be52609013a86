"""What may be a repository on this machine's disk, and that nothing of it or of the user's configuration is run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobrunner_cli.engine.errors import GitRepoNotReachableError, GitUnknownRefError
from jobrunner_cli.engine.study.repository import GitAccess, Repositories
from jobrunner_cli.engine.work import EntryKind
from support.git_places import ABSENT, contents
from support.git_server import SourceRepository

pytestmark = pytest.mark.slow


def test_relative_path_works_like_the_absolute_one(
    study: SourceRepository, repositories: Repositories, monkeypatch: pytest.MonkeyPatch, local_access: GitAccess
) -> None:
    commit = study.change({"file": "content"})
    monkeypatch.chdir(study.path.parent)

    assert repositories.resolve("study", "main") == commit
    repositories.ensure_commit("./study/", commit)
    assert repositories.read_file(str(study.path), commit, "file") == b"content"
    monkeypatch.chdir(study.path)
    repositories.ensure_commit(".", commit)
    assert len(list(local_access.repos_dir.glob("*.git"))) == 1


def test_path_that_is_no_repository_is_a_clear_error(
    study: SourceRepository, repositories: Repositories, tmp_path: Path
) -> None:
    study.change({"analysis/script.py": ""})
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    told = {
        "absent": "There is no directory",
        "empty": "is not a git repository",
        "file": "is not a directory",
        "study/analysis": "is not a git repository but a directory of one",
    }
    for name, message in told.items():
        for call in (
            lambda url: repositories.resolve(url, "main"),
            lambda url: repositories.ensure_commit(url, ABSENT),
            lambda url: repositories.is_reachable(url, ABSENT, "main"),
        ):
            with pytest.raises(GitRepoNotReachableError, match=message) as caught:
                call(str(tmp_path / name))
            assert str(tmp_path / name) in caught.value.message
            assert caught.value.hint


def test_repository_without_commits_is_a_clear_error(study: SourceRepository, repositories: Repositories) -> None:
    with pytest.raises(GitUnknownRefError, match="no branch, tag or commit main"):
        repositories.resolve(str(study.path), "main")


def test_bare_repositories_worktrees_and_odd_names_work(
    study: SourceRepository, repositories: Repositories, tmp_path: Path
) -> None:
    commit = study.change({"file": "content"})
    odd = tmp_path / 'it\'s "odd" $(touch evil) ;:\\ é\n[x]'
    study.git("clone", "--quiet", "--bare", ".", str(odd))
    study.git("worktree", "add", "--quiet", str(tmp_path / "worktree"), "-b", "other")

    for path in (odd, tmp_path / "worktree"):
        assert repositories.resolve(str(path), "main") == commit
        assert repositories.read_file(str(path), commit, "file") == b"content"
        assert repositories.is_reachable(str(path), commit, "main")
    assert not list(tmp_path.rglob("evil"))


def test_shallow_clone_works_as_a_repository(
    study: SourceRepository, repositories: Repositories, tmp_path: Path
) -> None:
    study.change({"file": "first"})
    middle = study.change({"file": "middle"})
    last = study.change({"file": "last"})
    study.git("clone", "--quiet", "--depth=2", study.path.as_uri(), str(tmp_path / "shallow"))

    assert repositories.resolve(str(tmp_path / "shallow"), "main") == last
    assert repositories.read_file(str(tmp_path / "shallow"), middle, "file") == b"middle"
    assert repositories.is_reachable(str(tmp_path / "shallow"), middle, "main")


def test_repository_of_another_user_can_be_read(study: SourceRepository, repositories: Repositories) -> None:
    first = study.change({"file": "content"})
    commit = study.change({"file": "new content"})
    # Only root can give files away; anyone else reads a repository of his own here.
    owner = 12345 if os.geteuid() == 0 else os.geteuid()
    for path in (study.path, *study.path.rglob("*")):
        os.chown(path, owner, -1)

    assert repositories.resolve(str(study.path), "main") == commit
    assert repositories.read_file(str(study.path), commit, "file") == b"new content"
    assert repositories.is_reachable(str(study.path), first, "main")


def test_nothing_that_the_repository_configures_is_run(
    study: SourceRepository, repositories: Repositories, tmp_path: Path
) -> None:
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\nexec cat\n")
    trap.chmod(0o755)
    commit = study.change({".gitattributes": "* filter=trap diff=trap", "file": "content"})
    for key in ("filter.trap.smudge", "filter.trap.process", "uploadpack.packObjectsHook", "core.fsmonitor"):
        study.git("config", key, str(trap))
    hooks = study.path / ".git" / "hooks"
    for hook in ("post-checkout", "reference-transaction", "pre-auto-gc", "post-upload-pack", "fsmonitor-watchman"):
        hooks.mkdir(exist_ok=True)
        (hooks / hook).symlink_to(trap)

    assert repositories.resolve(str(study.path), "main") == commit
    assert contents(repositories.tree(str(study.path), commit))[b"file"] == (EntryKind.FILE, b"content")
    assert repositories.is_reachable(str(study.path), commit, "main")
    assert not (tmp_path / "sprung").exists()


def test_configuration_of_the_user_has_no_effect(
    study: SourceRepository, repositories: Repositories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = study.change({"file": "content"})
    elsewhere = SourceRepository(tmp_path / "elsewhere")
    elsewhere.change({"file": "other"})
    config = tmp_path / ".gitconfig"
    config.write_text(f'[url "{elsewhere.path}"]\n\tinsteadOf = {study.path}\n[transfer]\n\thideRefs = refs/heads\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_DIR", str(elsewhere.path / ".git"))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(tmp_path / "objects"))

    assert repositories.resolve(str(study.path), "main") == commit
    assert repositories.read_file(str(study.path), commit, "file") == b"content"
