"""Made-up studies: valid ones come out as they went in however they are written, broken ones are refused for their fault."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from jobrunner_cli.engine.study.checking import report_on
from jobrunner_cli.engine.study.pipeline import Pipeline, examine
from support.schemas import violation_of_schema

Spec = dict[str, Any]

pytestmark = pytest.mark.slow

NAME = st.from_regex(r"[a-z][a-z0-9_.-]{0,8}( [a-z0-9]{1,4})?", fullmatch=True).filter(lambda name: name != "run_all")
WORD = st.text(alphabet="abz019 ./:=-_*$'\"\\#é", max_size=8)
JSON_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False) | WORD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORD, inner, max_size=3),
    max_leaves=6,
)
SUFFIX = {
    "highly_sensitive": ("csv", "feather", "csv.gz", "rds"),
    "moderately_sensitive": ("csv", "svg", "txt"),
    "minimally_sensitive": ("md", "dta"),
}


@st.composite
def projects(draw: st.DrawFn) -> Spec:
    """A valid project.yaml as plain data."""
    names = draw(st.lists(NAME, min_size=1, max_size=5, unique=True))
    actions: dict[str, Spec] = {}
    for number, name in enumerate(names):
        outputs: dict[str, dict[str, str]] = {}
        for level in draw(st.lists(st.sampled_from(sorted(SUFFIX)), min_size=1, unique=True)):
            ids = draw(st.lists(st.sampled_from("abc"), min_size=1, unique=True))
            wild = draw(st.sampled_from(("", "*", "-*-")))
            suffix = draw(st.sampled_from(SUFFIX[level]))
            outputs[level] = {each: f"out/{number}/{level}{wild}{each}.{suffix}" for each in ids}
        tag = draw(st.sampled_from(("v1", "v2.3", "v0-pre", "dev")))
        words = [f"python:{tag}", str(number), *draw(st.lists(WORD, max_size=4))]
        spec: Spec = {"run": shlex.join(words), "outputs": outputs}
        if number and draw(st.booleans()):
            # A space in a need is taken for a forgotten comma, even where an action has that name.
            spec["needs"] = [
                need for need in draw(st.lists(st.sampled_from(names[:number]), max_size=3)) if " " not in need
            ]
        if draw(st.booleans()):
            spec["config"] = draw(st.dictionaries(WORD, JSON_VALUE, max_size=3))
        actions[name] = spec
    # Actions may be in any order, whatever they need.
    order = draw(st.permutations(names))
    return {"version": draw(st.sampled_from(("5.0", "4.0", "2"))), "actions": {name: actions[name] for name in order}}


def block_style(project: Spec) -> str:
    """As people write it."""
    return yaml.safe_dump(project, sort_keys=False, allow_unicode=True)


def flow_style(project: Spec) -> str:
    return yaml.safe_dump(project, sort_keys=False, default_flow_style=True, width=10)


def with_windows_line_ends(project: Spec) -> str:
    return block_style(project).replace("\n", "\r\n")


STYLES: tuple[Callable[[Spec], str], ...] = (block_style, flow_style, with_windows_line_ends, json.dumps)


@given(project=projects(), style=st.sampled_from(STYLES), encoding=st.sampled_from(("utf-8", "utf-8-sig", "utf-16")))
def test_a_valid_study_comes_out_as_it_went_in(project: Spec, style: Callable[[Spec], str], encoding: str) -> None:
    content = style(project).encode(encoding)
    pipeline, problems = examine(content)
    assert [str(problem) for problem in problems] == []
    assert pipeline is not None
    assert as_data(pipeline) == expected(project)
    assert violation_of_schema(content) is None


def as_data(pipeline: Pipeline) -> Spec:
    return {
        "version": pipeline.version,
        "order": list(pipeline.actions),
        "actions": {
            name: (action.words, list(action.needs), json.dumps(action.config), dict(action.outputs))
            for name, action in pipeline.actions.items()
        },
    }


def expected(project: Spec) -> Spec:
    return {
        "version": float(project["version"]),
        "order": list(project["actions"]),
        "actions": {
            name: (
                tuple(shlex.split(spec["run"])),
                spec.get("needs", []),
                json.dumps(spec.get("config", {})),
                spec["outputs"],
            )
            for name, spec in project["actions"].items()
        },
    }


@dataclass(frozen=True)
class Fault:
    """A way to break a valid study."""

    name: str
    apply: Callable[[Spec, str], None]
    #: what the problem's message has in it
    message: str


def _outputs(path: str) -> Callable[[Spec, str], None]:
    def apply(project: Spec, name: str) -> None:
        project["actions"][name]["outputs"] = {"highly_sensitive": {"x": path}}

    return apply


def _set(key: str, value: object) -> Callable[[Spec, str], None]:
    def apply(project: Spec, name: str) -> None:
        project["actions"][name][key] = value

    return apply


FAULTS = [
    Fault("no run", lambda project, name: project["actions"][name].pop("run"), "the key `run` is missing"),
    Fault("no outputs", lambda project, name: project["actions"][name].pop("outputs"), "the key `outputs` is missing"),
    Fault("other key", _set("output", {}), "is not known here"),
    Fault("no version", _set("run", "python x"), "must be an image and its version"),
    Fault("open quote", _set("run", "python:v1 'x"), "a quote is opened"),
    Fault("unknown need", _set("needs", ["no-such-action"]), "is not an action"),
    Fault("needs as text", _set("needs", "a"), "must be a list of actions"),
    Fault("config as list", _set("config", [1]), "must be a mapping"),
    Fault("outside", _outputs("../x.csv"), "is not in standard form"),
    Fault("absolute", _outputs("/x.csv"), "is absolute"),
    Fault("no type", _outputs("out/x"), "must end in the type of the file"),
    Fault("wildcards", _outputs("out/**/x.csv"), "the only wildcard"),
    Fault("own directory", _outputs("metadata/x.csv"), "the runner's own"),
    Fault("not text", _outputs(3), "must be text"),  # type: ignore[arg-type]
    Fault("no dataset", _set("run", "ehrql:v1 generate-dataset x.py"), "must be given `--output`"),
]


@given(project=projects(), fault=st.sampled_from(FAULTS), style=st.sampled_from(STYLES), data=st.data())
def test_a_broken_study_is_refused_for_its_fault_and_with_its_place(
    project: Spec, fault: Fault, style: Callable[[Spec], str], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(project["actions"])))
    fault.apply(project, name)
    report = report_on(style(project).encode())
    assert report.pipeline is None
    assert any(fault.message in problem.message and problem.action == name for problem in report.problems)
    assert all(problem.line is not None and problem.line <= len(report.lines) for problem in report.problems)
    assert {problem.action for problem in report.problems} == {name}


@given(project=projects(), data=st.data())
def test_all_faults_of_a_study_are_listed_at_once(project: Spec, data: st.DataObject) -> None:
    names = list(project["actions"])
    faults = [data.draw(st.sampled_from(FAULTS)) for _ in names]
    for name, fault in zip(names, faults, strict=True):
        fault.apply(project, name)
    problems = report_on(block_style(project).encode()).problems
    assert [problem.line or 0 for problem in problems] == sorted(problem.line or 0 for problem in problems)
    for name, fault in zip(names, faults, strict=True):
        assert any(fault.message in problem.message and problem.action == name for problem in problems)
