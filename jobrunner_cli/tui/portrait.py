"""What the pane says of one job: texts in the colours of the legend, made from what a thread gathered. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.style import Style
from rich.text import Text

from jobrunner_cli import output, theme
from jobrunner_cli.engine.states import ACTIVE_CODES, State, StatusCode, state_of
from jobrunner_cli.graphs.alphabets import Mark
from jobrunner_cli.tui.cells import chip
from jobrunner_cli.tui.facts import Facts
from jobrunner_cli.tui.listing import Grouping, Head

if TYPE_CHECKING:
    from jobrunner_cli.engine.output_files import OutputFile

_NAMES = 10
#: Columns for the size of an output, its level and its rows and columns.
_ABOUT_OUTPUT = 46
_BAR = 12
#: Beside the job itself in its graph.
_HERE = "◂"
#: Columns that a text has at least, however narrow the pane is, and at most where nothing says how wide that is.
_LEAST_COLUMNS, _MOST_COLUMNS = 20, 200


def details(facts: Facts, now: float, width: int) -> Text:
    """State, why, what runs, times, the timeline, and what it used, in so many columns."""
    job = facts.job
    text = Text()
    text.append(f" {theme.glyph(job.status_code)} {theme.word(job.status_code)} ", chip(job.status_code))
    text.append(f" {output.one_line(f'{job.workspace}/{job.action}')}\n", "bold")

    def pair(name: str, value: str) -> None:
        _pair(text, name, value, width)

    pair("message", job.status_message or "")
    if facts.outcome is not None and facts.outcome.hint:
        pair("hint", facts.outcome.hint)
    pair("why", "\n".join(facts.reasons))
    pair("printed", "\n".join(facts.last_words))
    if facts.expected_start is not None:
        pair("starts", "soon" if facts.expected_start < 1 else f"in about {output.duration(facts.expected_start)}")
    pair("waits for", "\n".join(_awaited(facts)))
    if facts.kept is not None:
        pair("kept", f"{facts.kept}\nKill with removal takes it away")
    pair("time", _times(facts, now))
    for name, values in _usage(facts):
        pair(name, values)
    _timeline(text, facts, now, width)
    text.append("\n")
    pair("id", job.id)
    pair("request", job.job_request_id)
    pair("code", f"{job.action_repo_url or job.repo_url}\nat {job.action_commit or job.commit}")
    pair("command", output.command(job.run_command or ""))
    pair("needs", ", ".join(job.requires_outputs_from))
    pair("database", (job.database_name or "") if job.requires_db else "")
    pair("image", job.image_id or "")
    if facts.outcome is not None:
        pair("exit code", str(facts.outcome.exit_code))
    pair("restarts", str(job.restarts or ""))
    pair("log", str(facts.log or ""))
    return text


def _awaited(facts: Facts) -> list[str]:
    """The jobs that it still waits for."""
    if state_of(facts.job.status_code) is not State.PENDING:
        return []
    return [
        f"{theme.glyph(code)} {name}: {theme.word(code)}"
        for _, name, code in facts.awaited
        if state_of(code) is not State.SUCCEEDED
    ]


def group(head: Head, grouping: Grouping, marked: int) -> Text:
    """What is below a group's head, by state, and what the keys act on there."""
    text = Text()
    text.append(f" {grouping} {output.one_line(head.name)}\n", "bold")
    _pair(text, "workspace", head.workspace, _MOST_COLUMNS)
    for state in State:
        if head.counts.get(state):
            blocked = f" ({head.blocked:,} blocked)" if state is State.PENDING and head.blocked else ""
            _pair(text, state.value, f"{head.counts[state]:,}{blocked}", _MOST_COLUMNS)
    text.append("\n")
    if marked:
        text.append(f"keys act on the {marked:,} marked {'job' if marked == 1 else 'jobs'}")
    elif head.folded:
        text.append("it is folded: keys act on its jobs once it is unfolded")
    else:
        text.append(f"keys act on all {sum(head.counts.values()):,} of it")
    return text


def _pair(text: Text, name: str, value: str, width: int) -> None:
    """A name, and beside it what there is to say, in the column of its own also where that takes several lines."""
    lines = [part for line in value.splitlines() for part in _wrapped(output.one_line(line), width - _NAMES)]
    for n, line in enumerate(lines):
        text.append(f"{name if n == 0 else '':<{_NAMES}}", "dim")
        text.append(f"{line}\n")


def _wrapped(line: str, width: int) -> list[str]:
    return output.fold(line, max(_LEAST_COLUMNS, width), whole_words=False)


def _times(facts: Facts, now: float) -> str:
    job = facts.job
    parts = [f"asked for {_moment(job.created_at, now)}"]
    if job.started_at is not None:
        parts.append(f"started {_moment(job.started_at, now)}")
    if job.completed_at is not None:
        parts.append(f"ended {_moment(job.completed_at, now)}")
    if job.started_at is not None:
        word = "ran" if job.completed_at is not None else "has run"
        usually = "" if facts.usual is None or job.completed_at is not None else f", usually {_span(facts.usual)}"
        parts.append(f"{word} for {output.duration((job.completed_at or now) - job.started_at)}{usually}")
    return "\n".join(parts)


def _moment(at: float, now: float) -> str:
    shape = "%H:%M:%S" if now - at < 12 * 3600 else "%Y-%m-%d %H:%M:%S"
    try:
        return f"{time.strftime(shape, time.localtime(at))} ({output.ago(at, now)} ago)"
    except (OverflowError, OSError, ValueError):
        # A row of another program may have a number that is no time.
        return f"at {at}"


