"""The main screens at three sizes, compared as text with what was looked at and found good.

A changed screen is looked at, its file in `snapshots/` removed, and the test run once: it writes the file anew, and fails.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jobrunner_cli.engine.states import StatusCode
from jobrunner_cli.tui.pane import Tab
from support.live_view import View, a_job, settings_at, watching
from support.store import new_database

S = StatusCode
HERE = Path(__file__).parent / "snapshots"
SIZES = [(80, 24), (120, 36), (200, 50)]
DAY, HALF_AN_HOUR = 86400, 1800

#: Screen -> keys that lead to it.
SCREENS = {
    "outputs": ["4"],
    "graph": ["3"],
    "cancel": ["A", "c"],
    "help": ["question_mark"],
    "flat": ["g", "g", "4"],
    "narrowed": ["4", "slash", "f", "i", "t"],
}


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    """Jobs in each mood, old enough that their ages do not change while one looks."""

    def job(job_id: str, code: StatusCode, action: str, days: int, **fields):
        return a_job(job_id, code, action=action, age=days * DAY + HALF_AN_HOUR, job_request_id="request1", **fields)

    jobs = [
        job("g3n3ratepatient1", S.SUCCEEDED, "generate_patients", 4),
        job("d3scribeages0001", S.SUCCEEDED, "describe_ages", 4, requires_outputs_from=("generate_patients",)),
        job(
            "fitmodel00000001", S.NONZERO_EXIT, "fit_model", 4, requires_outputs_from=("describe_ages",),
            status_message="Job exited with an error: exit code 3",
        ),
        job(
            "plotm0del0000001", S.DEPENDENCY_FAILED, "plot_model", 4, requires_outputs_from=("fit_model",),
            status_message="Not starting as dependency failed",
        ),
        job("chartvisits00001", S.EXECUTING, "chart_visits", 2, requires_outputs_from=("generate_patients",)),
        job(
            "writereport00001", S.WAITING_ON_DEPENDENCIES, "write_report", 2,
            requires_outputs_from=("chart_visits", "describe_ages"), wait_for_job_ids=("chartvisits00001",),
        ),
        job("extract000000001", S.WAITING_ON_DB_WORKERS, "extract", 1, workspace="measles_uptake", requires_db=True),
    ]  # fmt: skip
    new_database(tmp_path, *jobs).close()
    return tmp_path


def stable(text: str) -> str:
    """The screen without what depends on the machine."""
    lines = text.splitlines()
    return "\n".join([re.sub(r" {3}✔ (engine|processes).*", "", lines[0]), *lines[1:]]) + "\n"


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", SCREENS)
def test_screen(workdir: Path, name: str, size: tuple[int, int]):
    async def test(view: View) -> None:
        await view.until(lambda: view.main.engine is not None and view.main.pane.facts is not None, "all of the screen")
        for key in SCREENS[name]:
            await view.press(key)
            await view.pilot.pause(0.4)
        await view.pilot.pause(0.4)
        found = stable(view.text())
        assert max(map(len, found.splitlines())) <= size[0]
        path = HERE / f"{name}-{size[0]}x{size[1]}.txt"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            path.write_text(found)
            pytest.fail(f"{path} was written: look at it")
        assert found == path.read_text()

    watching(settings_at(workdir), test, size=size, first_job="chartvisits00001", first_tab=Tab.GRAPH)
