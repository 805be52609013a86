"""A project.yaml looked at for somebody who writes one: everything wrong with it, everything doubtful, and its lines."""

from __future__ import annotations

from dataclasses import dataclass

from jobrunner_cli.engine.study import reader, rules
from jobrunner_cli.engine.study.advice import advise
from jobrunner_cli.engine.study.pipeline import Pipeline
from jobrunner_cli.engine.study.problems import Problem
from jobrunner_cli.engine.study.source import UnreadableError, decode
from jobrunner_cli.engine.study.syntax_errors import lines_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What there is to say about a file."""

    #: None if there are problems
    pipeline: Pipeline | None
    #: why the file is refused, in its order
    problems: tuple[Problem, ...]
    #: what is legal and probably wrong, in the file's order
    warnings: tuple[Problem, ...]
    #: the lines of the file, without their ends; none if it is no text
    lines: tuple[str, ...]


def report_on(content: bytes) -> Report:
    """Everything there is to say about a project.yaml. Never raises for its content."""
    checked = rules.check(reader.read(content))
    try:
        lines = tuple(lines_of(decode(content)))
    except UnreadableError:
        lines = ()
    return Report(pipeline=checked.pipeline, problems=checked.problems, warnings=advise(checked), lines=lines)
