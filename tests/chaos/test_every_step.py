"""The runner is stopped before the changes it makes on the disk for a job: killed, or told that nobody wants it.

Killed, the next runner ends where an undisturbed one does. Cancelled, the job has all of its outputs or none. Here it
is stopped once before each kind of change, and with JOBRUNNER_TESTS_EVERY_STEP=1 (`just chaos`) before every single one.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from support import halting
from support.runners import WorkDirectory, until
from support.studies import action, change_study, make_study

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

#: What differs between two runs: times, the place, and what the system numbers.
_VARYING = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?")
FINALIZING = "staging,publish,manifest,joblog"
EVERY_STEP = os.environ.get("JOBRUNNER_TESTS_EVERY_STEP") == "1"


def script(workdir: WorkDirectory, *commands: str) -> str:
    """A command whose outputs are the same whenever it runs."""
    made = "; ".join(["mkdir -p out", *commands, "find out -type f -exec touch -d @1600000000 {} +"])
    return workdir.command(made)


def template(make_workdir: Any, executor: str, tmp_path: Path) -> tuple[WorkDirectory, str]:
    """A work directory in which an action has run, and a job of it with other outputs waits; and that job's id."""
    workdir: WorkDirectory = make_workdir(executor)
    patterns = {"high": ["out/*.bin"]}
    first = script(
        workdir,
        "echo x > out/released.csv; echo patient_id > out/held.csv; echo x > out/now-held.csv; echo x > out/gone.csv",
        "echo patient_id > out/gone-held.csv; echo x > out/a.bin; echo x > out/gone.bin; echo first",
    )
    study = make_study(tmp_path / "study", {"make": action(first, "out/*.csv", **patterns)}, {"data/a.txt": "a"})
    workdir.add(study, "make")
    workdir.run()
    second = script(
        workdir,
        "echo y > out/released.csv; echo y > out/held.csv; echo PATIENT_ID > out/now-held.csv; echo y > out/new.csv",
        "echo y > out/a.bin; echo y > out/new.bin; echo second",
    )
    change_study(study, {"make": action(second, "out/*.csv", **patterns)}, {"data/b.txt": "b"})
    return workdir, workdir.add(study, "make")["make"]


class Place(WorkDirectory):
    """A copy of a work directory."""

    def __init__(self, base: Path, origin: WorkDirectory) -> None:
        shutil.copytree(origin.path, base / "workdir", symlinks=True)
        super().__init__(base, origin.executor)
        self.said = base / "said.txt"
        self._noted = origin.base / "starts"

    def halted(self, modules: str, step: int, how: str) -> subprocess.Popen[bytes]:
        words = ("run", "--until-idle")
        return halting.start(modules, step, how, words, environment=self.settings, said=self.said)

    def check_started_once(self) -> None:
        """The command was begun at most once; begun again in the same container, it would also be twice in the log."""
        assert self.ask("SELECT id FROM job WHERE restarts > 0") == []
        if self.executor == "process":
            lines = self._noted.read_text().splitlines()
            assert sum(line.startswith(f"{self.path}/") for line in lines) <= 1

    def result(self) -> dict[str, object]:
        """Everything that is there in the end, without what differs between any two runs."""
        found: dict[str, object] = {"codes": self.codes(), "messages": self.messages(), "left": self.leftovers()}
        for store in (self.high, self.medium):
            for path in store.rglob("*"):
                if path.is_file():
                    found[str(path.relative_to(self.path))] = self._content(path)
        return found

    def _content(self, path: Path) -> object:
        text = _VARYING.sub("TIME", path.read_text().replace(str(self.path), "PLACE"))
        if path.name != "metadata.json":
            return text
        content: dict[str, Any] = json.loads(text)
        del content["container_metadata"]
        return content

    def remove(self) -> None:
        self.close()
        shutil.rmtree(self.base)

    def steps(self, modules: str) -> tuple[int, list[int]]:
        """Run to the end: how many changes that took, and one of each kind of them, by number; or all of them.

        A kind is what is changed, by which function, and for which other one.
        """
        listing = self.base / "steps"
        environment = self.settings
        found = halting.kinds_of_steps(
            modules, ("run", "--until-idle"), environment=environment, said=self.said, listing=listing
        )
        by_kind: dict[tuple[str, ...], list[int]] = {}
        for number, kind in enumerate(found, 1):
            by_kind.setdefault((str(number),) if EVERY_STEP else tuple(kind.split()[:3]), []).append(number)
        choose = random.Random(len(found))
        return len(found), sorted(choose.choice(numbers) for numbers in by_kind.values())


