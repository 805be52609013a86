"""What `add-job` says of a study whose working tree has more than the commit that runs, and what it never lets git do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobrunner_cli.engine.local_requests import left_behind
from jobrunner_cli.engine.study.git import Git
from jobrunner_cli.engine.study.working_tree import look_at
from support.places import MakeWorkDirectory
from support.repositories import StudyRepository
from support.requesting import Place
from support.runners import WorkDirectory
from support.studies import action, make_study, shell

pytestmark = pytest.mark.slow


@pytest.fixture
def workdir(make_workdir: MakeWorkDirectory) -> WorkDirectory:
    return make_workdir("process")


@pytest.fixture
def study(tmp_path: Path) -> StudyRepository:
    return make_study(tmp_path / "study", {"make": action(shell("echo made > made.txt"), "made.txt")})


def missed(place: Place, *, commit: str | None = None, branch: str = "main") -> str | None:
    request = place.local("clean", commit=commit, branch=branch)
    return left_behind(place.settings, request, is_commit_named=commit is not None)


def test_changes_and_another_branch_are_told_on_stderr(workdir: WorkDirectory, study: StudyRepository):
    head = study.git("rev-parse", "--short=7", "main")
    study.git("checkout", "--quiet", "-b", "trial")
    study.commit()
    study.write({"project.yaml": "nothing"})
    said = (
        f"Running {head} of main; the working tree of {study.path} has uncommitted changes,"
        " and has branch trial checked out."
    )
    done = workdir.cli("add-job", str(study.path), "make", "--dry-run", "--json")
    assert done.stderr.splitlines() == [said]
    assert json.loads(done.stdout)["run"][0]["action"] == "make"
    done = workdir.cli("add-job", str(study.path), "make")
    assert done.stderr.splitlines()[0] == said
    assert len(done.stdout.splitlines()) == 1


def test_a_tree_that_is_what_runs_is_no_news(place: Place) -> None:
    assert missed(place) is None
    place.study.git("checkout", "--quiet", "-b", "same")
    assert missed(place) is None
    place.study.write({".gitignore": "*.log\n"})
    place.study.commit()
    place.study.write({"run.log": "x"})
    assert missed(place, branch="same") is None


def test_each_kind_of_change_counts(place: Place) -> None:
    said = f"Running {place.head[:7]} of main; the working tree of {place.study.path} has uncommitted changes."
    original = (place.study.path / "project.yaml").read_bytes()
    place.study.write({"analysis/new.py": "1"})
    assert missed(place) == said
    place.study.git("add", "--all")
    assert missed(place) == said
    place.study.git("rm", "--quiet", "--force", "analysis/new.py")
    assert missed(place) is None
    (place.study.path / "project.yaml").unlink()
    assert missed(place) == said
    place.study.write({"project.yaml": original})
    assert missed(place) is None


def test_what_the_repository_s_own_exclude_file_names_is_no_change(place: Place) -> None:
    place.study.write({"notes/mine.txt": "x", ".git/info/exclude": "notes/\n"})
    assert missed(place) is None


def test_a_commit_that_is_named_is_meant(place: Place) -> None:
    first = place.head
    second = place.study.commit()
    place.study.write({"new.py": "1"})
    assert missed(place, commit=first) is None
    assert missed(place, commit="HEAD") == (
        f"Running {second[:7]}; the working tree of {place.study.path} has uncommitted changes."
    )


def test_a_commit_without_a_branch_is_told_so(place: Place) -> None:
    place.study.git("checkout", "--quiet", "--detach")
    place.study.commit()
    said = missed(place)
    assert said is not None
    assert said.endswith("has no branch checked out.")


def test_worktrees_have_a_tree_and_bare_repositories_have_none(place: Place, tmp_path: Path) -> None:
    place.study.git("worktree", "add", "--quiet", str(tmp_path / "tree"), "-b", "side")
    place.study.git("clone", "--quiet", "--bare", ".", str(tmp_path / "bare.git"))
    assert missed(place) is None
    git = Git(home=place.settings.repos_dir.absolute())
    (tmp_path / "tree/new.py").write_text("1")
    tree = look_at(git, tmp_path / "tree")
    assert tree is not None
    assert (tree.branch, tree.head, tree.is_changed) == ("side", place.head, True)
    assert look_at(git, tmp_path / "bare.git") is None
    assert look_at(git, tmp_path / "nowhere") is None


def test_a_damaged_index_says_nothing(place: Place) -> None:
    (place.study.path / ".git/index").write_bytes(b"no index")
    assert missed(place) is None


def test_a_work_directory_in_the_study_is_no_change(place: Place) -> None:
    assert missed(place) is None
    git = Git(home=place.settings.repos_dir.absolute())
    place.study.write({"work/dir/db.sqlite": "x"})
    for besides, is_changed in (([], True), ([place.study.path / "work/dir"], False)):
        tree = look_at(git, place.study.path, besides=besides)
        assert tree is not None
        assert tree.is_changed is is_changed


def test_no_program_of_the_study_s_configuration_is_run_and_nothing_is_written(place: Place, tmp_path: Path) -> None:
    study = place.study
    study.write({".gitattributes": "* filter=evil diff=evil\n", "data.txt": "1"})
    study.git("add", "--all")
    study.git("commit", "--quiet", "--message", "Attributes")
    program = f"sh -c 'echo ran >> {tmp_path}/ran; cat'"
    for key in (
        "filter.evil.clean",
        "filter.evil.smudge",
        "filter.evil.process",
        "core.fsmonitor",
        "diff.evil.command",
    ):
        study.git("config", key, program)
    study.git("config", "core.hooksPath", str(tmp_path / "hooks"))
    (tmp_path / "hooks").mkdir()
    for name in ("post-index-change", "fsmonitor-watchman"):
        hook = tmp_path / "hooks" / name
        hook.write_text(f"#!/bin/sh\necho ran >> {tmp_path}/ran\n")
        hook.chmod(0o755)
    (study.path / "data.txt").write_text("2")
    (tmp_path / "ran").unlink(missing_ok=True)
    before = (study.path / ".git/index").read_bytes()
    said = missed(place)
    assert said is not None
    assert "uncommitted changes" in said
    assert not (tmp_path / "ran").exists()
    assert (study.path / ".git/index").read_bytes() == before
    # The same configuration, obeyed, does run it.
    study.git("status", "--porcelain")
    assert (tmp_path / "ran").exists()
