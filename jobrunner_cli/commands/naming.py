"""How a user names a job: any unambiguous part of its id, or `workspace/action` for the latest of those."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobrunner_cli import theme
from jobrunner_cli.engine.errors import AmbiguousError, NotFoundError
from jobrunner_cli.engine.store import queries

if TYPE_CHECKING:
    from jobrunner_cli.engine.store.database import Connection
    from jobrunner_cli.engine.store.models import Job

_MOST_SHOWN = 10
_MOST_MEANT = 3


def find_job(conn: Connection, text: str) -> Job:
    """The one job that a text means. Raises NotFoundError, and AmbiguousError with a list of the candidates."""
    found = queries.find_jobs(conn, text)
    if not found:
        msg = f"there is no job {text!r}"
        raise NotFoundError(msg, hint=_hint(conn, text))
    if len(found) > 1:
        lines = [
            f"  {job.id}  {job.workspace}/{job.action}  {theme.word(job.status_code)}" for job in found[:_MOST_SHOWN]
        ]
        if len(found) > _MOST_SHOWN:
            lines.append(f"  … and {len(found) - _MOST_SHOWN} more")
        msg = "\n".join([f"{text!r} may be any of {len(found)} jobs:", *lines])
        raise AmbiguousError(msg, hint="give more of its id")
    return found[0]


def _hint(conn: Connection, text: str) -> str:
    """How the job may be named that a text was meant for that names none."""
    import difflib

    known = {workspace: queries.known_actions(conn, workspace) for workspace in queries.known_workspaces(conn)}
    meant = [f"{workspace}/{text}" for workspace, actions in known.items() if text in actions]
    if not meant and "/" in text:
        names = [f"{workspace}/{action}" for workspace, actions in known.items() for action in actions]
        meant = difflib.get_close_matches(text, names, n=1, cutoff=0.8)
    if meant:
        more = f" (or {len(meant) - _MOST_MEANT} more)" if len(meant) > _MOST_MEANT else ""
        return f"did you mean {' or '.join(meant[:_MOST_MEANT])}{more}?"
    return "jobrunner jobs ls lists them; name one by part of its id or as workspace/action"
