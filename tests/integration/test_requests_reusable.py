"""Job requests for reusable actions: whose code runs, with which command, and which are refused."""

from __future__ import annotations

import pytest

from jobrunner_cli.engine.states import StatusCode
from support.repositories import StudyRepository
from support.requesting import MakePlace, Place, reported, submit_while

pytestmark = pytest.mark.slow


REUSING = """
    version: 4
    actions:
      plot:
        run: plotter:v1.2 --input output/a.csv 'two words'
        config: {size: 3}
        outputs: {moderately_sensitive: {page: output/plot.html}}
      other:
        run: python:v2 python analysis/other.py
        outputs: {highly_sensitive: {table: output/other.csv}}
    """


def reusable(place: Place, definition: str = "run: python:v2 python plot.py --quiet\n") -> tuple[StudyRepository, str]:
    """The reusable action `plotter` at tag v1.2."""
    action = StudyRepository(place.actions / "plotter")
    action.write({"action.yaml": definition})
    commit = action.commit()
    action.git("tag", "-a", "-m", "v1.2", "v1.2")
    return action, commit


def test_a_reusable_action_runs_its_own_command_with_the_study_s_arguments(make_place: MakePlace) -> None:
    place = make_place(REUSING)
    action, commit = reusable(place)
    action.git("branch", "v1.2", "main")
    action.commit("Later")

    (plot,) = place.submit("plot").jobs

    assert plot.run_command == (
        "python:v2 python plot.py --quiet --input output/a.csv 'two words' --config '{\"size\": 3}'"
    )
    assert (plot.action_repo_url, plot.action_commit) == (str(action.path), commit)
    assert (plot.repo_url, plot.commit) == (str(place.study.path), place.head)
    assert not plot.requires_db


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ("run: ehrql:v1 generate-dataset x.py", "reads the database"),
        ("run: elsewhere:v1 go", "not an allowed image"),
        ("name: nothing", "has no `run`"),
        ("{", "action.yaml"),
    ],
)
def test_a_reusable_action_that_may_not_run_is_reported(make_place: MakePlace, definition: str, message: str) -> None:
    place = make_place(REUSING)
    action, _ = reusable(place, definition)
    told = reported(place.submit("plot")).status_message or ""
    assert told.startswith(
        f'ReusableActionError: action "plot" uses "plotter:v1.2", and the action.yaml of {action.path} '
    )
    assert message in told


def test_a_reusable_action_whose_tag_is_not_on_main_is_refused(make_place: MakePlace) -> None:
    place = make_place(REUSING)
    action = StudyRepository(place.actions / "plotter")
    action.commit("First")
    action.git("checkout", "--quiet", "-b", "proposal")
    action.write({"action.yaml": "run: python:v2 python plot.py\n"})
    action.commit()
    action.git("tag", "v1.2")
    told = reported(place.submit("plot")).status_message or ""
    assert told.startswith("ReusableActionError: ")
    assert "not on branch main" in told


def test_a_reusable_action_without_action_yaml_is_reported_with_its_repository_and_commit(
    make_place: MakePlace,
) -> None:
    place = make_place(REUSING)
    action = StudyRepository(place.actions / "plotter")
    commit = action.commit()
    action.git("tag", "v1.2")
    told = reported(place.submit("plot")).status_message or ""
    assert told.startswith('ReusableActionError: action "plot" runs "plotter:v1.2"')
    assert told.endswith(f"There is no file action.yaml in commit {commit} of {action.path}")


def test_a_tag_that_main_reached_later_may_be_used(make_place: MakePlace) -> None:
    place = make_place(REUSING)
    action = StudyRepository(place.actions / "plotter")
    action.commit("First")
    action.git("checkout", "--quiet", "-b", "proposal")
    action.write({"action.yaml": "run: python:v2 python plot.py\n"})
    commit = action.commit()
    action.git("tag", "v1.2")
    action.git("checkout", "--quiet", "main")
    action.git("merge", "--quiet", "--no-ff", "--message", "Merge", "proposal")
    (plot,) = place.submit("plot").jobs
    assert plot.action_commit == commit


def test_a_reusable_action_without_the_tag_or_altogether_absent_is_reported(make_place: MakePlace) -> None:
    place = make_place(REUSING)
    absent = reported(place.submit("plot")).status_message or ""
    StudyRepository(place.actions / "plotter").commit()
    untagged = reported(place.submit("plot", id="request2")).status_message or ""

    for told in (absent, untagged):
        assert told.startswith('ReusableActionError: action "plot" runs "plotter:v1.2"')
    assert "v1.2" in untagged.partition("a reusable action")[2]


def test_a_name_that_is_nearly_an_image_s_is_answered_with_it(make_place: MakePlace) -> None:
    place = make_place(REUSING.replace("plotter:", "pyhton:"))
    absent = place.submit("plot").error
    StudyRepository(place.actions / "pyhton").commit()
    untagged = place.submit("plot", id="request2").error
    for error in (absent, untagged):
        assert error is not None
        assert error.hint == 'did you mean the image "python"?'


def test_a_broken_reusable_action_is_no_trouble_for_requests_that_do_not_run_it(make_place: MakePlace) -> None:
    place = make_place(REUSING)
    assert place.submit("other").error is None


def test_a_reusable_action_that_turns_out_to_be_needed_only_at_the_end_is_fetched_then(make_place: MakePlace) -> None:
    place = make_place(REUSING)
    reusable(place)
    (first,) = place.submit("plot").jobs

    # The first plan finds the action under way; it fails before the second one is made.
    submission = submit_while(
        place, place.request("plot", id="request2"), lambda: place.move(first, StatusCode.KILLED_BY_ADMIN)
    )

    (plot,) = submission.jobs
    assert plot.run_command is not None
    assert plot.run_command.startswith("python:v2 python plot.py --quiet")