def _usage(facts: Facts) -> Iterator[tuple[str, str]]:
    for name, prefix, unit in (("cpu", "cpu_", " %"), ("memory", "mem_mb_", " MiB")):
        found = [
            f"{word} {value:,.0f}{unit}"
            for word, key in (("now", "sample"), ("mean", "mean"), ("peak", "peak"))
            if isinstance(value := facts.usage.get(prefix + key), int | float)
            and (key != "sample" or facts.job.status_code in ACTIVE_CODES)
        ]
        yield name, ", ".join(found)


def _timeline(text: Text, facts: Facts, now: float, width: int) -> None:
    """Each step with the time that it took, as a bar against the longest, and its cause, below it if need be."""
    history = facts.history
    if not history:
        return
    ends = [entry.at / 1e9 for entry in history[1:]]
    last = history[-1]
    open_end = last.to_code in ACTIVE_CODES
    spans = [
        end - entry.at / 1e9 for entry, end in zip(history, [*ends, now if open_end else last.at / 1e9], strict=True)
    ]
    longest = max(spans) or 1.0
    text.append("\n")
    for n, (entry, span) in enumerate(zip(history, spans, strict=True)):
        over = n == len(history) - 1 and not open_end
        line = Text(time.strftime("%H:%M:%S ", time.localtime(entry.at / 1e9)), "dim")
        line.append(f" {theme.glyph(entry.to_code)} {theme.word(entry.to_code)} ", chip(entry.to_code))
        if not over:
            bar = "━" * max(1, round(_BAR * span / longest)) if span >= 1 else ""
            line.append(f" {bar} {_span(span)}", "dim")
        text.append_text(line)
        cause = output.one_line(entry.cause) if entry.cause and entry.cause != "made" else ""
        if cause and line.cell_len + 2 + output.display_width(cause) <= width:
            text.append(f"  {cause}", "dim italic")
        elif cause:
            for part in _wrapped(cause, width - _NAMES):
                text.append(f"\n{'':{_NAMES}}{part}", "dim italic")
        text.append("\n")


def _span(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else output.duration(seconds)


def outputs(facts: Facts, width: int) -> list[tuple[Text, str | None]]:
    """The files of a job with their levels and sizes, what was held back and why, and what matched nothing.

    Line by line, each with the path of the output that it is about; in less than enough columns a path has its own.
    """
    job, outcome = facts.job, facts.outcome
    lines: list[tuple[Text, str | None]] = []

    def say(text: str, style: str | Style = "", path: str | None = None) -> None:
        lines.append((Text.assemble((text, style)), path))

    if not job.outputs:
        says = "It has not stored anything yet." if job.status_code in ACTIVE_CODES else "It stored no outputs."
        say(says, "italic dim")
    if facts.newer is not None:
        say(f"A newer job of this action, {facts.newer}, may have replaced these files.", "italic")
    shapes = {stored.path: (stored.row_count, stored.col_count) for stored in outcome.outputs} if outcome else {}
    longest = min(max((len(file.path) for file in facts.files), default=0), 60)
    for file in facts.files:
        path = output.one_line(file.path)
        about = _about_output(file, *shapes.get(file.path, (None, None)))
        if longest + 2 + _ABOUT_OUTPUT <= width:
            lines.append((Text.assemble(f"{path:<{longest}}  ", (about, "dim")), file.path))
        else:
            say(path, path=file.path)
            say(about, "dim", file.path)
        if file.held_back:
            say(f"◌ held back: {output.one_line(file.held_back)}", _blocked(), file.path)
    if job.outputs:
        say("")
        say(f"in {facts.outputs_in}", "dim")
    if outcome is not None:
        for pattern in outcome.unmatched_patterns:
            say(f"✘ no match for {output.one_line(pattern)}", "bold")
        for path, why in outcome.refused.items():
            say(f"✘ {output.one_line(path)}: {output.one_line(why)}", "bold")
    if job.unmatched_outputs:
        say("")
        say("made, but not declared:", "dim")
        for path in job.unmatched_outputs:
            say(f"  {output.one_line(path)}")
    return lines


def _about_output(file: OutputFile, rows: int | None, columns: int | None) -> str:
    size = "" if file.size is None else output.size(file.size)
    shape = "" if rows is None else f"  {rows:,} × {columns}"
    return f"{size:>10}  {file.level.replace('_', ' ')}{shape}"


def _blocked() -> Style:
    found = theme.colours(StatusCode.WAITING_PAUSED)
    return Style(color=found.text, bgcolor=found.background)


def graph(facts: Facts, width: int) -> Text:
    """What the job needs and what needs it, drawn with the states of each; as a list where there is no room."""
    from jobrunner_cli.graphs.listing import listing
    from jobrunner_cli.graphs.terminal import drawing

    around = facts.around
    marks = {name: Mark(glyph="·", word="no job yet") for name in around.needs}
    for name, code in around.codes.items():
        here = f" {_HERE}" if name == facts.job.action else ""
        marks[name] = Mark(glyph=theme.glyph(code), word=f"{theme.word(code)}{here}", style=str(chip(code)))
    try:
        lines = drawing(around.needs, marks, width=width) or listing(around.needs, marks, width=width)
    except ValueError as problem:
        return Text(f"This cannot be drawn: {problem}", "italic")
    text = Text(no_wrap=True)
    for line in lines:
        for piece, style in line:
            text.append(piece, style)
        text.append("\n")
    if around.left_out:
        text.append(f"and {around.left_out} more actions\n", "dim italic")
    return text


def line_of_here(graph: Text) -> int:
    """The line of a graph in which the job itself is; the first one if it is not there."""
    return next((number for number, line in enumerate(graph.plain.split("\n")) if _HERE in line), 0)
