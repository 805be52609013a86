"""The head of the screen: slots, engine and job-server in a line, and below it what nobody may overlook."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from fractions import Fraction
from typing import TYPE_CHECKING

from rich.style import Style
from rich.text import Text
from textual.widgets import Static

from jobrunner_cli import output, theme
from jobrunner_cli.engine.errors import JobrunnerError
from jobrunner_cli.engine.standing import Exchange, Standing
from jobrunner_cli.engine.states import Legend

if TYPE_CHECKING:
    from jobrunner_cli.engine.store.models import Flag

#: Slots that are drawn one by one.
_MOST_DRAWN = 12
#: Seconds without a word from the job-server after which that is said loudly.
_SILENCE = 300
_GAP = "   "


def _in(mood: Legend) -> Style:
    found = theme.COLOURS[mood]
    return Style(color=found.text, bgcolor=found.background, bold=True)


class StatusLine(Static):
    """Backend, worker slots, database slots, runner, engine, job-server."""

    def __init__(self) -> None:
        super().__init__("jobrunner", id="status")
        self._standing: Standing | None = None
        self._engine: tuple[str, bool] | None = None
        self._read_only = False

    def show(self, standing: Standing | None, engine: tuple[str, bool] | None, *, read_only: bool) -> None:
        """Show this; `engine` is what it said, and whether that is well."""
        self._standing, self._engine, self._read_only = standing, engine, read_only
        self.update(self._text(self.size.width))

    def on_resize(self) -> None:
        """What fits is another thing now."""
        self.update(self._text(self.size.width))

    def _text(self, width: int) -> Text:
        parts = [Text("jobrunner", "bold")]
        standing = self._standing
        if self._read_only:
            parts.append(Text("read only", "reverse"))
        if standing is not None:
            parts[0] += Text(f" {standing.backend}", "dim")
            parts.append(_slots("workers", standing.used, standing.workers))
            parts.append(_slots("database", standing.used_db, standing.db_workers, drawn=width >= 120))
            if standing.runner_pid is not None:
                parts.append(Text("● runner", "bold") + Text(f" {standing.runner_pid or ''}", "dim"))
        if self._engine is not None:
            text, well = self._engine
            short = text if width >= 150 else "engine"
            parts.append(Text(f"✔ {short}", "dim") if well else Text(" ✘ engine ", _in(Legend.ERROR)))
        if standing is not None and standing.job_server is not None:
            parts.append(_server(standing.job_server))
        line = Text(no_wrap=True, overflow="ellipsis")
        for part in parts:
            if line and line.cell_len + len(_GAP) + part.cell_len > width - 2:
                break
            line += (Text(_GAP) if line else Text("")) + part
        return line


def _slots(name: str, used: Fraction, there: int, *, drawn: bool = True) -> Text:
    text = Text(f"{name} ")
    if drawn and there <= _MOST_DRAWN:
        full = min(there, int(used) + (used > int(used)))
        text.append("■" * full, "bold")
        text.append("□" * (there - full) + " ", "dim")
    shown = str(int(used)) if used.denominator == 1 else f"{float(used):g}"
    return text.append(f"{shown}/{there}", "bold" if used >= there else "")


def _server(exchange: Exchange) -> Text:
    if exchange.problem is not None:
        return Text(" ✘ job-server ", _in(Legend.ERROR))
    return Text(f"✔ job-server {output.ago(_seconds(exchange.well_at))}", "dim")


def _seconds(moment: str | None) -> float | None:
    return None if moment is None else datetime.strptime(moment, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()


class Warnings(Static):
    """What holds up everything: a line each, in the legend's colours, and nothing when all is well."""

    def show(
        self,
        standing: Standing | None,
        problem: JobrunnerError | None,
        engine: tuple[str, bool] | None,
        resume_keys: tuple[str, str],
    ) -> None:
        """Show what there is to say; the keys are those that resume the backend and a workspace, empty where none does."""
        lines = _warnings(standing, problem, engine, resume_keys)
        self.display = bool(lines)
        # A bar from edge to edge; what is longer is wrapped.
        width = self.app.size.width
        text = Text("\n").join(Text(f" {line}".ljust(width), _in(mood)) for mood, line in lines)
        self.update(text)


def _warnings(
    standing: Standing | None,
    problem: JobrunnerError | None,
    engine: tuple[str, bool] | None,
    resume_keys: tuple[str, str],
) -> list[tuple[Legend, str]]:
    lines: list[tuple[Legend, str]] = []
    if problem is not None:
        hint = f" – {problem.hint}" if problem.hint else ""
        tail = "It is tried again every second."
        if standing is not None:
            tail = f"What is shown is as it was; {tail[0].lower()}{tail[1:]}"
        end = "" if hint.endswith("?") else "."
        lines.append((Legend.ERROR, f"✘ {problem.message}{hint}{end} {tail}"))
    if standing is None:
        return lines
    if standing.paused is not None:
        how = f"; {resume_keys[0]} resumes" if resume_keys[0] else ""
        lines.append((Legend.BLOCKED, f"◌ PAUSED since {_since(standing.paused)}: no waiting job starts{how}"))
    if standing.maintenance is not None:
        since = _since(standing.maintenance)
        lines.append((Legend.BLOCKED, f"◌ DATABASE MAINTENANCE since {since}: jobs that use the database wait"))
    if standing.paused_workspaces:
        names = output.one_line(", ".join(sorted(standing.paused_workspaces)))
        one = "it" if len(standing.paused_workspaces) == 1 else "one of them"
        how = f"; {resume_keys[1]} on {one} resumes" if resume_keys[1] else ""
        lines.append((Legend.BLOCKED, f"◌ PAUSED WORKSPACES: {names}: nothing starts there{how}"))
    if standing.runner_pid is None and problem is None:
        lines.append((Legend.BLOCKED, "◌ NO SERVICE RUNS HERE: nothing moves until jobrunner run is started"))
    if engine is not None and not engine[1]:
        lines.append((Legend.ERROR, f"✘ {engine[0]}"))
    server = standing.job_server
    if server is not None and server.problem is not None:
        lines.append((Legend.ERROR, f"✘ job-server: {server.problem}"))
    elif server is not None and server.pid is None and _is_silent(server):
        lines.append((Legend.BLOCKED, "◌ no sync with the job-server is at work"))
    return lines


def _is_silent(server: Exchange) -> bool:
    return time.time() - (_seconds(server.well_at) or 0.0) > _SILENCE


def _since(flag: Flag) -> str:
    shape = "%H:%M" if time.time() - flag.timestamp < 12 * 3600 else "%Y-%m-%d %H:%M"
    return time.strftime(shape, time.localtime(flag.timestamp))
