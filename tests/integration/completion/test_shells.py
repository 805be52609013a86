"""Completion as somebody meets it: a real shell on a terminal, the script put in its place by `completion install`, Tab."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.repositories import StudyRepository
from support.shells import CALLED, SHELLS, interactive, prepare, require
from support.terminal import jobrunner

pytestmark = pytest.mark.slow


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    """Each shell, with completion installed."""
    name = str(request.param)
    require(name)
    prepare(name)
    jobrunner("completion", "install", name)
    return name


def test_tab_completes_what_there_is(shell: str, workdir: Path, study: StudyRepository, tmp_path: Path):
    (workdir / "high_privacy" / "workspaces" / "two words").mkdir(parents=True)
    here = Path.cwd()
    (here / "some-database.sqlite").touch()
    (here / "nearby").mkdir()
    repo = study.path
    expected = {
        "jobrunner mig\t": ["migrate"],
        "jobrunner jobs sho\tabc\t": ["jobs", "show", "abcdef"],
        "jobrunner jobs show mine/mo\t": ["jobs", "show", "mine/model_all"],
        "jobrunner jobs ls --works\tyo\t": ["jobs", "ls", "--workspace", "yours"],
        "jobrunner jobs ls --workspace=yo\t": ["jobs", "ls", "--workspace=yours"],
        "jobrunner jobs ls --active --lim\t": ["jobs", "ls", "--active", "--limit"],
        "jobrunner workspaces show two\t": ["workspaces", "show", "two words"],
        "jobrunner workspaces show 'two\t": ["workspaces", "show", "two words"],
        f"jobrunner add-job {repo} su\tmo\t": ["add-job", str(repo), "summarise", "model_all"],
        f"jobrunner add-job {repo} --commit first des\t": ["add-job", str(repo), "--commit", "first", "describe"],
        f"jobrunner add-job {repo} run_all --branch tr\t": ["add-job", str(repo), "run_all", "--branch", "trial"],
        "jobrunner images pull python:\t": ["images", "pull", "python:v2"],
        "jobrunner migrate --dbpath some\t": ["migrate", "--dbpath", "some-database.sqlite"],
        "jobrunner migrate --dbpath=some\t": ["migrate", "--dbpath=some-database.sqlite"],
        "jobrunner add-job nea\t": ["add-job", "nearby"],
        "EXECUTOR=process jobrunner pru\t": ["prune"],
        "jobrunner nonsense jo\t": ["nonsense", "jo"],
    }
    with interactive(shell, tmp_path / "bin") as session:
        # zsh takes the slash away again that it put behind a directory.
        assert {line: [word.rstrip("/") for word in session.run(line)] for line in expected} == expected


def test_several_that_fit_are_listed_with_what_they_mean(shell: str, workdir: Path, tmp_path: Path):
    with interactive(shell, tmp_path / "bin") as session:
        session.type("jobrunner jobs show ab\t\t")
        session.read_until("abcdef")
        session.read_until("mine/describe, executing")
        session.read_until("abxyz2")
        session.read_until("mine/model_all, succeeded")


def test_without_a_database_the_line_stays_as_it_is(shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORKDIR", str(tmp_path / "nowhere"))
    with interactive(shell, tmp_path / "bin") as session:
        session.type("jobrunner jobs show ab\t\t\r")
        shown = session.read_until(CALLED)
        assert session.words == ["jobs", "show", "ab"]
        assert "database" not in shown
        assert "jobrunner:" not in shown
        assert "rror" not in shown
    assert not (tmp_path / "nowhere").exists()
