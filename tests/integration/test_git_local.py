"""Repositories on this machine's disk, read through real git."""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
from pathlib import Path

import pytest

from jobrunner_cli.engine.errors import (
    GitError,
    GitFileNotFoundError,
    GitRepoNotReachableError,
    GitUnknownRefError,
)
from jobrunner_cli.engine.study.repository import GitAccess, Repositories
from jobrunner_cli.engine.work import CodeTree, EntryKind
from support.git_server import SourceRepository

pytestmark = pytest.mark.slow

ABSENT = "0123456789" * 4


@pytest.fixture
def study(tmp_path: Path) -> SourceRepository:
    return SourceRepository(tmp_path / "study")


@pytest.fixture
def access(tmp_path: Path) -> GitAccess:
    return GitAccess(repos_dir=tmp_path / "repos", backend="test")


@pytest.fixture
def repositories(access: GitAccess) -> Repositories:
    return Repositories(access)


def contents(tree: CodeTree) -> dict[bytes, tuple[EntryKind, bytes]]:
    return {entry.path: (entry.kind, b"".join(entry.chunks)) for entry in tree.read()}


def git_is_gone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "no-programs-here"))


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

    assert "40 digits" in (caught.value.hint or "")


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
    study: SourceRepository, repositories: Repositories, access: GitAccess
) -> None:
    study.change({"file": "first"})
    commit = study.change({"file": "second"})

    repositories.ensure_commit(str(study.path), commit)

    (mirror,) = access.repos_dir.glob("*.git")
    mirrored = ["--git-dir", str(mirror)]
    assert study.git(*mirrored, "rev-parse", f"refs/tags/fetched/{commit}") == commit
    assert study.git(*mirrored, "rev-list", "--all") == commit


def test_object_that_is_no_commit_is_refused_and_not_marked(
    study: SourceRepository, repositories: Repositories, access: GitAccess
) -> None:
    study.change({"file": "content"})
    study.git("tag", "-a", "-m", "annotated", "v1")
    for name in ("HEAD^{tree}", "HEAD:file", "v1"):
        with pytest.raises(GitUnknownRefError):
            repositories.ensure_commit(str(study.path), study.git("rev-parse", name))

    assert not list(access.repos_dir.glob("*.git/refs/tags/fetched/*"))


def test_absent_commit_names_commit_and_repository(study: SourceRepository, repositories: Repositories) -> None:
    study.change()

    with pytest.raises(GitUnknownRefError) as caught:
        repositories.ensure_commit(str(study.path), ABSENT)

    assert ABSENT in caught.value.message
    assert str(study.path) in caught.value.message


def test_relative_path_works_like_the_absolute_one(
    study: SourceRepository, repositories: Repositories, monkeypatch: pytest.MonkeyPatch, access: GitAccess
) -> None:
    commit = study.change({"file": "content"})
    monkeypatch.chdir(study.path.parent)

    assert repositories.resolve("study", "main") == commit
    repositories.ensure_commit("./study/", commit)
    assert repositories.read_file(str(study.path), commit, "file") == b"content"
    monkeypatch.chdir(study.path)
    repositories.ensure_commit(".", commit)
    assert len(list(access.repos_dir.glob("*.git"))) == 1


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


def test_tree_is_exactly_what_was_committed(
    study: SourceRepository, repositories: Repositories, tmp_path: Path
) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 12345\n"
    inner = SourceRepository(tmp_path / "inner")
    inner.change({"inner": "x"})
    awkward = "awkward \n\t\"'\\ é".encode() + b"\xff"
    (study.path / "link").symlink_to("../../etc/passwd")
    (study.path / "run.sh").write_text("#!/bin/sh\n")
    (study.path / "run.sh").chmod(0o755)
    Path(os.fsdecode(os.fsencode(study.path) + b"/" + awkward)).write_bytes(b"named badly")
    study.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner.path), "module")
    commit = study.change(
        {
            ".gitattributes": "secret export-ignore\nstamp export-subst\n*.txt text eol=crlf\n*.bin filter=lfs\n"
            "*.txt ident\n",
            "secret": "not exported by git archive",
            "stamp": "$Format:%H$",
            "lines.txt": "$Id$\none\ntwo\n",
            "large.bin": pointer,
            "empty": b"",
            "data/raw": bytes(range(256)) * 3,
        }
    )

    tree = repositories.tree(str(study.path), commit)
    found = contents(tree)

    assert tree.commit == commit
    assert found.pop(b".gitattributes")[0] is EntryKind.FILE
    assert found.pop(b".gitmodules")[0] is EntryKind.FILE
    stored_text = study.git("cat-file", "blob", f"{commit}:lines.txt").encode() + b"\n"
    assert found == {
        b"secret": (EntryKind.FILE, b"not exported by git archive"),
        b"stamp": (EntryKind.FILE, b"$Format:%H$"),
        b"lines.txt": (EntryKind.FILE, stored_text),
        b"large.bin": (EntryKind.FILE, pointer.encode()),
        b"empty": (EntryKind.FILE, b""),
        b"data/raw": (EntryKind.FILE, bytes(range(256)) * 3),
        b"link": (EntryKind.LINK, b"../../etc/passwd"),
        b"run.sh": (EntryKind.EXECUTABLE, b"#!/bin/sh\n"),
        b"module": (EntryKind.SUBMODULE, b""),
        awkward: (EntryKind.FILE, b"named badly"),
    }
    assert contents(tree) == found | {
        name: value for name, value in contents(tree).items() if name in {b".gitattributes", b".gitmodules"}
    }


