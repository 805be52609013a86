"""Slips in the YAML itself: the place of the mistake, and a plain sentence that says what to do."""

from __future__ import annotations

import pytest

from jobrunner_cli.engine.study.reader import read

TAIL = "".join(f"  line{n}: x\n" for n in range(40))


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        (f'a:\n  run: "python:v1 x\n{TAIL}', 2, 8, "the quote that is opened here is never closed"),
        (f"a:\n  run: 'python:v1 x\n{TAIL}", 2, 8, "the quote that is opened here is never closed"),
        ("a: 'b\n...\n", 1, 4, "the quote that is opened here is never closed"),
        ("a: b\nc: [d,\n  e\n", 2, 4, "the `[` that is opened here is never closed"),
        ("a: b\nc: {d: e,\n\n\n", 2, 4, "the `{` that is opened here is never closed"),
        ("a: {b: [c, ", 1, 8, "the `[` that is opened here is never closed"),
        ("a: [b, , c]\n", 1, 8, 'text that begins with "," must be in quotes'),
        ("a: [b\nc: d\n", 2, 2, "a comma or `]` is missing before this; the `[` is opened in line 1"),
        ("a: {b: c\nd: e\n", 2, 2, "a comma or `}` is missing before this; the `{` is opened in line 1"),
        ('a: "b\nc: "d"\n', 2, 5, "the quote that is opened in line 1 ends here; close it where its text ends"),
        ("a: 'it's'\n", 1, 8, "there is text after the closing quote; put the whole value in quotes of the other kind"),
        ("run: python:v1 a: b\n", 1, 17, "a second `: ` in one line; put the whole value in quotes"),
        ("- a: b: c\n", 1, 7, "a second `: ` in one line; put the whole value in quotes"),
        (
            "a:\n  b: 1\n   c: 2\n",
            3,
            5,
            "a key cannot begin here; indent it like the keys beside it, or put the value above in quotes",
        ),
        (
            "a:\n  b: 1\n c: 2\n",
            3,
            2,
            "wrong indentation: from line 1 on, what is around it begins in column 1; indent this line like those that it belongs to",
        ),
        ("a: b\n- c\n", 2, 1, "a list's item among keys (from line 1 on); put it below its own key"),
        (
            "a:\n  - b\n  c: d\n",
            3,
            3,
            "a key among the items of a list (from line 2 on); indent it like what it belongs to",
        ),
        (
            "a: - b\n",
            1,
            4,
            "a list cannot begin in the line of its key; begin it in the next one, or put the value in quotes",
        ),
        (
            "a: b\nc\nd: e\n",
            2,
            1,
            (
                "neither a key nor a part of the value above; write `: ` after a key, indent a value's further lines,"
                " or put text in quotes"
            ),
        ),
        ("a: {b: c}}\n", 1, 10, "this `}` closes or parts nothing; remove it, or put the whole value in quotes"),
        *((f"a: {sign}b\n", 1, 4, f'text that begins with "{sign}" must be in quotes') for sign in "%@`]},"),
        ("a: * b\n", 1, 4, "text that begins with `*` must be in quotes"),
        ("a: &\n", 1, 4, "text that begins with `&` must be in quotes"),
        ('a: "\\d"\n', 1, 6, "`\\d` means nothing in double quotes; write `\\\\d`, or use single quotes"),
        ("a: |b\n  c\n", 1, 5, "text after `|` or `>` begins in the next line; put other text in quotes"),
        ("a: > b\n  c\n", 1, 6, "text after `|` or `>` begins in the next line; put other text in quotes"),
        ('a: !b"c\n', 1, 4, "text that begins with `!` must be in quotes"),
        (
            "  a: b\nc: d\n",
            2,
            1,
            (
                "wrong indentation: what is above this line is indented further; the keys at the top of a file all begin"
                " in one column"
            ),
        ),
        ("'a' 'b'\n", 1, 5, "one value ends before this; put the whole in quotes, or begin a new line"),
        ("a:\n\tb: 1\n", 2, 1, "a tab where only spaces may stand"),
    ],
)
def test_usual_slips_are_said_plainly_and_where_they_are(text: str, line: int, column: int, message: str) -> None:
    document = read(text.encode())
    assert document.root is None
    assert [(found.line, found.column, found.message) for found in document.problems] == [
        (line, column, f"not valid YAML: {message}")
    ]


def test_a_wildcard_without_quotes_is_recognised() -> None:
    (problem,) = read(b"a: *.csv\n").problems
    assert problem.message.endswith("text that begins with `*` must be in quotes")


@pytest.mark.parametrize(
    "text", ["a: !", "a: !x!y z\n", "%YAML 3.0\n---\n", "a: !<x b\n\n\n", "- ? \n  !<", '"', "[", "{a", "|x"]
)
def test_whatever_is_wrong_the_line_exists_and_has_something_in_it(text: str) -> None:
    lines = text.split("\n")
    for problem in read(text.encode()).problems:
        assert problem.line is not None
        assert lines[problem.line - 1].strip()
