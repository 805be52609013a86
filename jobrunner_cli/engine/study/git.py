"""Running git: its environment, its processes, and what its complaints mean.

git runs with an environment of our own: no user's or system's configuration, no prompts, no hooks, no helpers, no
maintenance behind our back. What the caller's environment says about HTTP proxies and certificate authorities stays,
since a machine may not reach anything without it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from jobrunner_cli.engine.errors import DiskFullError, GitError, UnreachableError

#: Variables that git may inherit: where programs are, how this machine reaches the network and whom it trusts there.
INHERITED_VARIABLES = frozenset(
    {
        "PATH", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "GIT_EXEC_PATH",
        "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy",
        "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_PROXY_SSL_CAINFO", "SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE",
    }
)  # fmt: skip

#: Configuration of every git process; the git-config manual page has what each does.
BASE_CONFIG: tuple[tuple[str, str], ...] = (
    ("core.hooksPath", os.devnull),
    ("core.attributesFile", os.devnull),
    ("core.fsync", "committed,reference"),
    ("credential.helper", ""),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("fetch.unpackLimit", "1"),
    ("fetch.writeCommitGraph", "false"),
    ("http.followRedirects", "false"),
    ("http.lowSpeedLimit", "1"),
    ("http.lowSpeedTime", "120"),
    ("http.sslVerify", "true"),
    ("protocol.version", "2"),
    ("transfer.bundleURI", "false"),
)

#: Seconds between two looks at the stop event while a process runs; its end is noticed at once.
STOP_INTERVAL = 0.2

#: Seconds that a terminated git gets to remove its temporary files before it is killed.
KILL_GRACE = 2.0


class GitInterruptedError(GitError):
    """The stop event was set while git was at work; nothing is known to be wrong."""


class GitDiskFullError(GitError, DiskFullError):
    """There was no space left for what git fetched; the same call works when there is some."""


class GitUnansweredError(GitError, UnreachableError):
    """The repository's server did not answer, or not in time, however often it was asked."""


class Trouble(Enum):
    """What kind of failure git reports."""

    PASSING = auto()
    NOT_REACHABLE = auto()
    UNKNOWN_REF = auto()
    DISK_FULL = auto()
    MOVED = auto()
    OTHER = auto()


