"""Jobs that an engine cannot start: their command never ran, so it is not what failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.places import MakeWorkDirectory
from support.studies import action, make_study

pytestmark = [pytest.mark.slow, pytest.mark.engine]


def test_database_job_without_its_network_is_refused_and_nothing_is_stored_of_it(
    make_workdir: MakeWorkDirectory, tmp_path: Path
):
    workdir = make_workdir(
        "docker",
        {
            "BACKEND": "tpp",
            "DEFAULT_DATABASE_URL": "mssql://user:s3cret-word@192.0.2.1/db",
            "DATABASE_ACCESS_NETWORK": "no-such-network",
        },
    )
    study = make_study(
        tmp_path / "study",
        {"extract": action("ehrql:v1 generate-dataset dataset.py --output data.csv", high=["data.csv"])},
    )
    jobs = workdir.add(study, "extract", "--database", "default")
    workdir.run(code=1)
    assert workdir.codes() == {"extract": "internal_error"}
    message = workdir.messages()["extract"]
    assert message.startswith("Internal error: ")
    assert "no-such-network" in message
    assert workdir.outputs(workdir.high) == {}
    assert list(workdir.high.glob("workspaces/test/metadata/*.log")) == []

    # It is left to the operator, as after every failure of the platform, and can be run anew afterwards.
    assert list(workdir.containers()) == [f"os-job-{jobs['extract']}"]
    workdir.cli("jobs", "retry", jobs["extract"], "--yes")
    workdir.run(DATABASE_ACCESS_NETWORK="bridge")
    assert workdir.codes() == {"extract": "succeeded"}
