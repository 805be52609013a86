"""`jobrunner status`: how an installation is, for people, for scripts and for monitoring."""

from __future__ import annotations

from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

if TYPE_CHECKING:
    from jobrunner_cli.engine.service.survey import Slots, Survey


class Format(StrEnum):
    """How it is written."""

    TEXT = "text"
    JSON = "json"
    PROMETHEUS = "prometheus"


def status(
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    shape: Annotated[
        Format | None,
        typer.Option("--format", metavar="text|json|prometheus", help="How it is written; text by default."),
    ] = None,
) -> None:
    """Say how things are: who is at work, workers, flags, job-server, engine, disks, what waits longest.

    The exit code is 1 if something needs an operator: nobody runs jobs here, a part of the service
    hangs or fails, the job-server or the engine does not answer, a disk has too little space. A
    pause or a maintenance that somebody has set is no such thing.

    \b
    Examples:
      jobrunner status
      jobrunner status --json
      jobrunner status --format prometheus
    """
    from jobrunner_cli import output
    from jobrunner_cli.commands.forms import require_one_form
    from jobrunner_cli.commands.loading import load_settings
    from jobrunner_cli.engine.errors import ExitCode, JobrunnerError
    from jobrunner_cli.engine.service.survey import survey

    require_one_form(f"--format {shape}" if shape not in {None, Format.JSON} else None, as_json=as_json)
    form = Format.JSON if as_json else shape
    try:
        found = survey(load_settings())
    except JobrunnerError as error:
        # An alarm may look at nothing but these: without them, all would seem to be as it was.
        if form is Format.JSON:
            output.as_json({"ok": False, "problems": [error.message]})
        for line in _exposition(_verdict(1)) if form is Format.PROMETHEUS else ():
            output.line(line)
        raise
    if form is Format.JSON:
        output.as_json(as_dict(found))
    elif form is Format.PROMETHEUS:
        for line in metrics(found):
            output.line(line)
    else:
        _show(found)
    raise typer.Exit(ExitCode.FAILED if found.problems else ExitCode.FINE)


def _show(found: Survey) -> None:
    from jobrunner_cli import output, theme

    jobs = f"{found.running} running, {found.waiting} waiting"
    oldest = found.oldest_waiting
    flags = [f"{flag.id}={flag.value} ({output.utc(flag.timestamp)})" for flag in found.flags]
    rows = {
        "version": found.version,
        "backend": found.backend,
        "work directory": found.workdir,
        "at work": _at_work(found),
        "jobs": jobs,
        "workers": _slots(found.workers),
        "database workers": _slots(found.database_workers),
        "waits longest": ""
        if oldest is None
        else f"{oldest.workspace}/{oldest.action} ({oldest.id}), for {output.ago(oldest.created_at)}: "
        f"{oldest.status_message or theme.word(oldest.status_code)}",
        "flags": "\n".join(flags) or "none",
        "job-server": found.sync_text.removeprefix("job-server ")
        + ("" if found.sync_pid else " (nobody speaks to it now)"),
        "engine": found.engine,
        "disks": "\n".join(
            f"{room.place}: {output.size(room.free)} of {output.size(room.total)} free" for room in found.rooms
        ),
        "parts": ""
        if found.vitals is None
        else "\n".join(f"{name}: {part.problem or part.says}" for name, part in found.vitals.parts.items()),
    }
    output.pairs(rows)
    output.line()
    if not found.problems:
        output.line("All is well.")
    for problem in found.problems:
        output.line(f"PROBLEM  {output.one_line(problem)}")


def _at_work(found: Survey) -> str:
    from jobrunner_cli import output

    if found.pid is None:
        return "nobody"
    if found.vitals is None:
        return f"process {found.pid}, which is no service"
    leaving = ", leaving" if found.vitals.leaving else ""
    up = output.ago(found.vitals.started_at)
    return f"service, process {found.pid}, version {found.vitals.version}, up {up}{leaving}"


def _slots(slots: Slots) -> str:
    return f"{float(slots.used):g} used, {float(slots.free):g} free of {slots.total}"


