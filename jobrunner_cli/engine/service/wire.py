"""What goes over the wire to a job-server and what comes from it: jobs as rows, flags as a header, entries as requests. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from jobrunner_cli.engine.errors import JobRequestError, RequestError, internal_error
from jobrunner_cli.engine.local_requests import LOCAL_ORIGIN
from jobrunner_cli.engine.states import State
from jobrunner_cli.engine.store.models import Flag
from jobrunner_cli.engine.store.told import ToldJob
from jobrunner_cli.engine.study.access import canonical_repo_url, is_url
from jobrunner_cli.engine.study.problems import printable, shown
from jobrunner_cli.engine.work import JobRequest

#: The longest text and the longest list of names that a request may have.
_LONGEST_TEXT = 4096
_MOST_NAMES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """One entry of the job-server's list."""

    #: the request, or as much of it as could be read
    request: JobRequest
    #: why it cannot become jobs
    error: RequestError | None = None
    #: the fault of ours that kept it from being read; the user is told only that there is one
    fault: Exception | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What the entries of the job-server's list amount to."""

    #: the requests of this backend, each once, oldest first
    incoming: tuple[Incoming, ...]
    #: a sentence for each entry that cannot be understood, nor answered
    unusable: tuple[str, ...]
    #: a sentence for each entry of another backend
    foreign: tuple[str, ...]


def read_listing(entries: Sequence[object], backend: str) -> Listing:
    """The requests among the entries, which the server lists with the newest first.

    An entry that cannot be understood stays one of them where its identifier can be read; one of another backend does not.
    """
    found: dict[str, Incoming] = {}
    unusable: dict[str, None] = {}
    foreign: dict[str, None] = {}
    for entry in reversed(entries):
        identifier = entry.get("identifier") if isinstance(entry, Mapping) else None
        if not isinstance(entry, Mapping) or not isinstance(identifier, str) or not _is_identifier(identifier):
            unusable[f"The job-server lists a job request without an identifier: {_cut(entry)}"] = None
        elif entry.get("backend", backend) != backend:
            theirs = shown(entry["backend"]) if isinstance(entry["backend"], str) else _cut(entry["backend"])
            foreign[f"The job-server lists job request {identifier} of backend {theirs}: it is left alone"] = None
        else:
            # A page that shifts while it is read lists a request twice; what was read last is newer.
            found.setdefault(identifier, _read_or_refuse(identifier, entry))
    return Listing(incoming=tuple(found.values()), unusable=tuple(unusable), foreign=tuple(foreign))


def _is_identifier(text: str) -> bool:
    """Whether it can be stored, logged and sent back as it is."""
    return 0 < len(text) <= 200 and text.isprintable() and text == text.strip()


def _cut(entry: object) -> str:
    try:
        return printable(json.dumps(entry))
    except RecursionError:
        return "lists or objects within one another without end"


def _read_or_refuse(identifier: str, entry: Mapping[str, Any]) -> Incoming:
    """The request; what goes wrong with it unforeseen is a fault of ours, and harms no other one (section 3)."""
    try:
        return _read_request(identifier, entry)
    except Exception as error:  # noqa: BLE001 (whoever reports the request logs it)
        fault = error
    unread = JobRequest(
        id=identifier,
        repo_url="",
        commit="",
        branch="",
        requested_actions=(),
        cancelled_actions=(),
        workspace="",
        codelists_ok=True,
        database_name="",
        force_run_dependencies=False,
        original=_original(entry),
    )
    return Incoming(request=unread, error=internal_error(), fault=fault)


def _original(entry: Mapping[str, Any]) -> dict[str, Any]:
    # What says that a request was made on this machine is ours to say.
    return {key: value for key, value in entry.items() if (key, value) != ("origin", LOCAL_ORIGIN)}


def _read_request(identifier: str, entry: Mapping[str, Any]) -> Incoming:
    reader = _Reader(entry)
    workspace = reader.mapping("workspace")
    inside = _Reader(workspace, "workspace.", reader.problems)
    # Older servers have the database in the workspace.
    database = reader.text("database_name", default="") or inside.text("db", default="")
    if not database and not reader.problems:
        reader.problems.append("database_name is missing")
    request = JobRequest(
        id=identifier,
        repo_url=inside.text("repo"),
        commit=reader.text("sha"),
        branch=inside.text("branch"),
        requested_actions=reader.names("requested_actions"),
        cancelled_actions=reader.names("cancelled_actions", default=()),
        workspace=inside.text("name"),
        codelists_ok=reader.truth("codelists_ok", default=True),
        database_name=database,
        force_run_dependencies=reader.truth("force_run_dependencies", default=False),
        original=_original(entry),
    )
    error: RequestError | None = None
    if reader.problems:
        error = JobRequestError(f"The job request cannot be understood: {'; '.join(reader.problems)}")
    elif not is_url(request.repo_url):
        try:
            request = _with_absolute_path(request)
        except RequestError as problem:
            error = problem
    return Incoming(request=request, error=error)


