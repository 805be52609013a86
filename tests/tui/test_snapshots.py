"""The main screens at three sizes, compared with pictures (SVG) that were looked at and found good: texts and colours.

A changed screen is looked at, its file in `snapshots/` removed, and the test run once: it writes the file anew, and fails.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from textual.widgets import Input

from jobrunner_cli.engine.states import StatusCode
from jobrunner_cli.engine.store import changes
from jobrunner_cli.engine.store.mapper import insert
from jobrunner_cli.engine.store.models import Result
from jobrunner_cli.engine.store.outcomes import outcome_to_json
from jobrunner_cli.tui.news import EngineSeen
from jobrunner_cli.tui.pane import Tab
from jobrunner_cli.tui.screenshot import picture_of
from support.live_view import View, a_job, settings_at, watching
from support.pictures import difference, stable
from support.store import make_outcome, new_database

S = StatusCode
HERE = Path(__file__).parent / "snapshots"
SIZES = [(80, 24), (120, 36), (200, 50)]
DAY, HALF_AN_HOUR = 86400, 1800
#: Seconds without a change after which a screen is said to be complete, and to be another one than the good one.
QUIET, PATIENCE = 2.0, 30.0
#: A name for a directory that is the same wherever the test runs: the current directory of whoever looks.
BASE = "/proc/self/cwd"

#: Screen -> the job that it is about, and the keys that lead to it.
SCREENS = {
    "details": ("fitmodel00000001", ["1"]),
    "log": ("fitmodel00000001", ["2", "ctrl+f", "m", "o", "d", "e", "l"]),
    "graph": ("chartvisits00001", ["3"]),
    "outputs": ("d3scribeages0001", ["4", "tab", "down"]),
    "cancel": ("chartvisits00001", ["A", "c"]),
    "workspace": ("chartvisits00001", ["W"]),
    "paused": ("extract000000001", ["1"]),
    "help": ("chartvisits00001", ["question_mark"]),
    "flat": ("chartvisits00001", ["g", "g", "4"]),
    "narrowed": ("chartvisits00001", ["4", "slash", "f", "i", "t"]),
}


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Jobs in each mood, old enough that their ages do not change while one looks."""
    monkeypatch.chdir(tmp_path)

    def job(job_id: str, code: StatusCode, action: str, days: int, **fields):
        return a_job(job_id, code, action=action, age=days * DAY + HALF_AN_HOUR, job_request_id="request1", **fields)

    described = make_outcome()
    outputs = (
        replace(described.outputs[0], path="output/ages.csv", size=48_213, row_count=1200, col_count=4),
        replace(described.outputs[1], path="output/patients.csv", size=9_100_000, message="it has a patient_id column"),
        replace(described.outputs[0], path="output/ages.png", size=17_040),
    )
    describe = job(
        "d3scribeages0001", S.SUCCEEDED, "describe_ages", 4, requires_outputs_from=("generate_patients",),
        outputs={each.path: each.level for each in outputs},
        level4_excluded_files={"output/patients.csv": "it has a patient_id column"},
        unmatched_outputs=("output/scratch.csv",),
    )  # fmt: skip
    fit = job(
        "fitmodel00000001", S.NONZERO_EXIT, "fit_model", 4, requires_outputs_from=("describe_ages",),
        status_message="Job exited with an error: exit code 3",
    )  # fmt: skip
    jobs = [
        job("g3n3ratepatient1", S.SUCCEEDED, "generate_patients", 4),
        describe,
        fit,
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
    with closing(new_database(tmp_path, *jobs)) as conn:
        verdict = make_outcome(outputs=outputs, unmatched_patterns=(), unmatched_outputs=(), refused={})
        insert(conn, Result(job_id=describe.id, outcome=outcome_to_json(verdict), recorded_at=time.time_ns()))
        changes.pause(conn, "workspace", "measles_uptake", time.time() - 3 * DAY)
    month = time.strftime("%Y-%m", time.gmtime(fit.completed_at))
    log = tmp_path / "high_privacy" / "logs" / month / f"os-job-{fit.id}" / "logs.txt"
    log.parent.mkdir(parents=True)
    lines = [
        "reading output/ages.csv",
        *(f"iteration {n} of the model" for n in range(1, 90)),
        "model.R: no convergence",
    ]
    log.write_text(
        "\n".join([f"2026-01-02T03:04:05.000000000Z {line}" for line in lines] + ["", "", "exit_code: 3", ""])
    )
    return tmp_path


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", SCREENS)
def test_screen(workdir: Path, tmp_path: Path, name: str, size: tuple[int, int]):
    job_id, keys = SCREENS[name]

    async def test(view: View) -> None:
        # The engine of this machine is not asked for; a cursor that blinks is there or not.
        view.app.engine_watch.stop()
        view.main.post_message(EngineSeen("Docker 27.5.1 at unix:///run/docker.sock", well=True))
        for field in view.main.query(Input):
            field.cursor_blink = False
        main = view.main
        await view.until(
            lambda: main.engine and main.pane.facts and main.pane.facts.job.id == job_id, "all of the screen"
        )
        if name == "log":
            view.main.action_do("tab_log")
            await view.shows("no convergence")
        await view.press(*keys)
        path = HERE / f"{name}-{size[0]}x{size[1]}.svg"
        good = path.read_text(encoding="utf-8") if path.exists() else None
        compare(path, good, await picture(view, good), tmp_path)
        assert max(map(len, view.text().splitlines())) <= size[0]

    # Nor does it matter how much room there is on this machine's disk.
    floors = {"HIGH_PRIVACY_FREE_SPACE_FLOOR": "0", "MEDIUM_PRIVACY_FREE_SPACE_FLOOR": "0"}
    settings = settings_at(Path(BASE), **floors)
    watching(settings, test, size=size, first_job=job_id, first_tab=Tab.GRAPH)


async def picture(view: View, good: str | None) -> str:
    """The picture of the screen as soon as it is the good one, or else once it has not changed for some time."""
    found, since = "", time.monotonic()
    while found != good and time.monotonic() - since < (QUIET if good is None else PATIENCE):
        await view.pilot.pause(0.05)
        before, found = found, stable(picture_of(view.app))
        if found != before:
            since = time.monotonic()
    return found


def compare(path: Path, good: str | None, found: str, place: Path) -> None:
    """Fail with what is other in the picture than in the one that was found good, if anything is."""
    if good is None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(found, encoding="utf-8")
        pytest.fail(f"{path} was written: look at it")
    if found != good:
        new = place / path.name
        new.write_text(found, encoding="utf-8")
        pytest.fail(
            f"{path.name} is another picture now; the new one is {new}\n{difference(good, found)}", pytrace=False
        )


def test_a_colour_alone_makes_another_picture(tmp_path: Path):
    good = (HERE / "flat-80x24.svg").read_text(encoding="utf-8")
    assert "#b6093d" in good
    assert "#b6093d" in difference(good, good.replace("#b6093d", "#0000ff"))
    assert "-> " in difference(good, good.replace("#b6093d", "#0000ff"))


def test_another_text_is_shown_as_lines(tmp_path: Path):
    good = (HERE / "flat-80x24.svg").read_text(encoding="utf-8")
    lines = difference(good, good.replace("fit_model", "fat_model")).splitlines()
    assert any(line.startswith("-") and "fit_model" in line for line in lines)
    assert any(line.startswith("+") and "fat_model" in line for line in lines)
