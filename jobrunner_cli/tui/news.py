"""What the threads tell the app: messages, of which a newer one of its kind takes the place of one that still waits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textual.message import Message

from jobrunner_cli.engine.errors import JobrunnerError
from jobrunner_cli.engine.standing import Standing
from jobrunner_cli.engine.store.overview import Brief
from jobrunner_cli.tui.facts import Facts
from jobrunner_cli.tui.listing import Listing, Wanted


class _Newest(Message):
    """A message of which only the newest matters."""

    def can_replace(self, message: Message) -> bool:
        """Whether this one takes the place of one that waits."""
        return type(message) is type(self)


class Listed(_Newest):
    """The lines of the list, and the jobs they are of."""

    def __init__(
        self,
        listing: Listing,
        jobs: Mapping[str, Brief],
        usage: Mapping[str, Mapping[str, Any]],
        wanted: Wanted,
        older: int,
    ) -> None:
        super().__init__()
        self.listing, self.jobs, self.usage, self.wanted, self.older = listing, jobs, usage, wanted, older


class Stood(_Newest):
    """How the installation stands."""

    def __init__(self, standing: Standing) -> None:
        super().__init__()
        self.standing = standing


class Chosen(_Newest):
    """Everything about the job under the cursor."""

    def __init__(self, facts: Facts) -> None:
        super().__init__()
        self.facts = facts


class Troubled(_Newest):
    """The database cannot be read at the moment, or can again."""

    def __init__(self, problem: JobrunnerError | None) -> None:
        super().__init__()
        self.problem = problem


class EngineSeen(_Newest):
    """What the engine answered: a line about it, or what is wrong."""

    def __init__(self, text: str, *, well: bool) -> None:
        super().__init__()
        self.text, self.well = text, well


class LogRead(Message):
    """More lines of a job's log; `summary` says that they are of what the runner wrote below those of a job that had ended."""

    def __init__(self, job_id: str, lines: list[str], *, begins: bool, summary: bool) -> None:
        super().__init__()
        self.job_id, self.lines, self.begins, self.summary = job_id, lines, begins, summary


class LogEnded(Message):
    """There is no more of a log to come; `problem` says why there is none, or why it broke off."""

    def __init__(self, job_id: str, problem: str | None) -> None:
        super().__init__()
        self.job_id, self.problem = job_id, problem


class Done(Message):
    """Something that was asked for is done, or failed."""

    def __init__(self, text: str, *, failed: bool = False, hint: str | None = None) -> None:
        super().__init__()
        self.text, self.failed, self.hint = text, failed, hint
