"""Mutated real studies, and what has to hold for every one of them; `just fuzz` runs this for as long as one likes."""

from __future__ import annotations

import argparse
import faulthandler
import json
import random
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

from jobrunner_cli.engine.errors import ProjectValidationError
from jobrunner_cli.engine.study.checking import Report, report_on
from jobrunner_cli.engine.study.pipeline import Action, Pipeline, read_pipeline
from support.schemas import violation_of_schema

TESTS = Path(__file__).parents[1]
#: Seconds that no file may take.
PATIENCE = 20.0
PIECES = (
    *"\t\n\r :-#\"'[]{}&*|>%@`!?,.~=<\\/1\0é\u2028\ufeff",
    "\n  ", "\n    ", ": ", "- ", "<<: *a", "*a", "&a ", "---\n", "...\n", "%YAML 1.1\n", "!!int ", "!!binary ", "!x ",
    "2020-01-01", ".inf", "1e999", "0x1F", "version: 5\n", "version: 3\n", "expectations: {population_size: 10}\n",
    "run_all", "__error__", "needs: [a]", "config: {a: 1}", "dummy_data_file: x.csv", "python:latest", "ehrql:v1 ",
    "cohortextractor:v1 generate_cohort", "generate-dataset --output a.csv", "sqlrunner:v1", "../", "metadata/", "*.csv",
    "highly_sensitive:", "moderately_sensitive:", "x" * 2000, "[" * 120, "\\u0000", "\\ud800", "\\ud83d\\ude00", "&v1.0 ", "*v1.0", "[\n\t", "\n\t]",
)  # fmt: skip

Mutation = Callable[[random.Random, bytes, Sequence[bytes]], bytes]


def seeds() -> list[bytes]:
    """Real studies, broken ones, and a few that use more of YAML than people do."""
    files = sorted([*TESTS.glob("corpus/*/*.yaml"), *TESTS.glob("fuzz_seeds/*.yaml")])
    return [file.read_bytes() for file in files]


def _insert(rng: random.Random, content: bytes, _: Sequence[bytes]) -> bytes:
    at = rng.randint(0, len(content))
    return content[:at] + rng.choice(PIECES).encode() + content[at + rng.choice((0, 0, 1, 3, 10)) :]


def _flip(rng: random.Random, content: bytes, _: Sequence[bytes]) -> bytes:
    if not content:
        return content
    at = rng.randrange(len(content))
    return content[:at] + bytes([rng.randrange(256)]) + content[at + 1 :]


def _cut(rng: random.Random, content: bytes, _: Sequence[bytes]) -> bytes:
    start = rng.randint(0, len(content))
    return content[:start] + content[min(len(content), start + rng.randint(1, 200)) :]


