"""What holds for every test: clean surroundings, an engine for those that need one, no skip where that is forbidden."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis.configuration import set_hypothesis_home_dir

from support import surroundings
from support.engine import Engine, NoEngineError, find

FORBID_SKIPS = os.environ.get("JOBRUNNER_TESTS_FORBID_SKIPS") == "1"
NO_ENGINE = "No Docker engine"
Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def pytest_configure(config: pytest.Config) -> None:
    """Settings of hypothesis: no deadline, for a busy machine is no bug. And signals as a terminal has them."""
    # A shell that starts the tests in the background has them, and all that they start, ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    set_hypothesis_home_dir(surroundings.ROOT / ".hypothesis")
    settings.register_profile("jobrunner", deadline=None, print_blob=True)
    settings.load_profile("jobrunner")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Two workers for each CPU: tests wait for processes, disks and an engine about as long as they compute."""
    # Whoever wants another number says so in xdist's own variable.
    return None if os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS") else 2 * len(os.sched_getaffinity(0))


@pytest.fixture(autouse=True)
def clean_surroundings(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test has an environment of its own, an empty home and an empty current directory."""
    place = Path(tempfile.mkdtemp(prefix="jobrunner-test-"))
    home, here = place / "home", place / "here"
    for directory in (home, here, home / ".run"):
        directory.mkdir(mode=0o700)
    wanted = surroundings.environment(home)
    # A patch of its own: a test that undoes its monkeypatch stays in these surroundings.
    with pytest.MonkeyPatch.context() as patch:
        # pytest keeps the running test's name in the environment and takes it away itself.
        for name in set(os.environ) - set(wanted) - {"PYTEST_CURRENT_TEST"}:
            patch.delenv(name)
        for name, value in wanted.items():
            patch.setenv(name, value)
        patch.chdir(here)
        if request.node.get_closest_marker("engine") or "docker_engine" in request.fixturenames:
            patch.setenv("DOCKER_HOST", request.getfixturevalue("docker_engine"))
        yield
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="session")
def docker_engine() -> Engine:
    """The address of an engine that answers, with the names of the images it has; started if need be."""
    try:
        return find()
    except NoEngineError as error:
        pytest.skip(f"{NO_ENGINE}: {str(error).removeprefix(f'{NO_ENGINE}: ')}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skipped test fails where every test has to run."""
    report = yield
    return forbid_skip(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A file that is skipped as a whole fails as well."""
    report = yield
    return forbid_skip(report)


def forbid_skip(report: Report) -> Report:
    """Turn a skip into a failure; what is marked as an expected failure has been run and stays as it is."""
    if FORBID_SKIPS and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: {reason} (JOBRUNNER_TESTS_FORBID_SKIPS is set)"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line that nobody overlooks; the tests may have run in other processes, so it is found in their reports."""
    skipped = [report.longrepr for report in terminalreporter.stats.get("skipped", ())]
    reasons = [where[2].removeprefix("Skipped: ") for where in skipped if isinstance(where, tuple)]
    reason = next((reason for reason in reasons if reason.startswith(NO_ENGINE)), None)
    if reason:
        terminalreporter.write_line(f"THE TESTS THAT NEED A DOCKER ENGINE DID NOT RUN. {reason}", red=True, bold=True)
