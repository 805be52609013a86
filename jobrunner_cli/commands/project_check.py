"""`jobrunner project check`: everything that is wrong with a project.yaml, at once."""

from __future__ import annotations

import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobrunner_cli.engine.errors import ExitCode

if TYPE_CHECKING:
    from jobrunner_cli.engine.study.checking import Report
    from jobrunner_cli.engine.study.problems import Problem

#: The most problems and the most warnings that are listed for people.
_MOST_LISTED = 200
#: The least of a line that is worth showing.
_LEAST_SHOWN = 20


class Format(StrEnum):
    """How the findings are written."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


def check(
    what: Annotated[
        str, typer.Argument(metavar="[REPO_OR_FILE]", help="A study's directory, a file, or - for stdin.")
    ] = ".",
    commit: Annotated[
        str | None, typer.Option(metavar="COMMIT", help="Check what is in this commit, branch or tag of REPO.")
    ] = None,
    shape: Annotated[
        Format | None,
        typer.Option("--format", metavar="FORMAT", help="text (the default), json, or github for annotations."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Say everything that is wrong with a project.yaml, and warn of what is legal but probably wrong.

    Without --commit, the file is read as it lies in the working tree, committed or not. With it,
    REPO may be a URL, too. The exit code is 0 if the file is accepted, 1 if not; warnings leave it 0.

    \b
    Examples:
      jobrunner project check
      jobrunner project check ../my-study --commit main
      jobrunner project check --format github           in a code host's CI
      jobrunner project check - --json < project.yaml   in an editor
    """
    from jobrunner_cli import output
    from jobrunner_cli.commands.forms import require_one_form
    from jobrunner_cli.commands.project_source import read_project
    from jobrunner_cli.engine.study.checking import report_on

    require_one_form(f"--format {shape}" if shape not in {None, Format.JSON} else None, as_json=as_json)
    name, content = read_project(what, commit)
    report = report_on(content)
    if as_json or shape is Format.JSON:
        output.as_json(_as_dict(name, report))
    elif shape is Format.GITHUB:
        _annotate(name, report)
    else:
        _show(name, report)
    if report.problems:
        raise typer.Exit(ExitCode.FAILED)


def _as_dict(name: str, report: Report) -> dict[str, Any]:
    pipeline = report.pipeline
    return {
        "file": name,
        "ok": not report.problems,
        "version": None if pipeline is None else pipeline.version,
        "actions": None if pipeline is None else list(pipeline.actions),
        "problems": [_parts(problem) for problem in report.problems],
        "warnings": [_parts(warning) for warning in report.warnings],
    }


def _parts(problem: Problem) -> dict[str, Any]:
    return {
        "line": problem.line,
        "column": problem.column,
        "action": problem.action,
        "key": problem.key,
        "value": problem.value,
        "message": problem.message,
        "suggestion": problem.suggestion,
    }


def _annotate(name: str, report: Report) -> None:
    """Write the workflow commands that GitHub and Forgejo turn into annotations (their "workflow commands" pages)."""
    from jobrunner_cli import output
    from jobrunner_cli.commands.project_source import PROJECT_FILE

    # What was not read from the disk is still about the file of that name.
    file = _in_repository(Path(name)) if Path(name).exists() else PROJECT_FILE
    for kind, found in (("error", report.problems), ("warning", report.warnings)):
        for problem in found:
            places = {"file": file, "line": problem.line, "col": problem.column}
            properties = ",".join(f"{key}={_escaped(str(value), ':,')}" for key, value in places.items() if value)
            output.line(f"::{kind} {properties}::{_escaped(problem.text)}")


def _in_repository(file: Path) -> str:
    """The file's path from the top of the repository that it is in; the path as it was given if it is in none."""
    path = file.absolute().parent.resolve() / file.name
    top = next((directory for directory in path.parents if (directory / ".git").exists()), None)
    return str(file) if top is None else path.relative_to(top).as_posix()


def _escaped(text: str, more: str = "") -> str:
    return re.sub(f"[%\r\n{more}]", lambda found: f"%{ord(found[0]):02X}", text)


def _show(name: str, report: Report) -> None:
    """Write the findings for people: a line for each, and on a terminal the line of the file below it."""
    from jobrunner_cli import output

    for word, style, found in (("error", "bold red", report.problems), ("warning", "bold yellow", report.warnings)):
        for problem in found[:_MOST_LISTED]:
            place = ":".join(str(part) for part in (name, problem.line, problem.column) if part is not None)
            output.pieces([(f"{output.one_line(place)}: ", "bold"), (f"{word}: ", style), (problem.text, "")])
            if sys.stdout.isatty():
                _show_line(problem, report.lines)
        if len(found) > _MOST_LISTED:
            output.line(f"and {len(found) - _MOST_LISTED:,} more {word}s")
    output.line(_summary(report))


def _show_line(problem: Problem, lines: tuple[str, ...]) -> None:
    from jobrunner_cli import output

    if problem.line is None or problem.line > len(lines):
        return
    number = f"{problem.line:>5} | "
    room = max(_LEAST_SHOWN, output.width(80) - len(number))
    line, offset = _excerpt(lines[problem.line - 1], (problem.column or 1) - 1, room)
    output.pieces([(number, "dim"), (line, "")])
    if problem.column is not None:
        output.pieces([(f"{'':5} | ", "dim"), (" " * output.display_width(line[:offset]) + "^", "bold")])


def _excerpt(line: str, offset: int, room: int) -> tuple[str, int]:
    """As much of a line as fits in so many columns with the character at the offset, and the offset in that."""
    from jobrunner_cli import output

    # Nothing is measured but what may be shown: a file may be a single line.
    before, after = line[max(0, offset - room) : offset], line[offset : offset + room].rstrip()
    before, after = output.one_line(before), output.one_line(after)
    is_cut = len(before) < offset or offset + len(after) < len(line.rstrip())
    if is_cut or output.display_width(before + after) > room:
        while output.display_width(before) > max(room * 2 // 3, room - output.display_width(after)):
            before = before[1:]
        after = output.beginning(after, room - output.display_width(before))
    return before + after, len(before)


def _summary(report: Report) -> str:
    found = [
        f"{len(some):,} {word}{'' if len(some) == 1 else 's'}"
        for word, some in (("problem", report.problems), ("warning", report.warnings))
        if some
    ]
    if report.pipeline is None:
        return ", ".join(found)
    count = len(report.pipeline.actions)
    return ", ".join([f"accepted: {count:,} action{'' if count == 1 else 's'}", *found])
