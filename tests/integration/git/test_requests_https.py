"""Job requests whose study and reusable action come from an HTTPS server that demands a token: provenance, end to end."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from jobrunner_cli.engine.study.repository import GitAccess, Repositories
from support.git_places import LOGIN, Recorder
from support.git_server import GitServer, SourceRepository
from support.requesting import MakePlace, Place, actions_of, reported

pytestmark = pytest.mark.slow

STUDY = "https://github.com/opensafely/study"
PROJECT = """
    version: 4
    actions:
      count:
        run: python:v2 python count.py
        outputs: {highly_sensitive: {table: output/count.csv}}
      plot:
        run: plotter:v1.2 --quick
        needs: [count]
        outputs: {moderately_sensitive: {page: output/plot.html}}
    """


@pytest.fixture
def study(tmp_path: Path) -> SourceRepository:
    study = SourceRepository(tmp_path / "study")
    study.project(PROJECT)
    study.change()
    study.change({"README.md": "later"})
    return study


@pytest.fixture
def plotter(tmp_path: Path) -> SourceRepository:
    action = SourceRepository(tmp_path / "plotter")
    action.change({"action.yaml": "run: python:v2 python plot.py\n"})
    return action


@pytest.fixture
def place(make_place: MakePlace, server: GitServer, access: GitAccess) -> Place:
    """The server stands in for the proxy through which github.com is reached; it wants the token."""
    server.demand = LOGIN
    place = make_place(REUSABLE_ACTIONS_URL="https://github.com/opensafely-actions")
    reached = replace(access, github_host="github.com", use_proxy=True, proxy_host=server.host)
    return replace(place, repositories=Repositories(reached))


def publish(server: GitServer, study: SourceRepository, plotter: SourceRepository) -> None:
    server.publish(study, "opensafely/study")
    server.publish(plotter, "opensafely-actions/plotter")


def test_merged_commit_runs_with_the_code_of_a_merged_tag(
    place: Place, server: GitServer, study: SourceRepository, plotter: SourceRepository
) -> None:
    tagged = plotter.git("rev-parse", "HEAD")
    plotter.git("tag", "-a", "-m", "x", "v1.2")
    plotter.change({"action.yaml": "run: elsewhere:v1\n"})
    publish(server, study, plotter)
    commit = study.git("rev-parse", "HEAD~1")

    submission = place.submit("run_all", repo_url=STUDY, commit=commit)

    assert actions_of(submission) == ["count", "plot"]
    plot = submission.jobs[1]
    assert (plot.repo_url, plot.commit) == (STUDY, commit)
    assert (plot.action_repo_url, plot.action_commit) == ("https://github.com/opensafely-actions/plotter", tagged)
    assert plot.run_command == "python:v2 python plot.py --quick"


def test_commit_that_is_only_on_a_pull_request_is_refused(
    place: Place, server: GitServer, study: SourceRepository, plotter: SourceRepository
) -> None:
    study.git("checkout", "--quiet", "--detach")
    proposed = study.change({"count.py": "proposed"})
    for ref in ("refs/pull/1/head", "refs/pull/1/merge", "refs/tags/v1", "refs/notes/x"):
        study.git("update-ref", ref, proposed)
    publish(server, study, plotter)

    told = reported(place.submit("count", repo_url=STUDY, commit=proposed)).status_message or ""

    assert told == f"GithubValidationError: Cannot run commit {proposed} of {STUDY}: it is not on branch main"
    for branch in ("refs/pull/1/head", "pull/1/head", "v1", "refs/tags/v1", "../pull/1/head"):
        submission = place.submit("count", id=f"on {branch}", repo_url=STUDY, commit=proposed, branch=branch)
        assert "has no branch" in (reported(submission).status_message or "")


def test_tag_that_is_only_on_a_pull_request_is_refused(
    place: Place, server: GitServer, study: SourceRepository, plotter: SourceRepository
) -> None:
    plotter.git("checkout", "--quiet", "--detach")
    proposed = plotter.change({"action.yaml": "run: python:v2 python evil.py\n"})
    plotter.git("update-ref", "refs/pull/1/head", proposed)
    plotter.git("tag", "v1.2", proposed)
    publish(server, study, plotter)

    head = study.git("rev-parse", "HEAD")
    told = reported(place.submit("plot", repo_url=STUDY, commit=head)).status_message or ""

    assert told.startswith('ReusableActionError: action "plot" runs "plotter:v1.2"')
    assert told.endswith("its tag v1.2 is not on branch main of https://github.com/opensafely-actions/plotter")


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/somebody/study",
        "https://github.com/opensafely-actions/plotter",
        "https://github.com/opensafely/../somebody/study",
        "https://github.com.example.org/opensafely/study",
        "http://github.com/opensafely/study",
    ],
)
def test_repository_of_another_organisation_is_not_even_asked_for(
    place: Place, server: GitServer, study: SourceRepository, plotter: SourceRepository, url: str
) -> None:
    publish(server, study, plotter)
    head = study.git("rev-parse", "HEAD")
    told = reported(place.submit("count", repo_url=url, commit=head)).status_message or ""
    assert told.startswith("GithubValidationError: ")
    assert server.seen == []


def test_token_is_in_no_argument_list_table_or_log(
    place: Place,
    server: GitServer,
    access: GitAccess,
    study: SourceRepository,
    plotter: SourceRepository,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    recorder = Recorder(tmp_path / "recorder", monkeypatch)
    plotter.git("tag", "v1.2")
    publish(server, study, plotter)
    commit = study.git("rev-parse", "HEAD~1")

    assert place.submit("run_all", repo_url=STUDY, commit=commit).error is None
    server.demand = "somebody:else"
    refused = reported(place.submit("count", id="request2", repo_url=STUDY, commit=commit)).status_message or ""

    assert refused.startswith("GitRepoNotReachableError: ")
    assert "git-remote-https origin" in recorder.text()
    rows = "\n".join(place.database.connection.iterdump())
    assert STUDY in rows
    for secret in (access.token, access.credentials):
        assert secret is not None
        for text in (recorder.text(), rows, caplog.text, refused):
            assert secret not in text
