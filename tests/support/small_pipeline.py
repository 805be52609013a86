"""A small pipeline to be looked at in the live view."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import pytest

from jobrunner_cli.engine.states import StatusCode
from jobrunner_cli.engine.store import changes
from support.live_view import a_job
from support.store import new_database

S = StatusCode


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    """One job that ended, one that failed, with a log of 300 lines, one that is paused, one that waits for that."""
    clean = a_job("aaaa", S.SUCCEEDED, action="clean")
    fit = a_job("bbbb", S.NONZERO_EXIT, action="fit", requires_outputs_from=("clean",), status_message="exit code 3")
    extract = a_job("cccc", S.WAITING_ON_WORKERS, action="extract", age=7200)
    report = a_job(
        "dddd", S.WAITING_ON_DEPENDENCIES, action="report", age=7200,
        requires_outputs_from=("clean", "extract"), wait_for_job_ids=("cccc",),
    )  # fmt: skip
    with closing(new_database(tmp_path, clean, fit, extract, report)) as conn:
        changes.pause(conn, "job", "cccc", time.time())
    month = time.strftime("%Y-%m", time.gmtime(fit.completed_at))
    log = tmp_path / "high_privacy" / "logs" / month / "os-job-bbbb" / "logs.txt"
    log.parent.mkdir(parents=True)
    stamp = "2026-01-02T03:04:05.000000000Z"
    lines = [f"{stamp} line {n} of the fit {'and so on ' * 30 if n == 7 else ''}" for n in range(1, 301)]
    log.write_text("\n".join([*lines, f"{stamp} \x1b[31mred\x1b[0m \x1b]0;title\x07end", "", "", "exit_code: 3", ""]))
    return tmp_path