def test_large_files_come_in_pieces_and_may_be_skipped(study: SourceRepository, repositories: Repositories) -> None:
    large = os.urandom(9 * 1024 * 1024)
    commit = study.change({"a-large": large, "b-small": "small", "c-large": large, "d-last": "last"})
    tree = repositories.tree(str(study.path), commit)

    largest = 0
    digest = hashlib.sha256()
    for entry in tree.read():
        if entry.path == b"c-large":
            for chunk in entry.chunks:
                digest.update(chunk)
                largest = max(largest, len(chunk))
    assert digest.digest() == hashlib.sha256(large).digest()
    assert largest <= 1024 * 1024

    small = {entry.path: b"".join(entry.chunks) for entry in tree.read() if entry.path[:1] in {b"b", b"d"}}
    assert small == {b"b-small": b"small", b"d-last": b"last"}
    next(iter(tree.read()))


def test_same_commit_is_laid_out_again_without_starting_git(
    study: SourceRepository, repositories: Repositories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = study.change({"project.yaml": "version: 4", "analysis/script.py": "print()"})
    first = contents(repositories.tree(str(study.path), commit))

    git_is_gone(monkeypatch, tmp_path)

    repositories.ensure_commit(str(study.path), commit)
    assert contents(repositories.tree(str(study.path), commit)) == first
    assert repositories.read_file(str(study.path), commit, "project.yaml") == b"version: 4"


def test_fetched_commit_is_known_to_the_next_process_and_outlives_its_repository(
    study: SourceRepository, repositories: Repositories, access: GitAccess, tmp_path: Path
) -> None:
    commit = study.change({"file": "content"})
    repositories.ensure_commit(str(study.path), commit)
    study.path.rename(tmp_path / "moved away")

    assert Repositories(access).read_file(str(study.path), commit, "file") == b"content"


def test_git_that_is_not_installed_is_a_clear_error(
    study: SourceRepository, repositories: Repositories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = study.change()
    git_is_gone(monkeypatch, tmp_path)

    with pytest.raises(GitError, match="git is not installed"):
        repositories.ensure_commit(str(study.path), commit)


def test_file_that_is_none_names_path_commit_and_repository(
    study: SourceRepository, repositories: Repositories
) -> None:
    (study.path / "link").symlink_to("file")
    commit = study.change({"file": "content", "folder/file": "content"})

    for path in ("project.yaml", "folder", "link", "../file", "./file", "/file", "", "*", "FILE"):
        with pytest.raises(GitFileNotFoundError) as caught:
            repositories.read_file(str(study.path), commit, path)
        assert path in caught.value.message
        assert commit in caught.value.message
        assert str(study.path) in caught.value.message


def test_tree_that_stands_for_billions_of_files_is_refused(study: SourceRepository, repositories: Repositories) -> None:
    study.change({"0": "x"})
    blob = study.git("hash-object", "-w", "0")
    (study.path / "listing").write_text("".join(f"100644 blob {blob}\t{name}\n" for name in range(100)))
    for _ in range(5):
        with (study.path / "listing").open() as listing:
            tree = subprocess.run(
                ["git", "mktree"], stdin=listing, cwd=study.path, capture_output=True, check=True, text=True
            ).stdout.strip()
        (study.path / "listing").write_text("".join(f"040000 tree {tree}\t{name}\n" for name in range(100)))
    commit = study.git("commit-tree", "-m", "bomb", tree)

    with pytest.raises(GitError, match="more than 250,000 files"):
        list(repositories.tree(str(study.path), commit).read())


def test_damaged_mirror_is_an_error_that_says_what_to_remove_and_removing_it_helps(
    study: SourceRepository, repositories: Repositories, access: GitAccess
) -> None:
    commit = study.change({"file": "content"})
    repositories.ensure_commit(str(study.path), commit)
    (mirror,) = access.repos_dir.glob("*.git")
    for pack in mirror.glob("objects/pack/*"):
        pack.unlink()

    with pytest.raises(GitError) as caught:
        list(repositories.tree(str(study.path), commit).read())
    assert str(mirror) in (caught.value.hint or "")

    mirror.rename(mirror.with_name("away"))
    assert contents(repositories.tree(str(study.path), commit)) == {b"file": (EntryKind.FILE, b"content")}


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


def test_many_fetches_leave_few_packs(study: SourceRepository, repositories: Repositories, access: GitAccess) -> None:
    commits = [study.change({"file": str(number)}) for number in range(55)]
    for commit in commits:
        repositories.ensure_commit(str(study.path), commit)

    (mirror,) = access.repos_dir.glob("*.git")
    assert len(list(mirror.glob("objects/pack/*.pack"))) < 55
    fresh = Repositories(access)
    assert [fresh.read_file(str(study.path), commit, "file") for commit in commits] == [
        str(number).encode() for number in range(55)
    ]