def _with_absolute_path(request: JobRequest) -> JobRequest:
    return replace(request, repo_url=canonical_repo_url(request.repo_url))


class _Reader:
    """Reads the fields of a request; what is wrong with one is noted, and an empty value stands in for it."""

    def __init__(self, source: Mapping[str, Any], where: str = "", problems: list[str] | None = None) -> None:
        self._source = source
        self._where = where
        self.problems: list[str] = [] if problems is None else problems

    def text(self, name: str, default: str | None = None) -> str:
        """A text; `default` stands for one that is absent or null."""
        value = self._source.get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, str):
            self._wrong(name, value, "a text")
            return ""
        if len(value) > _LONGEST_TEXT:
            self._wrong(name, value, f"a text of at most {_LONGEST_TEXT} characters")
            return ""
        return value

    def names(self, name: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """A list of texts."""
        value = self._source.get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self._wrong(name, value, "a list of texts")
            return ()
        if len(value) > _MOST_NAMES or any(len(item) > _LONGEST_TEXT for item in value):
            most = f"more than {_MOST_NAMES} names, or one of more than {_LONGEST_TEXT} characters"
            self.problems.append(f"{self._where}{name} has {most}")
            return ()
        return tuple(value)

    def truth(self, name: str, *, default: bool) -> bool:
        """True or false."""
        value = self._source.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            self._wrong(name, value, "true or false")
            return default
        return value

    def mapping(self, name: str) -> Mapping[str, Any]:
        """An object with fields of its own."""
        value = self._source.get(name)
        if not isinstance(value, Mapping):
            self._wrong(name, value, "an object")
            return {}
        return value

    def _wrong(self, name: str, value: object, form: str) -> None:
        if self._where and not self._source:
            # That the whole is missing is said already.
            return
        told = (
            f"{self._where}{name} is missing" if value is None else f"{self._where}{name} is not {form}: {_cut(value)}"
        )
        self.problems.append(told)


def job_rows(
    jobs: Iterable[ToldJob], metrics: Mapping[str, Mapping[str, Any]], mask: Callable[[str], str]
) -> list[dict[str, Any]]:
    """The jobs of one request as the server takes them. Raises ValueError for a time that is none."""
    return [_row(job, metrics.get(job.id, {}), mask) for job in jobs]


def _row(job: ToldJob, metrics: Mapping[str, Any], mask: Callable[[str], str]) -> dict[str, Any]:
    updated_at, completed_at = job.updated_at or job.created_at, job.completed_at
    if completed_at is None and job.state in {State.SUCCEEDED, State.FAILED}:
        # Older programs left it out where a job was cancelled, and a server may list a request until all its jobs have one.
        completed_at = updated_at
    return {
        "identifier": job.id,
        "job_request_id": job.job_request_id,
        "action": _text(job.action),
        "run_command": None if job.run_command is None else _text(job.run_command),
        "status": job.state.value,
        "status_code": job.status_code.value,
        "status_message": _text(mask(job.status_message or "")),
        "created_at": _seconds(job.created_at),
        "updated_at": _seconds(updated_at),
        "started_at": None if job.started_at is None else _seconds(job.started_at),
        "completed_at": None if completed_at is None else _seconds(completed_at),
        "trace_context": job.trace_context or {},
        "metrics": metrics,
        "requires_db": job.requires_db,
    }


def _text(value: str) -> str:
    # The server refuses texts with this character, and with them every other job of the request.
    return value.replace("\0", "�")


@lru_cache(maxsize=4096)
def _seconds(value: int) -> str:
    """Whole UNIX seconds in ISO 8601, in UTC. Raises ValueError."""
    try:
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, OSError, TypeError) as error:
        msg = f"{value!r} is not a time"
        raise ValueError(msg) from error


def flags_header(flags: Collection[Flag]) -> str:
    """All flags that were ever set as the value of the header `Flags`: compact JSON; an unset one has the value null."""
    told = {
        _text(flag.id): {"v": None if flag.value is None else _text(flag.value), "ts": _moment(flag.timestamp)}
        for flag in flags
    }
    return json.dumps(told, separators=(",", ":"))


def _moment(timestamp: float) -> str:
    try:
        moment = datetime.fromtimestamp(timestamp, UTC)
    except (OverflowError, OSError, ValueError):
        moment = datetime.fromtimestamp(0, UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
