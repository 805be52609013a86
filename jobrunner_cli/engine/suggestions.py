"""What may be typed for a value, found in the real data: jobs, workspaces, actions, branches, images.

For somebody who waits at every key: nothing is fetched, nothing is written, and what does not answer soon is left out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from jobrunner_cli.engine.errors import JobrunnerError

if TYPE_CHECKING:
    import sqlite3

    from jobrunner_cli.engine.settings import Settings

#: A word and what it means.
Suggestion = tuple[str, str]
#: Option or argument -> the words that were given for it.
Given = Mapping[str, list[str]]

#: The most jobs that somebody chooses from.
_MOST_JOBS = 100
#: Seconds that the database, git or an engine gets.
_PATIENCE = 2.0
#: How many jobs are looked at for images.
_JOBS_WITH_IMAGES = 1000
_MOST_ANSWER = 4 * 2**20


def suggest(kind: str, typed: str, given: Given) -> Iterable[Suggestion]:
    """The words that a value of this kind may be; `typed` is its beginning, `given` what else is on the line.

    Empty if there is nothing, or nothing to be found out at the moment.
    """
    try:
        yield from _KINDS[kind](typed, given)
    except (JobrunnerError, OSError):
        return


def _settings() -> Settings:
    from jobrunner_cli.engine import settings

    return settings.load()


@contextmanager
def _table(settings: Settings) -> Iterator[sqlite3.Connection]:
    """The database, for reading. Raises OSError if there is none, or it cannot be read."""
    import sqlite3

    from jobrunner_cli.engine.store import names

    try:
        conn = names.open_for_names(settings.database_path, patience=_PATIENCE)
        try:
            yield conn
        finally:
            conn.close()
    except sqlite3.Error as error:
        raise OSError(str(error)) from error


def _jobs(typed: str, given: Given, *, active_only: bool = False) -> Iterator[Suggestion]:
    from jobrunner_cli.engine.store import names

    with _table(_settings()) as conn:
        workspace, slash, _ = typed.partition("/")
        if slash:
            for action in names.known_actions(conn, workspace):
                yield f"{workspace}/{action}", "the latest of these jobs"
            return
        for job in names.jobs_beginning_with(conn, typed.lower(), limit=_MOST_JOBS, active_only=active_only):
            yield job.id, f"{job.workspace}/{job.action}, {job.code}"
        if typed and not active_only:
            for name in names.known_workspaces(conn):
                if name.startswith(typed):
                    for action in names.known_actions(conn, name):
                        yield f"{name}/{action}", "the latest of these jobs"


def _active_jobs(typed: str, given: Given) -> Iterator[Suggestion]:
    return _jobs(typed, given, active_only=True)


def _outputs(typed: str, given: Given) -> Iterator[Suggestion]:
    """The paths of the outputs of the job on the line, and, once something is typed, their names alone."""
    import json

    from jobrunner_cli.engine.store import names

    with _table(_settings()) as conn:
        stored = names.outputs_of(conn, (given.get("job") or [""])[-1].strip())
    levels: Mapping[str, str] = json.loads(stored or "{}") or {}
    for path, level in sorted(levels.items()):
        yield path, str(level).replace("_", " ")
    if typed:
        for path in sorted(levels):
            yield path.rpartition("/")[2], path


def _requests(typed: str, given: Given) -> Iterator[Suggestion]:
    """The requests of the jobs that one may choose from."""
    from jobrunner_cli.engine.store import names

    with _table(_settings()) as conn:
        for request, workspace, jobs in names.newest_requests(conn, newest=_MOST_JOBS):
            yield request, f"{workspace}, {jobs} {'job' if jobs == 1 else 'jobs'}"


def _workspaces(typed: str, given: Given) -> Iterator[Suggestion]:
    """Those that have jobs, and those that have a directory."""
    settings, known = _settings(), set[str]()
    try:
        from jobrunner_cli.engine.store import names

        with _table(settings) as conn:
            known = set(names.known_workspaces(conn))
    except OSError:
        pass
    stored = settings.high_privacy_storage_base / "workspaces"
    if stored.is_dir():
        known |= {entry.name for entry in os.scandir(stored) if entry.is_dir(follow_symlinks=False)}
    return ((name, "") for name in sorted(known))


def _archived(typed: str, given: Given) -> Iterator[Suggestion]:
    """The workspaces that have an archive."""
    from jobrunner_cli.engine.archive import ARCHIVE_SUFFIXES

    for entry in sorted(_settings().high_privacy_archive_dir.iterdir()):
        for suffix in ARCHIVE_SUFFIXES:
            if entry.name.endswith(suffix) and not entry.name.startswith("."):
                yield entry.name.removesuffix(suffix), ""


def _actions(typed: str, given: Given) -> Iterator[Suggestion]:
    """The actions of the repository on the line, at its commit; where that is not on this machine, those that ran."""
    repo = (given.get("repo") or ["."])[-1]
    commit = (given.get("commit") or [""])[-1]
    yield "run_all", "every action"
    if not _is_url(repo):
        branch = (given.get("branch") or ["main"])[-1]
        yield from _actions_in(_git_dir(repo), commit or f"refs/heads/{branch}")
        return
    from jobrunner_cli.engine.store import names
    from jobrunner_cli.engine.study.access import canonical_repo_url

    settings, repo = _settings(), canonical_repo_url(repo)
    with _table(settings) as conn:
        commit = commit or names.newest_commit(conn, repo) or ""
        found = list(_actions_in(_mirror_of(settings, repo), commit)) if commit else []
        yield from found or [(name, "ran before") for name in names.actions_of_repository(conn, repo)]


def _actions_in(git_dir: Path, commit: str) -> Iterator[Suggestion]:
    from jobrunner_cli.engine.study.action_names import action_names

    content = _git(git_dir, "cat-file", "blob", f"{commit}:project.yaml")
    return iter(action_names(content or b"").items())


def _branches(typed: str, given: Given) -> Iterator[Suggestion]:
    return ((name, "") for name in _refs(given, "refs/heads"))


def _commits(typed: str, given: Given) -> Iterator[Suggestion]:
    """What a commit goes by: branches and tags."""
    return ((name, "") for name in _refs(given, "refs/heads", "refs/tags"))


def _refs(given: Given, *below: str) -> list[str]:
    repo = (given.get("repo") or given.get("what") or ["."])[-1]
    if _is_url(repo):
        return []
    listing = ("for-each-ref", "--sort=-creatordate", "--format=%(refname:lstrip=2)", *below)
    return os.fsdecode(_git(_git_dir(repo), *listing) or b"").splitlines()


def _is_url(repo: str) -> bool:
    if "://" not in repo:
        return False
    from jobrunner_cli.engine.study.access import is_url

    return is_url(repo)


def _git_dir(repo: str) -> Path:
    # The shell has not replaced the `~` of a word that is still being typed.
    path = Path(repo).expanduser().absolute()
    return path / ".git" if (path / ".git").exists() else path


def _mirror_of(settings: Settings, repo_url: str) -> Path:
    """The bare repository with what was fetched of this one."""
    from jobrunner_cli.engine.study.access import GitAccess, reach
    from jobrunner_cli.engine.study.mirror import Mirror

    access = GitAccess(repos_dir=settings.repos_dir, backend=settings.backend)
    return Mirror(settings.repos_dir, reach(repo_url, access).key).git_dir


def _git(git_dir: Path, *args: str) -> bytes | None:
    """What git says of a repository that is on this machine; None if it fails."""
    from jobrunner_cli.engine.study.git import Git

    # No directory is made for git's home here; its configuration is not read from there either.
    result = Git(home=Path("/")).run(*args, git_dir=git_dir, timeout=_PATIENCE)
    return result.stdout if result.returncode == 0 else None


def _images(typed: str, given: Given) -> Iterator[Suggestion]:
    """The images that are here, and those that jobs have run in; named as in a study."""
    settings = _settings()
    here = _local_images(settings)
    for name in here:
        yield name.removeprefix(f"{settings.docker_registry}/"), "on this machine"
    from jobrunner_cli.engine.store import names

    with _table(settings) as conn:
        for name in names.images_of_jobs(conn, newest=_JOBS_WITH_IMAGES):
            yield name.removeprefix(f"{settings.docker_registry}/"), "jobs ran in it"


def _local_images(settings: Settings) -> list[str]:
    """Asked of an engine at a Unix socket; docker-py would take ten times as long, and others may not answer soon."""
    if settings.executor == "process":
        from jobrunner_cli.engine.executors.programs import installed_programs

        return [image.name for image in installed_programs()]
    import json
    import socket

    address = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    if not address.startswith("unix:"):
        return []
    answer = b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
            door.settimeout(_PATIENCE)
            door.connect(f"/{address.removeprefix('unix:').lstrip('/')}")
            door.sendall(b"GET /images/json HTTP/1.0\r\nHost: engine\r\n\r\n")
            while len(answer) < _MOST_ANSWER and (part := door.recv(1 << 16)):
                answer += part
        told = json.loads(answer.partition(b"\r\n\r\n")[2])
    except (OSError, ValueError):
        return []
    prefix = f"{settings.docker_registry}/"
    return sorted(name for image in told for name in (image.get("RepoTags") or ()) if str(name).startswith(prefix))


def _databases(typed: str, given: Given) -> Iterator[Suggestion]:
    yield "dummy", "dummy data"
    for name in _settings().database_urls:
        yield name, "configured"


#: The kinds of values that the tree of the commands names.
_KINDS: dict[str, Callable[[str, Given], Iterable[Suggestion]]] = {
    "job": _jobs,
    "active-job": _active_jobs,
    "output": _outputs,
    "request": _requests,
    "workspace": _workspaces,
    "archived-workspace": _archived,
    "action": _actions,
    "branch": _branches,
    "commit": _commits,
    "image": _images,
    "database": _databases,
}
