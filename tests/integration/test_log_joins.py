"""Logs whose kept beginning and end touch, overlap or lie apart: no line is lost or repeated where they are joined."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from support.runners import WorkDirectory
from support.studies import action, make_study

pytestmark = [pytest.mark.slow]

#: So long that the runner has kept the beginning by the end, or too short for that.
ENDINGS = {"kept": "sleep 3", "unkept": "true"}
LINES = {"small": 20_000, "head": 32_100, "overlapping": 45_000, "apart": 90_000}
BYTES = {"small": 3_000_000, "overlapping": 6_000_000, "apart": 30_000_000}
CUT = re.compile(r"\[(more than )?([\d,]+) lines? \((more than )?([\d,]+) bytes\) of this log were cut out here\]")


def numbered(count: int) -> str:
    return f"awk 'BEGIN {{ for (i = 0; i < {count}; i++) printf \"n %d %0100d\\n\", i, 0 }}'"


def stored(workdir: WorkDirectory, job_id: str) -> list[str]:
    [path] = workdir.high.glob(f"logs/*/os-job-{job_id}/logs.txt")
    lines = path.read_text().split("\n")
    return lines[: lines.index("")]


def run(make_workdir: Any, executor: str, tmp_path: Path, scripts: dict[str, str]) -> dict[str, list[str]]:
    """The stored lines of jobs with these scripts."""
    workdir = make_workdir(executor, {"MAX_WORKERS": "3"})
    actions = {
        name: action(workdir.command(f"touch {name}.txt; {text}"), f"{name}.txt") for name, text in scripts.items()
    }
    study = make_study(tmp_path / "study", actions)
    jobs = workdir.add(study, "run_all")
    runner = workdir.start("run", "--until-idle")
    assert runner.ends(180) == 0
    return {name: stored(workdir, job) for name, job in jobs.items()}


def test_numbered_lines_are_whole_on_both_sides_of_a_cut(make_workdir: Any, executor: str, tmp_path: Path):
    cases = {f"{size}_{end}": (size, end) for size in LINES for end in ENDINGS}
    scripts = {name: f"{numbered(LINES[size])}; {ENDINGS[end]}" for name, (size, end) in cases.items()}
    for name, lines in run(make_workdir, executor, tmp_path, scripts).items():
        count = LINES[cases[name][0]]
        cut = [at for at, line in enumerate(lines) if line.startswith("[")]
        numbers = [int(line.split()[2]) for line in lines if not line.startswith("[")]
        if not cut:
            assert numbers == list(range(count)), name
            continue
        [at] = cut
        missing = count - len(numbers)
        assert cases[name][0] == "apart", name
        assert numbers == [*range(at), *range(at + missing, count)], name
        found = CUT.fullmatch(lines[at])
        assert found, lines[at]
        said = int(found[2].replace(",", ""))
        assert said <= missing if found[1] else said == missing, (name, lines[at], missing)


def test_an_endless_line_is_whole_or_its_middle_is_cut(make_workdir: Any, executor: str, tmp_path: Path):
    cases = {f"{size}_{end}": (size, end) for size in BYTES for end in ENDINGS}
    scripts = {
        name: f"echo begin; head -c {BYTES[size]} /dev/zero | tr '\\0' x; echo; echo end; {ENDINGS[end]}"
        for name, (size, end) in cases.items()
    }
    for name, lines in run(make_workdir, executor, tmp_path, scripts).items():
        size = BYTES[cases[name][0]]
        texts = [line.partition(" ")[2] for line in lines if not line.startswith("[")]
        shown = sum(line.count("x") for line in texts)
        assert texts[0] == "begin"
        assert texts[-1] == "end"
        assert all(set(text) <= {"x"} for text in texts[1:-1])
        assert max(map(len, lines)) <= 65536
        if any(line.startswith("[") for line in lines):
            assert cases[name][0] == "apart", name
            assert 4_000_000 < shown < 8 * 2**20, name
        else:
            assert shown == size, name