#: Trouble -> how git, curl and the C library phrase it; the first that occurs in a complaint counts.
_PHRASES: tuple[tuple[Trouble, re.Pattern[str]], ...] = tuple(
    (trouble, re.compile("|".join(phrases), re.IGNORECASE))
    for trouble, phrases in (
        (Trouble.DISK_FULL, (r"no space left on device", r"disk quota exceeded")),
        (
            Trouble.UNKNOWN_REF,
            (r"not our ref", r"couldn't find remote ref", r"no such remote ref", r"request for unadvertised object"),
        ),
        (Trouble.PASSING, (r"returned error: (?:5\d\d|429)", r"HTTP (?:5\d\d|429)\b")),
        (Trouble.MOVED, (r"returned error: 3\d\d", r"unable to update url base from redirection")),
        (
            Trouble.NOT_REACHABLE,
            (
                r"repository .* not found",
                r"repository not found",
                r"returned error: 4\d\d",
                r"authentication failed",
                r"could not read (?:username|password)",
                r"does not appear to be a git repository",
                r"not a git repository",
                r"dubious ownership",
                r"permission denied",
                r"not valid: is this a git repository",
            ),
        ),
        (
            Trouble.PASSING,
            (
                r"could ?n[o']t resolve (?:host|proxy)",
                r"temporary failure in name resolution",
                r"connection (?:was )?(?:reset|refused|aborted|timed out)",
                r"(?:operation|resolving|connection) timed out",
                r"timeout was reached",
                r"operation too slow",
                r"failed to connect",
                r"could ?n[o']t connect to server",
                r"network is unreachable",
                r"no route to host",
                r"empty reply from server",
                r"early eof",
                r"unexpected disconnect",
                r"hung up unexpectedly",
                r"rpc failed",
                r"transfer closed",
                r"(?:recv|send) failure",
                r"(?:ssl|tls)[_ ](?:read|write|connect|connection|recv|send)",
                r"gnutls_handshake|gnutls recv error",
                r"ssl_error_syscall",
                r"unexpected eof while reading",
                r"http/2 (?:stream|framing)",
                r"invalid index-pack output",
            ),
        ),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GitResult:
    """How a git process ended."""

    returncode: int
    stdout: bytes
    #: secrets masked
    stderr: str
    timed_out: bool = False

    @property
    def trouble(self) -> Trouble:
        """What kind of failure this is, for one that failed."""
        if self.timed_out:
            return Trouble.PASSING
        told = "\n".join(line for line in self.stderr.splitlines() if not line.startswith("remote:"))
        for trouble, pattern in _PHRASES:
            if pattern.search(told):
                return trouble
        return Trouble.OTHER

    @property
    def reason(self) -> str:
        """The line of the complaint that says most, for people; short, without control characters."""
        if self.timed_out:
            return "it took too long"
        lines = [line.strip() for line in self.stderr.splitlines() if line.strip()]
        told = [line for line in lines if line.startswith(("fatal:", "error:"))] or lines[-1:]
        if not told:
            return f"git exited with {self.returncode}"
        return printable(told[0].partition(": ")[2] or told[0])[:300]


def printable(text: str) -> str:
    """The text with everything that a terminal might act on replaced by `?`."""
    return "".join(character if character.isprintable() else "?" for character in text)


class Git:
    """Starts git processes. `home` is a directory of ours without any configuration; `secrets` never get out."""

    def __init__(self, *, home: Path, secrets: Sequence[str] = ()) -> None:
        self._home = home
        self._secrets = tuple(secret for secret in secrets if secret)

    def run(
        self,
        *args: str,
        git_dir: Path | None = None,
        config: Sequence[tuple[str, str]] = (),
        variables: Mapping[str, str] | None = None,
        keep_open: Sequence[int] = (),
        stop: threading.Event | None = None,
        timeout: float | None = None,
    ) -> GitResult:
        """Run git to its end and return how it ended, whatever that is.

        `keep_open` are file descriptors that git and its children hold as long as any of them lives. `timeout` is in
        seconds. Raises GitInterruptedError when `stop` is set first, GitError if git cannot be started at all.
        """
        process = self._start(args, git_dir, config, variables, keep_open)
        try:
            stdout, stderr, timed_out = _watch(process, stop, timeout)
        except BaseException:
            _end(process)
            raise
        return GitResult(returncode=process.returncode, stdout=stdout, stderr=self.masked(stderr), timed_out=timed_out)

    @contextmanager
    def stream(self, *args: str, git_dir: Path) -> Iterator[GitStream]:
        """A git process to talk to; it ends with the block."""
        with tempfile.TemporaryFile() as complaints:
            process = self._start(args, git_dir, (), None, (), stdin=subprocess.PIPE, stderr=complaints.fileno())
            try:
                yield GitStream(process)
            finally:
                _end(process)

    def masked(self, text: bytes) -> str:
        """The text, decoded, without any of the secrets."""
        shown = text.decode("utf-8", "replace")
        for secret in self._secrets:
            shown = shown.replace(secret, "xxxx-REDACTED-xxxx")
        return shown

    def _start(
        self,
        args: Sequence[str],
        git_dir: Path | None,
        config: Sequence[tuple[str, str]],
        variables: Mapping[str, str] | None,
        keep_open: Sequence[int],
        *,
        stdin: int = subprocess.DEVNULL,
        stderr: int = subprocess.PIPE,
    ) -> subprocess.Popen[bytes]:
        environment = self._environment(git_dir, config, variables or {})
        try:
            # A session of its own: no terminal to prompt on, no Ctrl-C of ours, and one group to kill.
            return subprocess.Popen(
                ["git", *args],
                cwd=self._home,
                env=environment,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=stderr,
                pass_fds=tuple(keep_open),
                start_new_session=True,
            )
        except FileNotFoundError:
            raise GitError("git is not installed on this machine", hint="Install git 2.32 or newer.") from None
        except OSError as error:
            raise GitError(f"git cannot be started: {error.strerror}") from None

    def _environment(
        self, git_dir: Path | None, config: Sequence[tuple[str, str]], variables: Mapping[str, str]
    ) -> dict[str, str]:
        environment = {name: value for name, value in os.environ.items() if name in INHERITED_VARIABLES}
        environment |= {
            # No .netrc of the user, and no configuration on versions that do not know the variables below.
            "HOME": str(self._home),
            # A directory that is none keeps git from looking for a repository around its working directory.
            "GIT_DIR": str(git_dir or self._home / "no-repository"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_LITERAL_PATHSPECS": "1",
            "GIT_ALLOW_PROTOCOL": "none",
            # The mirrors' tags are read as files, and commits are SHA-1: no other defaults of newer versions.
            "GIT_DEFAULT_HASH": "sha1",
            "GIT_DEFAULT_REF_FORMAT": "files",
            "LC_ALL": "C",
        }
        environment |= variables
        settings = (*BASE_CONFIG, *config)
        environment["GIT_CONFIG_COUNT"] = str(len(settings))
        for number, (key, value) in enumerate(settings):
            environment[f"GIT_CONFIG_KEY_{number}"] = key
            environment[f"GIT_CONFIG_VALUE_{number}"] = value
        return environment


class GitStream:
    """Both ends of a running git process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def ask(self, line: bytes) -> None:
        """Send a line, given without its end. A process that is gone shows when its answer is read."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return

    def read(self, size: int) -> bytes:
        """The next bytes, at most so many; empty at the end."""
        assert self._process.stdout is not None
        return self._process.stdout.read(size)

    def read_line(self) -> bytes:
        """The next line of at most 4 KiB, without its end."""
        assert self._process.stdout is not None
        return self._process.stdout.readline(4096).rstrip(b"\n")

    def ended_well(self) -> bool:
        """Whether the process, whose output is read to its end, exits with 0."""
        return self._process.wait() == 0


def _watch(
    process: subprocess.Popen[bytes], stop: threading.Event | None, timeout: float | None
) -> tuple[bytes, bytes, bool]:
    """What the process wrote to its two outputs, and whether it had to be ended because time was up."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        if stop is not None and stop.is_set():
            raise GitInterruptedError("Git was interrupted, because the runner is stopping")
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        waits = [] if left is None else [left]
        waits += [] if stop is None else [STOP_INTERVAL]
        try:
            return *process.communicate(timeout=min(waits, default=None)), False
        except subprocess.TimeoutExpired:
            if deadline is not None and time.monotonic() >= deadline:
                return *_end(process), True


def _end(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    """End the process and its children, if they still run, and return what is left of its output."""
    # Not `poll`, which would free the number of a leader whose children still run.
    if process.returncode is None:
        _signal_group(process, signal.SIGTERM)
        try:
            return _drain(process, KILL_GRACE)
        except subprocess.TimeoutExpired:
            _signal_group(process, signal.SIGKILL)
    return _drain(process, None)


def _drain(process: subprocess.Popen[bytes], timeout: float | None) -> tuple[bytes, bytes]:
    if process.stdin is not None:
        try:
            process.stdin.close()
        except BrokenPipeError:
            pass
        process.stdin = None
    stdout, stderr = process.communicate(timeout=timeout)
    return stdout or b"", stderr or b""


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
