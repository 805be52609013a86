"""`jobrunner doctor`: whether everything is there that jobs need, and what helps where it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobrunner_cli.engine.diagnosis.findings import Finding

_ARROW = "-> "
#: On a terminal, beside the colours.
_MARKS = {"ok": "✔", "warning": "▲", "problem": "✘"}
_PLAIN_MARKS = {"ok": "+", "warning": "!", "problem": "x"}


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False) -> None:
    """Look whether everything is there that jobs need, and say what helps where it is not.

    Looks at Python, git, the clock, settings that contradict each other, directories and who may
    see them, disk space, the database, the engine and its images, the database's network, and the
    job-server. Changes nothing. The exit code is 1 if there is a problem; warnings leave it 0.

    \b
    Examples:
      jobrunner doctor
      jobrunner doctor --json | jq '.[] | select(.verdict != "ok")'
    """
    from jobrunner_cli import output
    from jobrunner_cli.engine.diagnosis.examination import examine
    from jobrunner_cli.engine.diagnosis.findings import Verdict
    from jobrunner_cli.engine.errors import ExitCode

    found = examine()
    if as_json:
        output.as_json(
            [{"check": one.check, "verdict": one.verdict.value, "text": one.text, "help": one.help} for one in found]
        )
    else:
        _show(found)
    wrong = any(one.verdict is Verdict.PROBLEM for one in found)
    raise typer.Exit(ExitCode.FAILED if wrong else ExitCode.FINE)


def _show(found: Sequence[Finding]) -> None:
    """A line for each finding, one for what helps, and a line that sums up."""
    import sys

    from jobrunner_cli import output
    from jobrunner_cli.engine.diagnosis.findings import Verdict

    styles = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.PROBLEM: "bold red"}
    verdicts = max(len(verdict.value) for verdict in Verdict)
    checks = max(len(one.check) for one in found)
    terminal = sys.stdout.isatty()
    begin = verdicts + checks + (6 if terminal else 4)
    marks = _MARKS if output.has_glyphs() else _PLAIN_MARKS
    for one in found:
        helps = output.fold(output.one_line(one.help), output.room(begin + len(_ARROW))) if one.help else []
        lines = output.fold(output.one_line(one.text), output.room(begin))
        lines += [f"{'' if n else _ARROW:<{len(_ARROW)}}{line}" for n, line in enumerate(helps)]
        mark = f"{marks[one.verdict.value]} " if terminal else ""
        verdict, check = f"{mark}{one.verdict.value:<{verdicts}}  ", f"{one.check:<{checks}}  "
        output.pieces([(verdict, styles[one.verdict]), (check, ""), (lines[0], "")])
        for line in lines[1:]:
            output.line(f"{'':<{begin}}{line}")
    counts = {verdict: sum(one.verdict is verdict for one in found) for verdict in Verdict}
    told = [f"{count} {verdict.value}{'s' if count > 1 else ''}" for verdict, count in counts.items() if count]
    output.line(", ".join(text.replace("oks", "ok") for text in told))
