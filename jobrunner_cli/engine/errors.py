"""The error tree. Each error says what is wrong, what to do about it, and the exit code of a command that it ends."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The documented exit codes of every command."""

    FINE = 0
    FAILED = 1
    USAGE = 2
    CONFIGURATION = 3
    NOT_FOUND = 4
    UNREACHABLE = 5
    #: as timeout(1) has it
    TIMED_OUT = 124
    INTERRUPTED = 130


class JobrunnerError(Exception):
    """Anything that a user or operator is told about in one line.

    `hint` is the next step, as a sentence or a command; `exit_code` is what a command that it ends exits with.
    """

    exit_code: ExitCode = ExitCode.FAILED

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message

    @property
    def told(self) -> str:
        """Message and hint in one line, for logs."""
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(JobrunnerError):
    """The words of a command do not fit together."""

    exit_code = ExitCode.USAGE


class ConfigurationError(JobrunnerError):
    """A setting is malformed, or two settings contradict each other."""

    exit_code = ExitCode.CONFIGURATION


class DatabaseNotMigratedError(ConfigurationError):
    """The database is absent, older than this program, or newer."""


class RunnerActiveError(ConfigurationError):
    """Another process holds the runner lock of this work directory."""


class NotFoundError(JobrunnerError):
    """No job, workspace or image goes by the given name."""

    exit_code = ExitCode.NOT_FOUND


class AmbiguousError(NotFoundError):
    """Several jobs go by the given part of a name; the message lists them."""


class UnreachableError(JobrunnerError):
    """The engine or a server does not answer."""

    exit_code = ExitCode.UNREACHABLE


class DatabaseBusyError(UnreachableError):
    """Another process keeps the database locked for longer than anything of this program does."""


class ExecutorUnavailableError(UnreachableError):
    """The executor does not answer at the moment: wait and try again, no job is at fault."""


class RegistryUnreachableError(UnreachableError):
    """The engine does not reach the registry that has an image."""


class ExecutorError(JobrunnerError):
    """The executor refused a verb for this job for good (a bad command, a network that does not exist)."""


class ContainerMissingError(ExecutorError):
    """The job has no container (any more)."""


class ImageMissingError(ExecutorError):
    """The image of an action is not on this machine; the hint has the command that fetches it."""


class JobFilesError(JobrunnerError):
    """The files of a job cannot be laid out or stored; the message names the file."""


class DiskFullError(JobFilesError):
    """No space is left: what was begun can be done again when there is some."""


class IllegalTransitionError(AssertionError):
    """A decision is not a path of legal edges: a bug of this program, never written to the table."""


class StaleRowError(RuntimeError):
    """A row is not at the code that a change expected: two writers, a bug of this program."""


class RequestError(JobrunnerError):
    """A job request cannot become jobs. The class name is what the `__error__` job reports (section 3)."""


class GitError(RequestError):
    """git failed; the message names repository and commit."""


class GitRepoNotReachableError(GitError):
    """The repository does not exist, or may not be read with the given token."""


class GitUnknownRefError(GitError):
    """The repository has no such branch, tag or commit."""


class GitFileNotFoundError(GitError):
    """The commit has no such file."""


class GithubValidationError(RequestError):
    """The repository is not one that may be run here, or the commit is not on its branch."""


class ProjectValidationError(RequestError):
    """project.yaml breaks its rules; the message lists every problem."""


class UnknownActionError(RequestError):
    """A requested action is not in project.yaml."""


class ReusableActionError(RequestError):
    """A reusable action cannot be resolved."""


class JobRequestError(RequestError):
    """The request itself is malformed or may not be run here."""


def internal_error() -> JobRequestError:
    """All that the user is told of a fault of jobrunner's own (section 3)."""
    return JobRequestError("Internal error", hint="this is a fault of jobrunner; its log has the details")


class StaleCodelistError(RequestError):
    """A database action was requested while the study's codelists are out of date."""
