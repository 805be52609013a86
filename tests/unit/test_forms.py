"""Sizes are read and shown exactly, whatever they are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jobrunner_cli.engine.forms import MalformedError, format_size, parse_size


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_any_size_is_shown_so_that_it_is_read_back(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(
    st.integers(min_value=0, max_value=10**6),
    st.sampled_from(["k", "m", "g"]),
    st.sampled_from(["", "b", "ib", "B", "iB"]),
)
def test_units_are_powers_of_1024_in_any_case_and_with_any_ending(number: int, unit: str, ending: str) -> None:
    expected = number * 1024 ** ("kmg".index(unit) + 1)
    assert parse_size(f"{number}{unit}{ending}") == parse_size(f"{number}{unit.upper()}{ending}") == expected
    assert parse_size(f"{number}.5{unit}") == expected + 1024 ** ("kmg".index(unit) + 1) // 2


@given(st.text())
def test_any_text_is_a_size_or_is_malformed(text: str) -> None:
    try:
        assert 0 <= parse_size(text) < 2**63
    except MalformedError:
        pass
