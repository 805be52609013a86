"""Everything about one job: gathered, as JSON, and for people."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from jobrunner_cli import output, theme
from jobrunner_cli.commands.job_view import as_dict
from jobrunner_cli.engine.states import ACTIVE_CODES, StatusCode
from jobrunner_cli.engine.store import intents, queries

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.database import Database
    from jobrunner_cli.engine.store.models import Job


#: Seconds below which tenths of them count.
_SHORT = 10
_INDENT = 2


def details(settings: Settings, database: Database, job: Job) -> dict[str, Any]:
    """Everything about one job, as `jobs show --json` gives it."""
    from jobrunner_cli.engine.neighbours import needed_by, waiting_for
    from jobrunner_cli.engine.running.log_reading import stored_log
    from jobrunner_cli.engine.running.reasons import reasons
    from jobrunner_cli.engine.service.usage import recorded_usage

    conn = database.connection
    outcome = queries.result_of(conn, job.id)
    log = stored_log(settings, job)
    sizes = {stored.path: stored.size for stored in outcome.outputs} if outcome else {}
    return {
        **as_dict(job),
        "code_repo_url": job.action_repo_url or job.repo_url,
        "code_commit": job.action_commit or job.commit,
        "image_id": job.image_id,
        "restarts": job.restarts,
        "retry_of": _repeated(database, job),
        "why": reasons(settings, database, job),
        "hint": outcome.hint if outcome else None,
        "exit_code": outcome.exit_code if outcome else None,
        "dependencies": [_neighbour(each) for each in needed_by(conn, job)],
        "dependants": [_neighbour(each) for each in waiting_for(conn, job)],
        "outputs": [
            {
                "path": path,
                "level": level,
                "size": sizes.get(path),
                "held_back": job.level4_excluded_files.get(path),
            }
            for path, level in sorted(job.outputs.items())
        ],
        "unmatched_patterns": list(outcome.unmatched_patterns) if outcome else [],
        "unmatched_outputs": list(job.unmatched_outputs),
        "resources": recorded_usage(settings.metrics_path, [job.id]).get(job.id),
        "log": str(log) if log else None,
        "kept": _kept(settings, job),
        "outputs_directory": str(settings.high_workspace(job.workspace)) if job.outputs else None,
        "history": _history(database, job),
        "asked": [
            {
                "what": wish.kind,
                "by": wish.origin,
                "at": output.utc(wish.created_at),
                "answered_at": output.utc(wish.answered_at),
                "answer": wish.answer,
            }
            for wish in intents.intents_of(conn, job.id)
        ],
    }


def _repeated(database: Database, job: Job) -> list[str]:
    """The ids of the failed jobs of this action that its request repeats."""
    request = queries.saved_request(database.connection, job.job_request_id)
    ids = request.original.get("retry_of") if request is not None else None
    if not isinstance(ids, list):
        return []
    return [each.id for each in queries.jobs_by_ids(database.connection, ids).values() if each.action == job.action]


def _neighbour(job: Job) -> dict[str, Any]:
    return {"id": job.id, "action": job.action, "status_code": job.status_code.value}


def _history(database: Database, job: Job) -> list[dict[str, Any]]:
    """The steps of a job, each with how many seconds it was there; None for the last one of a job that has ended."""
    entries = queries.history_of(database.connection, job.id)
    ends: list[float | None] = [entry.at / 1e9 for entry in entries[1:]]
    ends.append(time.time() if job.status_code in ACTIVE_CODES else None)
    return [
        {
            "at": output.utc(entry.at / 1e9),
            "status_code": entry.to_code.value,
            "seconds": None if end is None else round(max(end - entry.at / 1e9, 0.0), 3),
            "cause": entry.cause,
        }
        for entry, end in zip(entries, ends, strict=False)
    ]


def _kept(settings: Settings, job: Job) -> str | None:
    """The directory that an ended job left to the operator."""
    from jobrunner_cli.engine.jobfiles.layout import JobDirectory
    from jobrunner_cli.engine.states import KEPT_CODES

    root = JobDirectory.of(settings.high_privacy_volume_dir, job.id).root
    return str(root) if job.status_code in KEPT_CODES and root.exists() else None


def show(view: Mapping[str, Any], *, utc: bool) -> None:
    """One job for people; times as they read them, or exact ones in UTC."""
    code = StatusCode(view["status_code"])
    title = output.one_line(f"{output.glyph(code)} {view['workspace']}/{view['action']}: {theme.word(code)}")
    output.line(output.styled(title, theme.style(code)))
    output.pairs(
        {
            "message": view["status_message"] or "",
            "hint": view["hint"] or "",
            "why": "\n".join(view["why"]),
            "id": view["id"],
            "request": view["job_request_id"],
            "retry of": ", ".join(map(str, view["retry_of"])),
            "code": f"{view['code_repo_url']} at {view['code_commit'] or ''}",
            "command": output.command(view["run_command"] or ""),
            "needs": ", ".join(view["needs"]),
            "database": (view["database_name"] or "yes") if view["requires_db"] else "",
            "image": view["image_id"] or "",
            "created": _when(view["created_at"], utc=utc),
            "started": _when(view["started_at"], utc=utc),
            "ended": _when(view["completed_at"], utc=utc),
            "exit code": "" if view["exit_code"] is None else str(view["exit_code"]),
            "restarts": str(view["restarts"] or ""),
            "resources": _resources(view["resources"]),
            "log": view["log"] or "",
            "kept": _kept_words(view),
            "no match for": "\n".join(view["unmatched_patterns"]),
            "not declared": "\n".join(view["unmatched_outputs"]),
            "outputs in": view["outputs_directory"] or "",
        },
        folded=("message", "hint", "why"),
    )
    _show_indented(view["outputs"], _output_columns())
    _section("what it needs", view["dependencies"], _neighbour_columns())
    _section("what needs it", view["dependants"], _neighbour_columns())
    _section("asked for", view["asked"], _wish_columns(utc=utc))
    _section("history", view["history"], _history_columns(utc=utc))


def _kept_words(view: Mapping[str, Any]) -> str:
    if not view["kept"]:
        return ""
    lines = [view["kept"], f"to remove it: jobrunner jobs kill {view['id']} --cleanup"]
    if view["status_code"] == StatusCode.INTERNAL_ERROR.value:
        lines.append(f"to store its outputs again: jobrunner jobs retry {view['id']}")
    return "\n".join(lines)


def _resources(samples: Mapping[str, Any] | None) -> str:
    """CPU in percent of one core and memory, as they were sampled (section 9)."""
    if not samples:
        return ""

    def number(name: str) -> float | None:
        value = samples.get(name)
        return float(value) if isinstance(value, int | float) else None

    lines = []
    for title, name, unit in (("CPU", "cpu", " %"), ("memory", "mem_mb", " MiB")):
        mean, peak = number(f"{name}_mean"), number(f"{name}_peak")
        if mean is not None and peak is not None:
            lines.append(f"{title}: {mean:.0f}{unit} on average, {peak:.0f}{unit} at most")
    return "\n".join(lines)


def _when(exact: str | None, *, utc: bool) -> str:
    """A time in ISO 8601, or the same as people of this place read it, with how long ago it was."""
    if exact is None or utc:
        return exact or ""
    import calendar

    seconds = calendar.timegm(time.strptime(exact, "%Y-%m-%dT%H:%M:%SZ"))
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(seconds))} ({output.ago(seconds)} ago)"


def _section(title: str, rows: Sequence[Mapping[str, Any]], columns: list[output.Column]) -> None:
    if rows:
        output.line(title)
        _show_indented(rows, columns)


def _code_style(item: Mapping[str, Any]) -> str:
    return theme.style(StatusCode(item["status_code"]))


def _code_word(item: Mapping[str, Any]) -> str:
    return theme.word(StatusCode(item["status_code"]))


def _code_words(item: Mapping[str, Any]) -> str:
    return f"{output.glyph(StatusCode(item['status_code']))} {_code_word(item)}"


def _output_columns() -> list[output.Column]:
    return [
        output.Column(title="", value=lambda item: item["path"]),
        output.Column(
            title="", value=lambda item: "" if item["size"] is None else output.size(item["size"]), right=True
        ),
        output.Column(title="", value=lambda item: item["level"]),
        output.Column(title="", value=lambda item: f"held back: {item['held_back']}" if item["held_back"] else ""),
    ]


def _neighbour_columns() -> list[output.Column]:
    return [
        output.Column(title="", value=itemgetter("action")),
        output.Column(title="", value=itemgetter("id")),
        output.Column(title="", value=_code_words, style=_code_style),
    ]


def _wish_columns(*, utc: bool) -> list[output.Column]:
    return [
        output.Column(title="", value=lambda item: _when(item["at"], utc=utc)),
        output.Column(title="", value=itemgetter("what")),
        output.Column(title="", value=lambda item: f"by {item['by']}"),
        output.Column(title="", value=lambda item: item["answer"] or "not answered yet", yields=1),
    ]


def _history_columns(*, utc: bool) -> list[output.Column]:
    def lasted(item: Mapping[str, Any]) -> str:
        seconds = item["seconds"]
        if seconds is None:
            return ""
        return f"{seconds:.1f}s" if seconds < _SHORT else output.duration(seconds)

    def at(item: Mapping[str, Any]) -> str:
        return str(item["at"]) if utc else _when(item["at"], utc=False).partition(" (")[0]

    return [
        output.Column(title="", value=at),
        output.Column(title="", value=_code_word, style=_code_style),
        output.Column(title="", value=lasted, right=True),
        output.Column(title="", value=itemgetter("cause"), yields=1),
    ]


def _show_indented(rows: Sequence[Mapping[str, Any]], columns: list[output.Column]) -> None:
    """Rows without titles, below a line that says what they are."""
    for pieces in output.lines(rows, columns, output.room(_INDENT))[1:]:
        output.line(f"{'':<{_INDENT}}" + "".join(output.styled(text, style) for text, style in pieces))
