"""A study that uses a reusable action, from `add-job` to the manifest: the action's code runs on the study's outputs."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.places import MakeWorkDirectory
from support.repositories import StudyRepository
from support.runners import WorkDirectory
from support.studies import action, make_study, shell

pytestmark = pytest.mark.slow

#: The code of the action: doubles what the study counted, and says what lies beside it.
SCRIPT = """
    set -e
    [ "$1" = --input ]
    mkdir -p output
    n=$(cat "$2")
    echo "title,$3" > output/doubled.csv
    echo "n,$((n * 2))" >> output/doubled.csv
    ls -1 > output/listing.txt
    """


@pytest.fixture
def actions(tmp_path: Path) -> Path:
    """What stands in for the organisation of reusable actions: a directory with a repository for each."""
    return tmp_path / "actions"


@pytest.fixture
def doubler(actions: Path) -> StudyRepository:
    repository = StudyRepository(actions / "doubler")
    repository.write({"action.yaml": "run: python:v2 sh analysis/double.sh\n", "analysis/double.sh": SCRIPT})
    repository.commit()
    repository.git("tag", "-a", "-m", "First", "v1.0")
    return repository


@pytest.fixture
def workdir(make_workdir: MakeWorkDirectory, actions: Path, executor: str) -> WorkDirectory:
    return make_workdir(executor, {"REUSABLE_ACTIONS_URL": str(actions)})


@pytest.fixture
def study(tmp_path: Path) -> StudyRepository:
    return make_study(
        tmp_path / "study",
        {
            "count": action(shell("mkdir output && echo 21 > output/count.txt"), high=["output/count.txt"]),
            "double": action(
                "doubler:v1.0 --input output/count.txt 'two words'",
                "output/doubled.csv",
                "output/listing.txt",
                needs=["count"],
            ),
        },
        {"of-the-study.txt": "", "analysis/double.sh": "echo the study has a script of that name, too; exit 1\n"},
    )


def test_reusable_action_runs_its_own_code_on_the_outputs_of_the_study(
    workdir: WorkDirectory, study: StudyRepository, doubler: StudyRepository
):
    tagged, head = doubler.git("rev-parse", "HEAD"), study.git("rev-parse", "HEAD")
    doubler.write({"analysis/double.sh": "exit 1\n"})
    doubler.commit("After the tag")
    jobs = workdir.add(study, "double")
    assert set(jobs) == {"count", "double"}
    workdir.run()
    assert workdir.codes() == {"count": "succeeded", "double": "succeeded"}

    released = workdir.outputs(workdir.medium)
    assert released["output/doubled.csv"] == b"title,two words\nn,42\n"
    # In the working copy are the action's files and the inputs, and nothing else of the study.
    assert released["output/listing.txt"].split() == [b"action.yaml", b"analysis", b"output"]

    manifest = workdir.manifest()
    made = manifest["output/doubled.csv"]
    assert (made["repo"], made["commit"], made["action"]) == (str(doubler.path), tagged, "double")
    counted = manifest["output/count.txt"]
    assert (counted["repo"], counted["commit"]) == (str(study.path), head)

    shown = workdir.show(jobs["double"])
    assert (shown["repo_url"], shown["commit"]) == (str(study.path), head)
    assert (shown["code_repo_url"], shown["code_commit"]) == (str(doubler.path), tagged)
    assert shown["run_command"] == "python:v2 sh analysis/double.sh --input output/count.txt 'two words'"


def test_action_that_is_not_usable_is_reported_as_its_own_fault(
    workdir: WorkDirectory, study: StudyRepository, doubler: StudyRepository
):
    doubler.write({"action.yaml": "run: nothing-known:v1 go\n"})
    doubler.commit()
    doubler.git("tag", "--force", "v1.0")
    for words in (("double", "--dry-run"), ("double",)):
        done = workdir.cli("add-job", str(study.path), *words, code=1)
        assert f"the action.yaml of {doubler.path} at that tag runs" in done.stderr
        assert "not an allowed image" in done.stderr
        assert "The study is not at fault" in done.stderr
    assert workdir.codes() == {"__error__": "internal_error"}


def test_malformed_place_of_the_actions_is_named_at_once(workdir: WorkDirectory, study: StudyRepository):
    done = workdir.cli("add-job", str(study.path), "double", code=3, REUSABLE_ACTIONS_URL="git://example.org")
    assert "REUSABLE_ACTIONS_URL (from environment): 'git://example.org' is not " in done.stderr
