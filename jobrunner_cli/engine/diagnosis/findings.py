"""What a check is and what it finds; checks run at once, each with a time limit, and none can end or hold up another."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from queue import Empty, SimpleQueue
from shlex import quote

from jobrunner_cli.engine.errors import JobrunnerError


class Verdict(StrEnum):
    """How a thing stands."""

    OK = "ok"
    #: jobs can run, but something is worth a look
    WARNING = "warning"
    #: jobs, or some of them, cannot run, or the data is not safe
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    verdict: Verdict
    text: str
    #: a command, or a sentence, that helps; empty where nothing has to be done
    help: str = ""
    #: the check that found it
    check: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Something to look at. `look` may raise anything."""

    name: str
    look: Callable[[], Iterable[Finding]]
    #: seconds
    patience: float = 10.0


def ok(text: str) -> Finding:
    """All is well."""
    return Finding(verdict=Verdict.OK, text=text)


def warning(text: str, helps: str) -> Finding:
    """Worth a look."""
    return Finding(verdict=Verdict.WARNING, text=text, help=helps)


def problem(text: str, helps: str) -> Finding:
    """In the way of jobs, or of the safety of data."""
    return Finding(verdict=Verdict.PROBLEM, text=text, help=helps)


def run(checks: Sequence[Check], mask: Callable[[str], str]) -> list[Finding]:
    """What the checks find, in their order; `mask` takes secrets out of every text.

    One that takes longer than it may is left behind in its thread, which ends with the process.
    """
    begun = time.monotonic()
    answers = [_begin(check) for check in checks]
    found: list[Finding] = []
    for check, answer in zip(checks, answers, strict=True):
        try:
            findings = answer.get(timeout=max(0.0, begun + check.patience - time.monotonic()))
        except Empty:
            text = f"no answer within {check.patience:g} s"
            findings = [problem(text, "see what it hangs on: a disk of the network, an engine, a server")]
        found += (
            replace(one, check=check.name, text=mask(_one_line(one.text)), help=mask(_one_line(one.help)))
            for one in findings
        )
    return found


def _begin(check: Check) -> SimpleQueue[list[Finding]]:
    answer: SimpleQueue[list[Finding]] = SimpleQueue()
    threading.Thread(target=lambda: answer.put(_look(check)), name=f"doctor-{check.name}", daemon=True).start()
    return answer


def _look(check: Check) -> list[Finding]:
    try:
        return list(check.look())
    except JobrunnerError as error:
        return [problem(error.message, error.hint or "jobrunner config shows what is set")]
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        if error.filename is None:
            return [problem(reason, "jobrunner config shows what is set")]
        place = os.fsdecode(error.filename)
        return [problem(f"{place}: {reason}", f"ls -ld {quote(place)}")]
    except Exception as error:  # noqa: BLE001 - a check that is wrong itself leaves the others alone
        return [
            problem(
                f"this check failed: {type(error).__name__}: {error}", "report it: this is a mistake of the program"
            )
        ]


def _one_line(text: str) -> str:
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())
