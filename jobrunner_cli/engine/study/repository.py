"""Study repositories: which commit a name stands for, and what is in a commit (section 6).

Everything is read from mirrors, of repositories on the network and of those on this machine's disk alike; a commit
is fetched once. All methods may be called from several threads, and several processes may share the mirrors.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from jobrunner_cli.engine.errors import (
    GitError,
    GitFileNotFoundError,
    GitRepoNotReachableError,
    GitUnknownRefError,
)
from jobrunner_cli.engine.study.access import (
    GitAccess,
    Remote,
    canonical_repo_url,
    reach,
    require_local_repository,
    serving_config,
)
from jobrunner_cli.engine.study.git import (
    Git,
    GitDiskFullError,
    GitInterruptedError,
    GitResult,
    GitUnansweredError,
    Trouble,
    printable,
)
from jobrunner_cli.engine.study.mirror import Mirror
from jobrunner_cli.engine.study.pipeline import Pipeline, read_pipeline
from jobrunner_cli.engine.study.tree import MirrorTree, TreeCache
from jobrunner_cli.engine.work import CodeTree, EntryKind

__all__ = ["GitAccess", "Repositories", "canonical_repo_url", "is_commit", "is_ref_name"]

log = logging.getLogger(__name__)

#: Seconds that a server has to list its branches and tags.
_LIST_TIMEOUT = 60.0

#: Bytes of a file that is read into memory whole; far above any project.yaml.
_MOST_FILE_BYTES = 16 * 1024 * 1024

#: Fetching, without anything that would follow, tag along or be left for another command.
_FETCH = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--no-auto-maintenance")

_COMMIT = re.compile(r"[0-9a-f]{40}")


def is_commit(text: str) -> bool:
    """Whether this is a full commit SHA: 40 lower-case hexadecimal digits."""
    return _COMMIT.fullmatch(text) is not None


def is_ref_name(text: str) -> bool:
    """Whether git accepts this as the name of a branch or tag (git-check-ref-format), and no option looks like it."""
    if not text or text == "@" or text.startswith("-") or text.endswith(".") or ".." in text or "@{" in text:
        return False
    if any(character <= " " or character == "\x7f" or character in "~^:?*[\\" for character in text):
        return False
    return all(part and not part.startswith(".") and not part.endswith(".lock") for part in text.split("/"))


class Repositories:
    """Everything that is asked of study repositories."""

    def __init__(self, access: GitAccess, *, stop: threading.Event | None = None) -> None:
        """Once `stop` is set, whatever asks a repository for something raises GitInterruptedError."""
        self._access = access
        self._stop = stop
        secrets = [secret for secret in (access.token, access.credentials) if secret]
        self._git = Git(home=access.repos_dir.absolute(), secrets=secrets)
        self._trees = TreeCache()
        self._complete: set[tuple[str, str]] = set()

    def resolve(self, repo_url: str, ref: str) -> str:
        """The commit that a name stands for now: exactly so, as branch, annotated tag or lightweight tag, in this order.

        A full SHA stands for itself if the repository has such a commit. Raises GitUnknownRefError,
        GitRepoNotReachableError or another GitError.
        """
        if is_commit(ref):
            self.ensure_commit(repo_url, ref)
            return ref
        remote = self._reach(repo_url)
        if not is_ref_name(ref):
            raise GitUnknownRefError(
                f"{printable(ref)!r} is not the name of a branch or tag", hint="Give a branch, a tag or a full commit."
            )
        names = [f"{name}{peeled}" for name in (ref, f"refs/heads/{ref}", f"refs/tags/{ref}") for peeled in ("^{}", "")]
        found = self._refs(remote, names, doing=f"look up {printable(ref)} in {printable(remote.name)}")
        for name in names:
            if name in found:
                return found[name]
        raise GitUnknownRefError(
            f"{printable(remote.name)} has no branch, tag or commit {printable(ref)}",
            hint=_hint_for_part(remote) if re.fullmatch("[0-9a-fA-F]{5,}", ref) else None,
        )

    def ensure_commit(self, repo_url: str, commit: str, stop: threading.Event | None = None) -> None:
        """Have the commit, complete, in the mirror; it is fetched if it is not there, without its history.

        Raises GitUnknownRefError if the repository has no such commit, GitRepoNotReachableError,
        GitInterruptedError when `stop` is set, GitDiskFullError, or another GitError.
        """
        if not is_commit(commit):
            raise GitUnknownRefError(f"{printable(commit)[:80]!r} is not a full commit SHA (40 hexadecimal digits)")
        remote = reach(repo_url, self._access)
        mirror = self._mirror(remote)
        if (mirror.key, commit) in self._complete and mirror.git_dir.is_dir():
            return
        if not mirror.has(commit):
            self._fetch_commit(remote, mirror, commit, stop or self._stop)
        self._complete.add((mirror.key, commit))

    def read_file(self, repo_url: str, commit: str, path: str) -> bytes:
        """The content of one file, `path` from the root of the tree with `/` between its parts.

        Raises GitFileNotFoundError, also for a link or a folder, and what `ensure_commit` raises.
        """
        self.ensure_commit(repo_url, commit)
        tree = self._tree(repo_url, commit)
        wanted = os.fsencode(path)
        where = f"commit {commit} of {printable(canonical_repo_url(repo_url))}"
        entry = next((entry for entry in tree.entries() if entry.path == wanted), None)
        if entry is None:
            raise GitFileNotFoundError(f"There is no file {printable(path)} in {where}")
        if entry.kind not in {EntryKind.FILE, EntryKind.EXECUTABLE}:
            raise GitFileNotFoundError(f"{printable(path)} is a {entry.kind.value}, not a file, in {where}")
        if entry.size > _MOST_FILE_BYTES:
            raise GitError(f"{printable(path)} is too large to be read ({entry.size:,} bytes) in {where}")
        return tree.read_one(entry)

    def pipeline(self, repo_url: str, commit: str) -> Pipeline:
        """The checked project.yaml of a commit. Raises ProjectValidationError, and what `read_file` raises."""
        return read_pipeline(self.read_file(repo_url, commit, "project.yaml"))

    def tree(self, repo_url: str, commit: str) -> CodeTree:
        """The commit's tree as git holds it; nothing of the study's runs when it is read.

        Submodules are entries without content, and a file that Git LFS would replace stays the pointer that was
        committed. Raises what `ensure_commit` raises.
        """
        self.ensure_commit(repo_url, commit)
        return self._tree(repo_url, commit)

    def is_reachable(self, repo_url: str, commit: str, branch: str) -> bool:
        """Whether the commit is the tip of the repository's branch as it is now, or an ancestor of it.

        Raises GitUnknownRefError if there is no such branch, GitRepoNotReachableError, or another GitError.
        """
        remote = self._reach(repo_url)
        name = f"refs/heads/{branch}"
        found: dict[str, str] = {}
        if is_ref_name(branch):
            found = self._refs(remote, [name], doing=f"look up branch {printable(branch)} of {printable(remote.name)}")
        if name not in found:
            raise GitUnknownRefError(f"{printable(remote.name)} has no branch {printable(branch)}")
        if found[name] == commit:
            return True
        return is_commit(commit) and commit in self._history(remote, branch)

    def _reach(self, repo_url: str) -> Remote:
        remote = reach(repo_url, self._access)
        if remote.is_local:
            require_local_repository(remote)
        return remote

    def _mirror(self, remote: Remote) -> Mirror:
        return Mirror(self._access.repos_dir.absolute(), remote.key)

    def _tree(self, repo_url: str, commit: str) -> MirrorTree:
        remote = reach(repo_url, self._access)
        return MirrorTree(
            git=self._git,
            git_dir=self._mirror(remote).git_dir,
            repo=printable(remote.name),
            commit=commit,
            cache=self._trees,
        )

    def _refs(self, remote: Remote, names: Sequence[str], *, doing: str) -> dict[str, str]:
        """Those of these full names that the repository has now, each with the object that it stands for."""
        listed = self._ask(
            remote,
            ("ls-remote", "--quiet", "--end-of-options", "origin", *names),
            doing=doing,
            limit=_LIST_TIMEOUT,
        )
        lines = (line.partition("\t") for line in os.fsdecode(listed).split("\n"))
        # A pattern also matches the ends of longer names, such as those of other people's branches.
        return {name: object_id for object_id, _, name in lines if name in names and is_commit(object_id)}

    def _fetch_commit(self, remote: Remote, mirror: Mirror, commit: str, stop: threading.Event | None) -> None:
        what = f"commit {commit} of {printable(remote.name)}"
        if remote.is_local:
            require_local_repository(remote)
        with mirror.locked(stop=stop, timeout=self._access.timeout) as lock:
            if mirror.has(commit):
                return
            mirror.unmark(commit)
            mirror.create(self._git, mirror.git_dir)
            self._ask(
                remote,
                (*_FETCH, "--depth=1", "--end-of-options", "origin", commit),
                doing=f"fetch {what}",
                git_dir=mirror.git_dir,
                keep_open=(lock,),
                stop=stop,
            )
            kind = self._git.run("cat-file", "-t", commit, git_dir=mirror.git_dir)
            if kind.stdout.strip() != b"commit":
                raise GitUnknownRefError(f"{commit} is in {printable(remote.name)}, but it is not a commit")
            mirror.mark(self._git, commit, lock)
            mirror.put_packs_together(self._git, mirror.git_dir, lock, stop=stop, timeout=self._access.timeout)

    def _history(self, remote: Remote, branch: str) -> frozenset[str]:
        """Every commit of the branch. Only commits are fetched, and only those that are new since the last time."""
        mirror = self._mirror(remote)
        with mirror.locked(stop=self._stop, timeout=self._access.timeout) as lock:
            mirror.create(self._git, mirror.history_dir)
            # Named so that no branch is in another one's way, as `a/b` is in the way of a later `a`.
            tip = f"refs/heads/{hashlib.sha256(os.fsencode(branch)).hexdigest()[:16]}"
            self._ask(
                remote,
                (*_FETCH, "--filter=tree:0", "--update-shallow", "origin", f"+refs/heads/{branch}:{tip}"),
                doing=f"fetch the history of branch {printable(branch)} of {printable(remote.name)}",
                git_dir=mirror.history_dir,
                keep_open=(lock,),
            )
            listed = self._git.run("rev-list", tip, git_dir=mirror.history_dir)
            if listed.returncode != 0:
                raise GitError(
                    f"Cannot read the history of branch {printable(branch)} of {printable(remote.name)}: {listed.reason}",
                    hint=f"Remove the mirror {mirror.history_dir}: it is a copy, and is fetched again.",
                )
            mirror.put_packs_together(self._git, mirror.history_dir, lock, stop=None, timeout=self._access.timeout)
        return frozenset(listed.stdout.decode("ascii").split())

    def _ask(
        self,
        remote: Remote,
        args: Sequence[str],
        *,
        doing: str,
        git_dir: Path | None = None,
        keep_open: Sequence[int] = (),
        stop: threading.Event | None = None,
        limit: float | None = None,
    ) -> bytes:
        """Run a git command that talks to the repository, which it knows as `origin`, and return what it prints.

        What fails for a passing reason is tried again after growing waits; a repository on disk has no
        passing reasons. One attempt takes at most `limit` seconds, and all of them `GitAccess.timeout`.
        """
        stop = stop or self._stop
        config = (("remote.origin.url", remote.address), *remote.config)
        variables = self._variables(remote)
        deadline = time.monotonic() + self._access.timeout
        attempts = 1 if remote.is_local else self._access.attempts
        wait = self._access.first_wait
        while True:
            left = max(1.0, deadline - time.monotonic())
            result = self._git.run(
                *args,
                git_dir=git_dir,
                config=config,
                variables=variables,
                keep_open=keep_open,
                stop=stop,
                timeout=left if limit is None else min(left, limit),
            )
            if result.returncode == 0 and not result.timed_out:
                return result.stdout
            attempts -= 1
            if result.trouble is not Trouble.PASSING or attempts <= 0 or time.monotonic() + wait >= deadline:
                raise _failure(remote, doing, result)
            log.warning("Cannot %s: %s; trying again in %g seconds", doing, result.reason, wait)
            if (stop or threading.Event()).wait(wait):
                raise GitInterruptedError("Git was interrupted, because the runner is stopping")
            wait *= 2

    def _variables(self, remote: Remote) -> dict[str, str]:
        """The environment for talking to this repository."""
        variables = {"GIT_ALLOW_PROTOCOL": remote.protocol}
        try:
            self._access.repos_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            if remote.is_local:
                served = self._mirror(remote).serving_config
                _write_if_different(served, os.fsencode(serving_config(remote)))
                variables["GIT_CONFIG_GLOBAL"] = str(served)
        except OSError as error:
            raise GitError(f"Cannot use {self._access.repos_dir}: {error.strerror}") from None
        return variables


def _write_if_different(path: Path, content: bytes) -> None:
    """Write the file so that a reader sees the old content or the new."""
    try:
        if path.read_bytes() == content:
            return
    except FileNotFoundError:
        pass
    draft = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
    draft.write_bytes(content)
    draft.replace(path)


def _hint_for_part(remote: Remote) -> str | None:
    """What to do where what may be a part of a SHA is not known."""
    if remote.is_local:
        return "A commit is given with --commit, by as many digits of its SHA as no other begins with."
    return "A repository on a server knows a commit only by its full SHA of 40 digits."


def _failure(remote: Remote, doing: str, result: GitResult) -> GitError:
    """The error for a command that failed for good, in words that name what it was about."""
    name = printable(remote.name)
    match result.trouble:
        case Trouble.UNKNOWN_REF:
            return GitUnknownRefError(
                f"Cannot {doing}: the repository has no such commit", hint="Was it pushed, and to this repository?"
            )
        case Trouble.NOT_REACHABLE if remote.is_local:
            return GitRepoNotReachableError(f"Cannot {doing}: {result.reason}")
        case Trouble.NOT_REACHABLE:
            return GitRepoNotReachableError(
                f"Cannot {doing}: {name} does not exist, or may not be read ({result.reason})",
                hint="Check the URL; a private repository needs PRIVATE_REPO_ACCESS_TOKEN.",
            )
        case Trouble.MOVED:
            return GitRepoNotReachableError(
                f"Cannot {doing}: {name} has moved ({result.reason})", hint="Use the repository's present URL."
            )
        case Trouble.DISK_FULL:
            return GitDiskFullError(f"Cannot {doing}: no space is left in WORKDIR")
        case Trouble.PASSING if not remote.is_local:
            return GitUnansweredError(f"Cannot {doing}: {result.reason}")
        case _:
            return GitError(f"Cannot {doing}: {result.reason}")
