"""A short run of `just fuzz`, the same files every time, and that it would notice."""

from __future__ import annotations

import random

import pytest

from jobrunner_cli.engine.study.pipeline import read_pipeline
from support.project_fuzz import is_bad, judge, judge_pipeline, main, minimised, mutated, seeds

ROUNDS = 200


def test_every_seed_holds() -> None:
    accepted = [content for content in seeds() if judge(content).pipeline is not None]
    assert len(seeds()) == 117
    assert len(accepted) == 57


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_mutated_studies_are_accepted_or_refused_with_problems(seed: int) -> None:
    rng, among = random.Random(seed), seeds()
    reports = [judge(mutated(rng, among)) for _ in range(ROUNDS)]
    refused = [report for report in reports if report.problems]
    assert ROUNDS // 2 < len(refused) < ROUNDS, "the mutations no longer reach both ends"


def test_fuzzing_ends_in_time_and_says_how_to_repeat_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seconds", "0.3", "--seed", "7"]) == 0
    assert capsys.readouterr().out.startswith("seed 7: ")


def test_a_broken_promise_is_noticed() -> None:
    pipeline = read_pipeline(b"version: 4\nactions: {a: {run: 'python:v1 x', outputs: {highly_sensitive: {a: a.csv}}}}")
    object.__setattr__(pipeline.actions["a"], "words", ("python:v1", "x", "y"))
    with pytest.raises(AssertionError, match="split otherwise"):
        judge_pipeline(pipeline)


def test_a_bad_file_is_made_small() -> None:
    content = b"\n".join(b"line %d" % number for number in range(200))
    assert minimised(content, lambda some: b"line 77" in some and b"line 150" in some) == b"line 77\nline 150"
    assert not is_bad(content)