def _lines(rng: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """Lines repeated, moved, indented otherwise, or taken from another file."""
    lines = content.split(b"\n")
    start = rng.randrange(len(lines))
    some = lines[start : start + rng.randint(1, 8)]
    match rng.randrange(4):
        case 0:
            del lines[start : start + len(some)]
        case 1:
            some = [b" " * rng.randint(0, 6) + line.lstrip() for line in some]
            lines[start : start + len(some)] = some
        case 2:
            other = rng.choice(others).split(b"\n")
            begin = rng.randrange(len(other))
            some = other[begin : begin + rng.randint(1, 12)]
    at = rng.randint(0, len(lines))
    lines[at:at] = some
    return b"\n".join(lines)


def _swap_words(rng: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """A word of the file for another word of it, or of another file."""
    words, source = content.split(), rng.choice((content, rng.choice(others))).split()
    if not words or not source:
        return content
    return content.replace(rng.choice(words), rng.choice(source), rng.choice((1, 1, -1)))


MUTATIONS: tuple[Mutation, ...] = (_insert, _insert, _flip, _cut, _lines, _lines, _swap_words, _swap_words)


def mutated(rng: random.Random, among: Sequence[bytes]) -> bytes:
    """One of the files after a few mutations."""
    content = rng.choice(among)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        content = rng.choice(MUTATIONS)(rng, content, among)
    return content


def judge(content: bytes) -> Report:
    """Read a file in every way there is. Raises AssertionError, or whatever else it provoked."""
    began = time.monotonic()
    report = report_on(content)
    pipeline: Pipeline | None = None
    refusal: ProjectValidationError | None = None
    try:
        pipeline = read_pipeline(content)
    except ProjectValidationError as error:
        refusal = error
    assert refusal is None or refusal.message.startswith("project.yaml has ")
    assert pipeline == report.pipeline, "two readings differ"
    assert (pipeline is None) == bool(report.problems), "neither accepted nor refused"
    for found in (report.problems, report.warnings):
        assert [problem.line or 0 for problem in found] == sorted(problem.line or 0 for problem in found)
        for problem in found:
            assert str(problem).isprintable(), "a message of several lines, or with control characters"
            assert str(problem).encode()
            assert problem.line is None or not report.lines or 1 <= problem.line <= len(report.lines), "no such line"
    if pipeline is not None:
        judge_pipeline(pipeline)
        assert (wrong := violation_of_schema(content)) is None, f"the schema refuses what the rules accept: {wrong}"
    assert time.monotonic() - began < PATIENCE, "too slow"
    return report


def judge_pipeline(pipeline: Pipeline) -> None:
    """What holds for every pipeline that is accepted."""
    order = pipeline.run_all_order
    assert len(order) == len(set(order))
    assert set(pipeline.all_actions) <= set(order)
    for position, name in enumerate(order):
        assert set(pipeline.actions[name].needs) <= set(order[:position]), "a need comes later"
    for action in pipeline.actions.values():
        judge_action(action)


def judge_action(action: Action) -> None:
    """What holds for every action that is accepted."""
    json.dumps({level: dict(patterns) for level, patterns in action.outputs.items()})
    assert tuple(shlex.split(action.run)) == action.words, "split otherwise than a shell would"
    for dummy_data in (True, False):
        words = shlex.split(action.command(dummy_data=dummy_data))
        assert tuple(words[: len(action.words)]) == action.words
        if action.config:
            assert json.loads(words[len(action.words) + 1]).keys() == action.config.keys()


def minimised(content: bytes, is_bad: Callable[[bytes], bool]) -> bytes:
    """The file without the lines that it does not need to be bad."""
    lines = content.split(b"\n")
    size = max(1, len(lines) // 2)
    while size:
        for start in range(len(lines) - size, -1, -size):
            fewer = lines[:start] + lines[start + size :]
            if is_bad(b"\n".join(fewer)):
                lines = fewer
        size //= 2
    return b"\n".join(lines)


def is_bad(content: bytes) -> bool:
    """Whether a file provokes anything that must not be."""
    try:
        judge(content)
    except Exception:
        return True
    return False


def main(arguments: Sequence[str]) -> int:
    """Fuzz; returns 1 if a file was found that breaks something."""
    parser = argparse.ArgumentParser(prog="just fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6, help="the same seed makes the same files")
    parser.add_argument("--save", type=Path, default=Path("fuzz-failures"), help="where bad files go")
    options = parser.parse_args(arguments)
    rng, among = random.Random(options.seed), seeds()
    files = accepted = bad = 0
    end = time.monotonic() + options.seconds
    while time.monotonic() < end:
        content = mutated(rng, among)
        files += 1
        # A file that is never done with shows where.
        faulthandler.dump_traceback_later(3 * PATIENCE, exit=True, file=sys.__stderr__ or 2)
        try:
            accepted += judge(content).pipeline is not None
        except Exception as error:
            bad += 1
            smaller = minimised(content, is_bad)
            options.save.mkdir(parents=True, exist_ok=True)
            saved = options.save / f"{sha256(smaller).hexdigest()[:12]}.yaml"
            saved.write_bytes(smaller)
            print(f"{saved}: {type(error).__name__}: {error}")
    faulthandler.cancel_dump_traceback_later()
    print(f"seed {options.seed}: {files:,} files, {accepted:,} accepted, {bad:,} bad")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