def as_dict(found: Survey) -> dict[str, Any]:
    """A survey with stable keys, as `--json` gives it."""
    from jobrunner_cli import output

    vitals, oldest = found.vitals, found.oldest_waiting
    return {
        "ok": not found.problems,
        "problems": list(found.problems),
        "version": found.version,
        "backend": found.backend,
        "workdir": found.workdir,
        "pid": found.pid,
        "service": None
        if vitals is None
        else {
            "version": vitals.version,
            "started_at": output.utc(vitals.started_at),
            "uptime_seconds": _since(vitals.started_at),
            "loop_looked_at": output.utc(vitals.looked_at),
            "leaving": vitals.leaving,
            "loop_problem": vitals.loop_problem,
            "parts": {
                name: {"at_work": part.at_work, "failures": part.failures, "problem": part.problem, "says": part.says}
                for name, part in vitals.parts.items()
            },
        },
        "jobs": {"running": found.running, "waiting": found.waiting},
        "workers": _slots_dict(found.workers),
        "database_workers": _slots_dict(found.database_workers),
        "oldest_waiting": None
        if oldest is None
        else {
            "id": oldest.id,
            "workspace": oldest.workspace,
            "action": oldest.action,
            "status_code": oldest.status_code.value,
            "status_message": oldest.status_message,
            "created_at": output.utc(oldest.created_at),
            "seconds": _since(oldest.created_at),
        },
        "flags": {flag.id: {"value": flag.value, "set_at": output.utc(flag.timestamp)} for flag in found.flags},
        "job_server": {
            "pid": found.sync_pid,
            "last_ok_at": output.utc(found.synced_at),
            "says": found.sync_text,
            "refused": {} if found.sync is None else dict(found.sync.refused or {}),
        },
        "engine": {"answers": found.engine_answers, "says": found.engine},
        "disks": [
            {
                "place": room.place,
                "path": str(room.path),
                "free": room.free,
                "total": room.total,
                "floor": room.floor,
                "short": room.is_short,
            }
            for room in found.rooms
        ],
    }


def _slots_dict(slots: Slots) -> dict[str, float]:
    return {"used": float(slots.used), "free": float(slots.free), "total": slots.total}


def _since(timestamp: float) -> float:
    from jobrunner_cli.engine.service.vitals import age

    return round(age(timestamp), 1)


_Sample: TypeAlias = "tuple[str, str, dict[str, str], float | Fraction | bool]"


def _verdict(problems: int) -> list[_Sample]:
    return [
        ("ok", "1 if nothing needs an operator", {}, not problems),
        ("problems", "How many things need an operator", {}, problems),
    ]


def metrics(found: Survey) -> list[str]:
    """A survey in the text format of Prometheus (version 0.0.4), all of it gauges."""
    vitals = found.vitals
    samples: list[_Sample] = [
        *_verdict(len(found.problems)),
        ("info", "The version", {"version": found.version, "backend": found.backend}, 1),
        ("up", "1 if somebody runs jobs here", {}, found.pid is not None),
        ("jobs", "Unfinished jobs", {"state": "running"}, found.running),
        ("jobs", "Unfinished jobs", {"state": "waiting"}, found.waiting),
    ]
    for kind, slots in (("job", found.workers), ("database", found.database_workers)):
        samples.append(("workers", "Worker units there are", {"kind": kind}, slots.total))
        samples.append(("workers_used", "Worker units in use", {"kind": kind}, slots.used))
    waited = 0.0 if found.oldest_waiting is None else _since(found.oldest_waiting.created_at)
    samples += [
        ("oldest_waiting_seconds", "Age of the job that waits longest", {}, waited),
        ("sync_up", "1 if somebody speaks to the job-server", {}, found.sync_pid is not None),
        ("engine_up", "1 if the engine answers", {}, found.engine_answers),
    ]
    if found.synced_at is not None:
        samples.append(
            ("sync_last_ok_timestamp_seconds", "When the job-server last answered well", {}, found.synced_at)
        )
    if vitals is not None:
        samples.append(("start_timestamp_seconds", "When the service was started", {}, vitals.started_at))
        samples.append(("loop_ok", "1 if the loop could do everything lately", {}, not vitals.loop_problem))
        if vitals.looked_at is not None:
            samples.append(("loop_timestamp_seconds", "When the loop last looked at its jobs", {}, vitals.looked_at))
        for name, part in vitals.parts.items():
            samples.append(("part_ok", "1 if a part of the service does not fail", {"part": name}, not part.problem))
    samples += [("flag", "A flag that is set", {"name": flag.id, "value": flag.value or ""}, 1) for flag in found.flags]
    for title, text in (("disk_free_bytes", "Free space"), ("disk_floor_bytes", "Below it nothing starts")):
        for room in found.rooms:
            value = room.free if title == "disk_free_bytes" else room.floor
            samples.append((title, text, {"place": room.place, "path": str(room.path)}, value))
    return _exposition(samples)


def _exposition(samples: list[_Sample]) -> list[str]:
    # All lines of one metric stand together.
    groups: dict[str, list[str]] = {}
    for name, text, labels, value in samples:
        lines = groups.setdefault(name, [f"# HELP jobrunner_{name} {text}", f"# TYPE jobrunner_{name} gauge"])
        shown = ",".join(f'{key}="{_escaped(label)}"' for key, label in labels.items())
        number = float(value)
        text_of = str(int(number)) if number == int(number) else str(number)
        lines.append(f"jobrunner_{name}{f'{{{shown}}}' if shown else ''} {text_of}")
    return [line for lines in groups.values() for line in lines]


def _escaped(label: str) -> str:
    # Names of files need not be text in any encoding.
    text = label.encode(errors="replace").decode()
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
