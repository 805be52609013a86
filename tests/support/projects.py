"""Projects as short texts, for tests of the rules."""

from __future__ import annotations

from jobrunner_cli.engine.study.pipeline import Pipeline, examine, read_pipeline

ACTION = """\
  describe:
    run: python:v2 python describe.py
    outputs:
      moderately_sensitive:
        table: output/table.csv
"""


def project(actions: str = ACTION, *, version: object = 4, more: str = "") -> str:
    return f"version: {version}\n{more}actions:\n{actions}"


def action(run: str = "python:v2 x", *, outputs: str = "{highly_sensitive: {a: output/a.csv}}", more: str = "") -> str:
    return f"  a:\n    run: {run}\n    outputs: {outputs}\n{more}"


def accepted(text: str) -> Pipeline:
    return read_pipeline(text.encode())


def problems(text: str) -> list[str]:
    pipeline, found = examine(text.encode())
    assert (pipeline is None) == bool(found)
    return [str(problem) for problem in found]
