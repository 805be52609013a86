"""Commands that need an engine which takes connections and never answers: they say what they wait for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobrunner_cli.engine.states import StatusCode
from support.silent_engine import silent_engine
from support.store import make_job, new_database

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "words",
    [["images", "ls"], ["run", "--until-idle"], ["jobs", "logs", "-f", "job1", "job2"]],
    ids=" ".join,
)
def test_it_is_said_once_what_is_waited_for_and_the_code_tells_that_nobody_answered(tmp_path: Path, words: list[str]):
    base = tmp_path / "work"
    base.mkdir()
    jobs = [make_job(f"job{n}", StatusCode.EXECUTING, action=f"act{n}", started_at=1) for n in (1, 2)]
    new_database(base, *jobs).close()
    with silent_engine(tmp_path / "s") as (url, listener):
        environment = {**os.environ, "WORKDIR": str(base), "EXECUTOR": "docker", "DOCKER_HOST": url}
        process = subprocess.Popen(
            [sys.executable, "-m", "jobrunner_cli", *words], env=environment, stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        said = next(line for line in process.stderr if not line.startswith("No runner is at work"))
        # Its time limit need not be waited for.
        listener.close()
        rest = process.stderr.read()
        process.stderr.close()
    assert said == f"Waiting for Docker at {url} to answer; Ctrl-C ends the waiting.\n"
    assert process.wait() == 5
    assert rest.startswith(f"jobrunner: Docker at {url} does not answer: ")
    assert "Waiting" not in rest
