"""Metrics: how single readings become the samples of a job, and where they are kept."""

from __future__ import annotations

import json
import math
import sqlite3
from contextlib import closing
from pathlib import Path
from threading import Event

import pytest

from jobrunner_cli.engine import settings as settings_module
from jobrunner_cli.engine.executors.process import ProcessExecutor
from jobrunner_cli.engine.executors.protocol import Use
from jobrunner_cli.engine.service.metrics import Metrics, Reading, accumulate
from jobrunner_cli.engine.service.usage import read_usage, recorded_usage, write_usage
from jobrunner_cli.engine.states import StatusCode
from support.store import make_job, new_database


def reading(runtime: float, cpu: float, memory: float, container: str = "one") -> Reading:
    return Reading(use=Use(cpu, memory, container), runtime=runtime)


def test_sums_are_of_values_times_seconds_and_means_over_the_time_that_it_has_run():
    first = accumulate({}, reading(10, 100.0, 50.0))
    assert first == {
        "cpu_sample": 100.0,
        "cpu_cumsum": 1000.0,
        "cpu_mean": 100.0,
        "cpu_peak": 100.0,
        "mem_mb_sample": 50.0,
        "mem_mb_cumsum": 500.0,
        "mem_mb_mean": 50.0,
        "mem_mb_peak": 50.0,
        "container_id": "one",
    }
    second = accumulate(first, reading(40, 20.0, 150.0), covered=10)
    assert second["cpu_sample"] == 20.0
    assert second["cpu_cumsum"] == 1600.0
    assert second["cpu_mean"] == 40.0
    assert second["cpu_peak"] == 100.0
    assert second["mem_mb_cumsum"] == 5000.0
    assert second["mem_mb_mean"] == 125.0
    assert second["mem_mb_peak"] == 150.0


def test_a_runner_that_was_restarted_goes_on_where_the_last_one_was():
    samples = accumulate(accumulate({}, reading(10, 3.7, 51.3)), reading(25, 99.1, 47.2), covered=10)
    known = accumulate(samples, reading(60, 10.0, 10.0), covered=25)
    afresh = accumulate(json.loads(json.dumps(samples)), reading(60, 10.0, 10.0))
    for name in ("cpu_cumsum", "mem_mb_cumsum", "cpu_mean", "mem_mb_mean"):
        assert math.isclose(afresh[name], known[name], rel_tol=1e-3)


def test_another_container_begins_anew():
    old = accumulate({}, reading(1000, 400.0, 4000.0))
    new = accumulate(old, reading(5, 1.0, 2.0, container="two"), covered=1000)
    assert new == accumulate({}, reading(5, 1.0, 2.0, container="two"))


@pytest.mark.parametrize(
    "before", [{"container_id": "one"}, {"container_id": "one", "cpu_cumsum": None, "cpu_peak": "x"}]
)
def test_samples_of_another_form_do_no_harm(before: dict[str, object]):
    assert accumulate(before, reading(10, 1.0, 2.0)) == accumulate({}, reading(10, 1.0, 2.0))


def test_a_table_of_an_existing_installation_is_taken_over(tmp_path: Path):
    with closing(sqlite3.connect(tmp_path / "metrics.sqlite")) as conn, conn:
        conn.execute("CREATE TABLE jobs (id TEXT, metrics TEXT)")
        write_usage(conn, {"a": {"cpu_sample": 1}, "b": {"cpu_sample": 2}})
        write_usage(conn, {"a": {"cpu_sample": 3}})
        assert read_usage(conn, ["a", "b", "c"]) == {"a": {"cpu_sample": 3}, "b": {"cpu_sample": 2}}
    assert recorded_usage(tmp_path / "metrics.sqlite", ["a"]) == {"a": {"cpu_sample": 3}}


def test_trouble_is_told_once_and_sampling_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    settings = settings_module.load(
        {"WORKDIR": str(tmp_path), "STATS_POLL_INTERVAL": "0.01"}, cwd=tmp_path, config_dir=tmp_path
    )
    metrics, stop = Metrics(settings, ProcessExecutor(volumes_dir=tmp_path)), Event()

    class Enough(Event):
        """Stops after some turns."""

        turns = 0

        def wait(self, timeout: float | None = None) -> bool:
            self.turns += 1
            if self.turns == 3:
                new_database(tmp_path, make_job("job1", StatusCode.EXECUTING)).close()
            if self.turns == 5:
                self.set()
            return self.is_set()

    stop = Enough()
    metrics.run(stop)
    said = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(said) == 1
    assert "there is no database" in said[0]
    assert metrics.status().startswith("0 running jobs sampled")
