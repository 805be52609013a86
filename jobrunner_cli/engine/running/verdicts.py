"""How a job ended, in a code and in words: from the exit of its container and what its patterns matched."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jobrunner_cli.engine.jobfiles.matching import Matched
from jobrunner_cli.engine.states import TABLE, StatusCode
from jobrunner_cli.engine.work import (
    ContainerDetail,
    JobDefinition,
    Outcome,
    StoredOutput,
    quote_names,
    size_text,
)

#: What the exit codes of a database job mean (section 4).
DATABASE_EXIT_CODES = {
    3: "a transient database error; run the action again",
    4: "new data is being imported into the database; run the action again later",
    5: "something went wrong with the database; contact support",
}

#: What a shell, and the init process of a container, mean by these.
_SHELL_CODES = {126: "usually a command that cannot be executed", 127: "usually a command that is not there"}

_KILLED = 137
#: What stands for the code of a container that has ended without one.
_UNKNOWN = 255


def judge(
    job: JobDefinition,
    detail: ContainerDetail,
    matched: Matched,
    outputs: Sequence[StoredOutput],
    *,
    ended_for: str | None = None,
    finalized_at: int,
    mask: Callable[[str], str],
) -> Outcome:
    """The outcome of a job whose container has ended by itself, or was ended by the runner (`ended_for` says why)."""
    exit_code = _UNKNOWN if detail.exit_code is None else detail.exit_code
    code, message, advice = _verdict(job, detail, matched, outputs, exit_code, ended_for)
    return Outcome(
        code=code,
        message=mask(message),
        advice=mask(advice) if advice else None,
        pointer=f"its log says more: jobrunner jobs logs {job.id}" if exit_code != 0 and ended_for is None else None,
        exit_code=exit_code,
        image_id=detail.image_id,
        outputs=tuple(outputs),
        unmatched_patterns=matched.unmatched_patterns,
        unmatched_outputs=matched.unmatched_files,
        refused=matched.refused,
        finalized_at=finalized_at,
        container_metadata=detail.metadata,
    )


def _verdict(
    job: JobDefinition,
    detail: ContainerDetail,
    matched: Matched,
    outputs: Sequence[StoredOutput],
    exit_code: int,
    ended_for: str | None,
) -> tuple[StatusCode, str, str | None]:
    if ended_for is not None:
        advice = "what its patterns matched is stored; have it take less, or ask for a higher limit"
        return StatusCode.NONZERO_EXIT, f"Job was ended: {ended_for}", advice
    if exit_code != 0:
        reason = _reason(job, detail, exit_code)
        less = "have it hold less in memory at once, or have DEFAULT_JOB_MEMORY_LIMIT raised"
        message = f"Job exited with an error: {reason}"
        return StatusCode.NONZERO_EXIT, message, less if detail.out_of_memory else None
    if matched.unmatched_patterns:
        message = f"No outputs found matching patterns: {quote_names(matched.unmatched_patterns, most=10)}"
        return StatusCode.UNMATCHED_PATTERNS, message, _advice_on_unmatched(matched)
    held_back = sum(1 for output in outputs if output.excluded)
    if held_back:
        files = "1 file was" if held_back == 1 else f"{held_back} files were"
        message = f"{TABLE[StatusCode.SUCCEEDED].message}, but {files} held back from the medium privacy store"
        return StatusCode.SUCCEEDED, message, "the log and the .txt file in place of each say why"
    return StatusCode.SUCCEEDED, TABLE[StatusCode.SUCCEEDED].message, None


def _reason(job: JobDefinition, detail: ContainerDetail, exit_code: int) -> str:
    if detail.out_of_memory:
        return f"ran out of memory (limit {size_text(job.memory_limit)})"
    if exit_code == _KILLED:
        return "it was killed, by an operator or because it reached a memory limit (exit code 137)"
    if job.requires_db and exit_code in DATABASE_EXIT_CODES:
        return f"{DATABASE_EXIT_CODES[exit_code]} (exit code {exit_code})"
    meaning = _SHELL_CODES.get(exit_code)
    return f"exit code {exit_code} ({meaning})" if meaning else f"exit code {exit_code}"


def _advice_on_unmatched(matched: Matched) -> str:
    if matched.refused:
        refused = [f"{path} ({reason})" for path, reason in matched.refused.items()]
        return f"these could not be taken: {quote_names(refused, most=5)}"
    if matched.unmatched_files:
        return f"files that it made and no pattern matches: {quote_names(matched.unmatched_files, most=10)}"
    return "the command made no new files"
