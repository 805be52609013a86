"""Whatever a file holds, the answer is a pipeline or one error that lists its problems, and it comes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner_cli.engine.errors import ProjectValidationError
from jobrunner_cli.engine.study.pipeline import Pipeline, read_pipeline

pytestmark = pytest.mark.slow

CORPUS = Path(__file__).parents[1] / "corpus"
FILES = [file.read_bytes() for file in sorted(CORPUS.glob("*/*.yaml"))]
SIGNS = [
    *"\t\n\r :-#\"'[]{}&*|>%@`!?,.~=<\\1\0é",
    "<<: ",
    "*a",
    "&a ",
    "---\n",
    "!!int ",
    "2020-01-01",
    "\u2028",
    "__",
    "v1",
]
WORDS = [*SIGNS, "version", "actions", "outputs", "run", "needs", "config", "highly_sensitive", "python:v1", "a", "4"]


def answer(content: bytes) -> Pipeline | ProjectValidationError:
    try:
        pipeline = read_pipeline(content)
    except ProjectValidationError as error:
        heading, *lines = error.message.split("\n")
        assert heading.startswith("project.yaml has ")
        assert lines
        assert all(line.startswith("  ") and line.isprintable() for line in lines)
        error.message.encode()
        return error
    assert sorted(pipeline.run_all_order) == sorted({*pipeline.all_actions, *pipeline.run_all_order})
    for action in pipeline.actions.values():
        assert action.command(dummy_data=True).encode()
        assert action.command(dummy_data=False).encode()
    return pipeline


@given(st.binary(max_size=300))
def test_any_bytes(content: bytes) -> None:
    answer(content)


@given(st.text(max_size=200), st.sampled_from(["utf-8", "utf-16", "utf-8-sig", "latin-1"]))
def test_any_text(text: str, encoding: str) -> None:
    answer(text.encode(encoding, errors="ignore"))


@given(st.lists(st.sampled_from([*WORDS, " ", "\n", "\n  ", "\n    ", ": "]), max_size=60).map("".join))
def test_any_heap_of_yaml(text: str) -> None:
    answer(text.encode())


VALUES = st.recursive(
    st.sampled_from(
        ["~", "true", "1", "1.5", ".nan", "2020-01-01", "''", "a", "python:v2 x", "a.csv", "[a]", "0x" + "f" * 900]
    ),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(st.sampled_from([*WORDS[-10:], "1", "~", "'b'"]), inner, max_size=4).map(
            lambda items: f"{{{', '.join(f'{key}: {value}' for key, value in items.items())}}}"
        )
    ),
    max_leaves=12,
)


@given(
    version=st.sampled_from("12345"),
    action=st.dictionaries(
        st.sampled_from(["run", "outputs", "needs", "config", "dummy_data_file", "other"]), VALUES, max_size=6
    ),
    expectations=VALUES,
)
def test_any_types_in_any_place(version: str, action: dict[str, str], expectations: str) -> None:
    body = ", ".join(f"{key}: {value}" for key, value in action.items())
    answer(f"version: {version}\nexpectations: {expectations}\nactions:\n  a: {{{body}}}\n".encode())


@given(
    content=st.sampled_from(FILES),
    edits=st.lists(st.tuples(st.floats(0, 1), st.sampled_from(SIGNS), st.integers(0, 12)), min_size=1, max_size=5),
)
def test_any_small_change_of_a_real_file(content: bytes, edits: list[tuple[float, str, int]]) -> None:
    for where, sign, removed in edits:
        position = int(where * len(content))
        content = content[:position] + sign.encode() + content[position + removed :]
    answer(content)


def laughs(key: bytes) -> bytes:
    lines = [b"l0: &l0 [" + b"lol," * 10 + b"]"]
    lines += [b"l%d: &l%d [" % (n, n) + b"*l%d," % (n - 1) * 10 + b"]" for n in range(1, 9)]
    return b"\n".join([b"version: 4", *lines, key + b": *l8"])


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(laughs(b"actions"), id="a billion laughs"),
        pytest.param(
            b"a: &a {x: 1}\n" + b"".join(b"b%d: &a {<<: [*a, *a], k: 1}\n" % n for n in range(60)), id="merges"
        ),
        pytest.param(b"[" * 6000, id="open brackets"),
        pytest.param(b"\t" + b"[" * 1_000_000, id="a million open brackets"),
        pytest.param(b"- " * 300_000, id="dashes"),
        pytest.param(b"? " * 300_000, id="question marks"),
        pytest.param(b"x" * 200_000, id="a long word"),
        pytest.param(b"9" * 200_000, id="a long number"),
        pytest.param(b"version: 4\nactions:\n  a: {run: " + b"x" * 200_000 + b"}", id="a long command"),
        pytest.param(b"version: " + b"1_" * 49_000 + b"x", id="nearly a number"),
        pytest.param(b"version: 2020-01-01 " + b" " * 90_000 + b"x", id="nearly a date"),
        pytest.param(b'version: 4\nactions: {"' + b"a " * 45_000 + b'!": 1}', id="nearly a name"),
        pytest.param(b"version: 4\nactions: {" + b"a: {needs: [b]}," * 9_000 + b"}", id="duplicates"),
        pytest.param(
            b"version: 4\nactions:\n" + b"".join(b"  a%d: {needs: [b%d]}\n" % (n, n) for n in range(9_000)),
            id="unknown needs",
        ),
        pytest.param(
            b"version: 4\nx: &n [" + b",".join(b"a%d" % n for n in range(300)) + b"]\nactions:\n"
            b"" + b"".join(b"  a%d: {needs: *n}\n" % n for n in range(300)),
            id="everything needs everything",
        ),
        pytest.param(b"version: 4\nactions: {}\nexpectations: '" + b"9" * 99_000 + b"'", id="a long text of digits"),
        pytest.param(
            b"version: 3\nactions: {}\nexpectations: {population_size: '" + b"9" * 99_000 + b"'}", id="a population"
        ),
    ],
)
@pytest.mark.timeout(30)
def test_hostile_files_are_refused(content: bytes) -> None:
    assert isinstance(answer(content), ProjectValidationError)


def test_thousands_of_problems_make_a_message_that_can_be_read() -> None:
    content = b"version: 4\nactions:\n" + b"".join(b"  a%d: 1\n" % n for n in range(5_000))
    error = answer(content)
    assert isinstance(error, ProjectValidationError)
    assert error.message.startswith("project.yaml has 5,000 problems:\n")
    assert error.message.endswith("\n  and 4,800 more")
