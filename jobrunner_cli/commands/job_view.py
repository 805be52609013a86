"""How jobs are shown: as rows of a table, as JSON, and one in full."""

from __future__ import annotations

import time
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from jobrunner_cli import output, theme
from jobrunner_cli.engine.states import State, state_of
from jobrunner_cli.engine.store import queries

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.database import Database
    from jobrunner_cli.engine.store.models import Job

_SHORT_ID = 8


def columns() -> list[output.Column]:
    """The columns of `jobs ls`."""
    now = time.time()
    return [
        output.Column(title="", value=lambda job: theme.glyph(job.status_code), style=_style, ornament=True),
        output.Column(title="ID", value=lambda job: job.id, yields=4, least=_SHORT_ID, prefix=True),
        output.Column(title="WORKSPACE", value=lambda job: job.workspace, yields=6, least=9),
        output.Column(title="ACTION", value=lambda job: job.action, yields=5, least=12),
        output.Column(title="STATE", value=lambda job: theme.word(job.status_code), style=_style),
        output.Column(title="AGE", value=lambda job: output.ago(job.created_at, now), right=True, yields=2),
        output.Column(title="TIME", value=lambda job: _run_time(job, now), right=True, optional=True, yields=3),
        output.Column(title="MESSAGE", value=_message, optional=True, yields=1),
    ]


def _style(job: Job) -> str:
    return theme.style(job.status_code)


def _message(job: Job) -> str:
    """The first line of what is said of a job, unless its state says the same."""
    first = (job.status_message or "").partition("\n")[0]
    if first.lower() == job.status_code.value.replace("_", " "):
        return ""
    return first if state_of(job.status_code) is not State.SUCCEEDED or job.level4_excluded_files else ""


def _run_time(job: Job, now: float) -> str:
    return output.duration((job.completed_at or now) - job.started_at) if job.started_at is not None else ""


def as_dict(job: Job) -> dict[str, Any]:
    """A job with stable keys, as `--json` gives it."""
    return {
        "id": job.id,
        "job_request_id": job.job_request_id,
        "workspace": job.workspace,
        "action": job.action,
        "state": state_of(job.status_code).value,
        "status_code": job.status_code.value,
        "status_message": job.status_message,
        "repo_url": job.repo_url,
        "commit": job.commit,
        "run_command": job.run_command,
        "requires_db": job.requires_db,
        "database_name": job.database_name,
        "needs": list(job.requires_outputs_from),
        "wait_for": list(job.wait_for_job_ids),
        "created_at": output.utc(job.created_at),
        "started_at": output.utc(job.started_at),
        "completed_at": output.utc(job.completed_at),
        "updated_at": output.utc(job.updated_at),
    }


def details(settings: Settings, database: Database, job: Job) -> dict[str, Any]:
    """Everything about one job, as `jobs show --json` gives it."""
    from jobrunner_cli.engine.running.log_reading import stored_log
    from jobrunner_cli.engine.running.reasons import reasons

    conn = database.connection
    outcome = queries.result_of(conn, job.id)
    log = stored_log(settings, job)
    codes = queries.codes_of(conn, job.wait_for_job_ids)
    sizes = {stored.path: stored.size for stored in outcome.outputs} if outcome else {}
    return {
        **as_dict(job),
        "code_repo_url": job.action_repo_url or job.repo_url,
        "code_commit": job.action_commit or job.commit,
        "image_id": job.image_id,
        "restarts": job.restarts,
        "why": reasons(settings, database, job),
        "hint": outcome.hint if outcome else None,
        "exit_code": outcome.exit_code if outcome else None,
        "dependencies": [{"id": job_id, "status_code": code.value} for job_id, code in codes.items()],
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
        "log": str(log) if log else None,
        "kept": _kept(settings, job),
        "outputs_directory": str(settings.high_workspace(job.workspace)) if job.outputs else None,
        "history": [
            {"at": output.utc(entry.at / 1e9), "status_code": entry.to_code.value, "cause": entry.cause}
            for entry in queries.history_of(conn, job.id)
        ],
    }


def _kept(settings: Settings, job: Job) -> str | None:
    """The directory that an ended job left to the operator."""
    from jobrunner_cli.engine.jobfiles.layout import JobDirectory
    from jobrunner_cli.engine.states import KEPT_CODES

    root = JobDirectory.of(settings.high_privacy_volume_dir, job.id).root
    return str(root) if job.status_code in KEPT_CODES and root.exists() else None


def show(view: dict[str, Any]) -> None:
    """One job for people."""
    from jobrunner_cli.engine.states import StatusCode

    code = StatusCode(view["status_code"])
    title = output.one_line(f"{theme.glyph(code)} {view['workspace']}/{view['action']}: {theme.word(code)}")
    output.line(output.styled(title, theme.style(code)))
    output.pairs(
        {
            "message": view["status_message"] or "",
            "hint": view["hint"] or "",
            "why": "\n".join(view["why"]),
            "id": view["id"],
            "request": view["job_request_id"],
            "code": f"{view['code_repo_url']} at {view['code_commit'] or ''}",
            "command": view["run_command"] or "",
            "needs": ", ".join(view["needs"]),
            "created": view["created_at"] or "",
            "started": view["started_at"] or "",
            "ended": view["completed_at"] or "",
            "exit code": "" if view["exit_code"] is None else str(view["exit_code"]),
            "restarts": str(view["restarts"] or ""),
            "log": view["log"] or "",
            "kept": f"{view['kept']}\nto remove it: jobrunner jobs kill {view['id']} --cleanup" if view["kept"] else "",
            "no match for": "\n".join(view["unmatched_patterns"]),
            "not declared": "\n".join(view["unmatched_outputs"]),
            "outputs in": view["outputs_directory"] or "",
        }
    )
    _show_indented(view["outputs"], _output_columns())
    if view["history"]:
        output.line("history")
        _show_indented(view["history"], _history_columns())


def _output_columns() -> list[output.Column]:
    return [
        output.Column(title="", value=lambda item: item["path"]),
        output.Column(
            title="", value=lambda item: "" if item["size"] is None else output.size(item["size"]), right=True
        ),
        output.Column(title="", value=lambda item: item["level"]),
        output.Column(title="", value=lambda item: f"held back: {item['held_back']}" if item["held_back"] else ""),
    ]


def _history_columns() -> list[output.Column]:
    return [output.Column(title="", value=itemgetter(key)) for key in ("at", "status_code", "cause")]


def _show_indented(rows: list[dict[str, Any]], columns: list[output.Column]) -> None:
    """Rows without titles, below a line that says what they are."""
    for pieces in output.lines(rows, columns, None)[1:]:
        output.line("  " + "".join(text for text, _ in pieces))
