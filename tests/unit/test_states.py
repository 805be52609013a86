"""The state table holds every edge of the specified diagram, and no other than those that are meant."""

from itertools import product

import pytest

from jobrunner_cli.engine.errors import IllegalTransitionError
from jobrunner_cli.engine.states import (
    ACTIVE_CODES,
    TABLE,
    Legend,
    State,
    StatusCode,
    is_legal,
    require_legal,
    says_more,
    state_of,
    time_effects,
)

C = StatusCode
PENDING = {
    C.CREATED,
    C.WAITING_ON_DEPENDENCIES,
    C.WAITING_ON_WORKERS,
    C.WAITING_ON_DB_WORKERS,
    C.WAITING_ON_REBOOT,
    C.WAITING_DB_MAINTENANCE,
    C.WAITING_PAUSED,
}
RUNNING = {C.PREPARING, C.PREPARED, C.EXECUTING, C.EXECUTED, C.FINALIZING, C.FINALIZED}
VERDICTS = {C.SUCCEEDED, C.NONZERO_EXIT, C.UNMATCHED_PATTERNS}
ANY_TIME = {C.INTERNAL_ERROR, C.CANCELLED_BY_USER, C.KILLED_BY_ADMIN}


def expected_edges() -> set[tuple[StatusCode, StatusCode]]:
    """The edges, put together another way than in the table: by rules, as they are specified."""
    edges = {(a, b) for a, b in product(PENDING, PENDING) if a is not b}
    edges |= {(a, b) for a in PENDING for b in {C.PREPARING, C.DEPENDENCY_FAILED}}
    edges |= {(C.CREATED, C.STALE_CODELISTS), (C.CREATED, C.SUCCEEDED)}
    edges |= set(product(PENDING | RUNNING, ANY_TIME))
    edges |= set(product(RUNNING, {C.WAITING_ON_REBOOT, C.WAITING_DB_MAINTENANCE}))
    edges |= {(C.PREPARING, C.PREPARED), (C.PREPARED, C.EXECUTING), (C.PREPARING, C.EXECUTING)}
    edges |= {(C.EXECUTING, C.EXECUTED), (C.EXECUTED, C.FINALIZING), (C.EXECUTING, C.FINALIZING)}
    edges |= {(C.FINALIZING, C.FINALIZED)} | set(product({C.FINALIZING, C.FINALIZED}, VERDICTS))
    edges |= {(C.INTERNAL_ERROR, C.EXECUTED)}
    return edges


@pytest.mark.parametrize(("before", "after"), list(product(C, C)))
def test_every_pair_of_codes_is_legal_exactly_if_it_is_an_edge(before, after):
    edge = (before, after) in expected_edges()
    assert is_legal(before, after) is edge
    if edge:
        require_legal([before, after])
    else:
        with pytest.raises(IllegalTransitionError):
            require_legal([before, after])


def test_codes_are_told_apart_by_their_words():
    for words in ([entry.word for entry in TABLE.values()], [entry.short for entry in TABLE.values()]):
        assert len(set(words)) == len(TABLE)
        assert not [word for word in words if "_" in word]
    assert max(len(entry.short) for entry in TABLE.values()) <= 12


@pytest.mark.parametrize(
    ("code", "message", "more"),
    [
        (C.WAITING_ON_WORKERS, "Waiting on available workers", ""),
        (C.WAITING_ON_WORKERS, "Waiting for space: 1 GiB free", "Waiting for space: 1 GiB free"),
        (C.WAITING_DB_MAINTENANCE, "Waiting for database maintenance to finish", ""),
        (C.WAITING_ON_DEPENDENCIES, "Waiting on dependencies", ""),
        (C.DEPENDENCY_FAILED, "Not starting as dependency failed", ""),
        (C.KILLED_BY_ADMIN, "Killed by an administrator", ""),
        (C.EXECUTING, "Executing", ""),
        (C.SUCCEEDED, "Completed successfully", ""),
        (C.SUCCEEDED, "Completed successfully, but 1 file was held back\nmore", "Completed successfully, but 1 file was held back"),
        (C.NONZERO_EXIT, "nonzero exit", ""),
        (C.CREATED, None, ""),
    ],
)  # fmt: skip
def test_a_message_is_told_where_it_says_more_than_the_code(code, message, more):
    assert says_more(code, message) == more


DIAGRAM = """
created: preparing waiting_on_dependencies waiting_on_workers waiting_on_reboot waiting_db_maintenance paused \
stale_codelists succeeded
waiting_on_dependencies: waiting_on_workers waiting_on_reboot waiting_db_maintenance preparing dependency_failed
paused: preparing
waiting_on_workers: preparing
waiting_on_reboot: preparing
waiting_db_maintenance: preparing
preparing: executing
executing: finalizing
finalizing: succeeded nonzero_exit unmatched_patterns
"""


@pytest.mark.parametrize("line", DIAGRAM.split("\n")[1:-1])
def test_the_edges_of_the_original_diagram_are_there(line):
    before, _, following = line.partition(": ")
    for after in following.split():
        assert is_legal(StatusCode(before), StatusCode(after)), f"{before} -> {after}"


@pytest.mark.parametrize("code", [code for code in C if code in ACTIVE_CODES])
@pytest.mark.parametrize("end", sorted(ANY_TIME))
def test_every_unfinished_code_can_be_ended_from_outside(code, end):
    assert is_legal(code, end)


def test_a_path_with_one_illegal_step_is_refused_whole():
    with pytest.raises(IllegalTransitionError, match="executed -> succeeded"):
        require_legal([C.EXECUTING, C.EXECUTED, C.SUCCEEDED])


def test_table_has_every_code_with_a_state_and_a_legend_that_fit():
    assert set(TABLE) == set(C)
    for code, entry in TABLE.items():
        assert (entry.legend is Legend.ERROR) == (entry.state is State.FAILED), code
        if entry.legend is Legend.BLOCKED:
            assert entry.state is State.PENDING
    assert ACTIVE_CODES == PENDING | RUNNING


def test_starting_sets_started_and_falling_back_clears_it():
    assert time_effects(C.WAITING_ON_WORKERS, C.PREPARING).sets_started
    assert not time_effects(C.PREPARING, C.EXECUTING).sets_started
    assert time_effects(C.EXECUTING, C.WAITING_ON_REBOOT).clears_started
    assert time_effects(C.EXECUTING, C.WAITING_DB_MAINTENANCE).clears_started


@pytest.mark.parametrize("code", [code for code in C if state_of(code) in {State.SUCCEEDED, State.FAILED}])
def test_ending_sets_completed(code):
    assert time_effects(C.EXECUTING, code).sets_completed


def test_retrying_clears_completed():
    assert time_effects(C.INTERNAL_ERROR, C.EXECUTED).clears_completed