def thinned(steps: list[int], most: int) -> list[int]:
    """So many of them, from the first to the last."""
    if EVERY_STEP or len(steps) <= most:
        return steps
    return [steps[number * (len(steps) - 1) // (most - 1)] for number in range(most)]


def changes_of(before: Mapping[str, object], after: Mapping[str, object]) -> set[str]:
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def make_place(tmp_path: Path, name: str, origin: WorkDirectory) -> Place:
    base = tmp_path / name
    base.mkdir()
    return Place(base, origin)


@pytest.mark.parametrize("executor", ["process", pytest.param("docker", marks=pytest.mark.engine)])
def test_killed_before_every_step_of_a_job(make_workdir: Any, executor: str, tmp_path: Path):
    origin, _ = template(make_workdir, executor, tmp_path)
    calm = make_place(tmp_path, "calm", origin)
    count, steps = calm.steps("all")
    assert count > 100
    expected = calm.result()
    assert expected["left"] == []
    calm.remove()

    def killed_before(step: int) -> None:
        place = make_place(tmp_path, f"step{step}", origin)
        runner = place.halted("all", step, "kill")
        assert runner.wait(halting.PATIENCE) == -signal.SIGKILL, place.said.read_text()
        place.run()
        assert changes_of(expected, place.result()) == set(), step
        place.check_started_once()
        place.remove()

    # An engine has one container of each name, and with it each step takes longer.
    at_once, chosen = (2, steps) if executor == "process" else (1, thinned(steps, 6))
    with ThreadPoolExecutor(at_once) as threads:
        list(threads.map(killed_before, chosen))


@pytest.mark.parametrize("executor", ["process", pytest.param("docker", marks=pytest.mark.engine)])
def test_ended_by_somebody_at_every_step_of_finalizing(make_workdir: Any, executor: str, tmp_path: Path):
    origin, job_id = template(make_workdir, executor, tmp_path)
    before = make_place(tmp_path, "before", origin)
    old = stores_of(before.result())
    _, steps = before.steps(FINALIZING)
    new = stores_of(before.result())
    before.remove()
    verbs = itertools.cycle([("cancel", job_id), ("kill", job_id, "--cleanup")])
    codes = [
        ended_at(make_place(tmp_path, f"step{step}", origin), step, verb, old, new)
        for step, verb in zip(thinned(steps, 10 if executor == "process" else 5), verbs, strict=False)
    ]
    ended = {"cancelled_by_user", "killed_by_admin"}
    # One point divides them: before it all are ended, after it none is.
    assert set(codes) == {*ended, "succeeded"}
    assert codes == sorted(codes, key=lambda code: code == "succeeded")


def ended_at(
    place: Place, step: int, verb: tuple[str, ...], old: Mapping[str, object], new: Mapping[str, object]
) -> str:
    """Have a job ended by somebody while its runner is about to make a change; the code that the job ends with."""
    reached = place.base / "reached"
    runner = place.halted(FINALIZING, step, str(reached))
    until(lambda: reached.exists() or runner.poll() is not None, f"step {step}")
    ending = place.start("jobs", *verb)
    until(lambda: place.ask("SELECT 1 FROM intent") or ending.process.poll() is not None, "the intent")
    reached.unlink()
    assert runner.wait(halting.PATIENCE) in {0, 1}, place.said.read_text()
    ending.ends()
    result = place.result()
    code = place.codes()["make"]
    assert result["left"] == [], step
    assert changes_of(stores_of(result), new if code == "succeeded" else old) == set(), (step, code)
    place.check_started_once()
    place.remove()
    return code


def stores_of(result: Mapping[str, object]) -> dict[str, object]:
    """What the workspace has in both stores: outputs, manifest, logs of the actions."""
    return {name: content for name, content in result.items() if "/workspaces/" in name}
