"""Trees and files of commits: exactly what was committed, from a mirror that outlives its repository."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from jobrunner_cli.engine.errors import GitError, GitFileNotFoundError
from jobrunner_cli.engine.study.repository import GitAccess, Repositories
from jobrunner_cli.engine.work import EntryKind
from support.git_places import contents, git_is_gone
from support.git_server import SourceRepository

pytestmark = pytest.mark.slow


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
    study: SourceRepository, repositories: Repositories, local_access: GitAccess, tmp_path: Path
) -> None:
    commit = study.change({"file": "content"})
    repositories.ensure_commit(str(study.path), commit)
    study.path.rename(tmp_path / "moved away")

    assert Repositories(local_access).read_file(str(study.path), commit, "file") == b"content"


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
    study: SourceRepository, repositories: Repositories, local_access: GitAccess
) -> None:
    commit = study.change({"file": "content"})
    repositories.ensure_commit(str(study.path), commit)
    (mirror,) = local_access.repos_dir.glob("*.git")
    for pack in mirror.glob("objects/pack/*"):
        pack.unlink()

    with pytest.raises(GitError) as caught:
        list(repositories.tree(str(study.path), commit).read())
    assert str(mirror) in (caught.value.hint or "")

    mirror.rename(mirror.with_name("away"))
    assert contents(repositories.tree(str(study.path), commit)) == {b"file": (EntryKind.FILE, b"content")}


def test_many_fetches_leave_few_packs(
    study: SourceRepository, repositories: Repositories, local_access: GitAccess
) -> None:
    commits = [study.change({"file": str(number)}) for number in range(55)]
    for commit in commits:
        repositories.ensure_commit(str(study.path), commit)

    (mirror,) = local_access.repos_dir.glob("*.git")
    assert len(list(mirror.glob("objects/pack/*.pack"))) < 55
    fresh = Repositories(local_access)
    assert [fresh.read_file(str(study.path), commit, "file") for commit in commits] == [
        str(number).encode() for number in range(55)
    ]
