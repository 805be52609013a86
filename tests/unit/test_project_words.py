"""Splitting a command: the same words and the same refusals as the standard library's POSIX rules."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobrunner_cli.engine.study.words import UnbalancedError, split_words


@given(st.text(alphabet="ab \t\n\r'\"\\\x0b\xa0é#$", max_size=16))
@example("a\\\nb")
@example('"a\\b\\"c\\\\"')
@example("'' \"\" x''y")
@example('"\\')
@example("'\\")
@example("a\\")
def test_words_are_those_of_the_standard_library(text: str) -> None:
    try:
        expected = tuple(shlex.split(text))
    except ValueError as error:
        reason = "a lone `\\`" if "escaped" in str(error) else "never closed"
        with pytest.raises(UnbalancedError, match=reason.replace("\\", "\\\\")):
            split_words(text)
    else:
        assert split_words(text) == expected


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", ['"', "'", "\\", '"a', "'a", '\\"', '"\\', "a ", "' \""])
def test_long_commands_are_split_in_time(piece: str) -> None:
    try:
        split_words(piece * 40_000 + '"')
    except UnbalancedError:
        pass
