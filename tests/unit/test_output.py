"""How results are laid out: tables in any width, and times and sizes as people say them."""

from __future__ import annotations

import io
import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner_cli import output
from jobrunner_cli.output import Column, Line, ago, beginning, display_width, duration, one_line, size, utc


def text_of(line: Line) -> str:
    return "".join(text for text, _ in line)


def width_of(text: str) -> int:
    letters = (char for char in text if not unicodedata.combining(char))
    return sum(2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1 for char in letters)


COLUMNS = [
    Column(title="ID", value=lambda row: row[0], yields=3, least=4, prefix=True),
    Column(title="NAME", value=lambda row: row[1], yields=4, least=6),
    Column(title="AGE", value=lambda row: row[2], right=True, yields=2),
    Column(title="MESSAGE", value=lambda row: row[3], optional=True, yields=1),
]
ROWS = [("abcdefgh", "a_long_name", "3h 10m", "something went wrong"), ("ijklmnop", "b", "1s", "")]


def shown(width: int | None) -> list[str]:
    return [text_of(line) for line in output.lines(ROWS, COLUMNS, width)]


def test_columns_are_as_wide_as_their_widest_cell():
    assert shown(None) == [
        "ID        NAME            AGE  MESSAGE",
        "abcdefgh  a_long_name  3h 10m  something went wrong",
        "ijklmnop  b                1s",
    ]


def test_columns_give_way_in_their_order():
    assert shown(51) == shown(None)
    assert shown(45)[1] == "abcdefgh  a_long_name  3h 10m  something wen…"
    assert shown(38)[1] == "abcdefgh  a_long_name  3h 10m"
    assert shown(28)[1] == "abcdefgh  a_long_name"
    assert shown(20)[1] == "abcdefg  a_long_name"
    assert shown(17)[1] == "abcd  a_long_name"
    assert shown(14)[1] == "abcd  a_long_…"
    # Less than this they cannot give.
    assert shown(3)[1] == "abcd  a_lon…"


def test_column_that_no_row_fills_is_left_out_if_it_may_be():
    assert text_of(output.lines(ROWS[1:], COLUMNS, None)[0]) == "ID        NAME  AGE"


@given(
    st.lists(
        st.tuples(st.text(max_size=30), st.text(max_size=30), st.text(max_size=8), st.text(max_size=60)), min_size=1
    ),
    st.integers(12, 120),
)
def test_no_line_is_wider_than_the_terminal_or_ends_in_blanks(rows: list[tuple[str, str, str, str]], width: int):
    made = [text_of(line) for line in output.lines(rows, COLUMNS, width)]
    assert len(made) == len(rows) + 1
    assert all(width_of(text) <= width for text in made)
    assert all(text == text.rstrip(" ") for text in made)
    assert all("\n" not in text and "\x1b" not in text for text in made)


@given(st.dictionaries(st.text(), st.lists(st.text())), st.sampled_from([None, 2]))
def test_json_is_what_it_was_made_of_and_nothing_that_a_terminal_obeys(value: dict[str, list[str]], indent: int | None):
    text = output.json_text(value, indent=indent)
    assert json.loads(text) == value
    assert all(char.isprintable() or char == "\n" for char in text)


@pytest.mark.parametrize("char", ["\x1b", "\x7f", "\x9b", "\u202e", "\u2028", "\U000e0001", "\udce9"], ids=ascii)
def test_json_escapes_what_cannot_be_seen(char: str):
    text = output.json_text(f"né 日本 {char}")
    assert text.isprintable()
    assert "né 日本" in text
    assert json.loads(text) == f"né 日本 {char}"


def test_json_stays_json_where_the_encoding_lacks_characters(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding="latin-1"))
    text = output.json_text("é… 😀")
    assert text.isascii()
    assert json.loads(text) == "é… 😀"


def test_text_is_folded_between_words_that_stay_whole():
    text = "jobrunner jobs resume --workspace a-rather-long-name-of-a-workspace ends that"
    assert output.fold(text, 24) == [
        "jobrunner jobs resume",
        "--workspace",
        "a-rather-long-name-of-a-workspace",
        "ends that",
    ]
    assert output.fold(text, None) == output.fold(text, 10) == output.fold(text, 200) == [text]


def test_wide_characters_are_folded_by_the_columns_that_they_take():
    text = "the file 日本語の名前のファイル.csv is empty, 日本語日本語日本語 and what followed it"
    made = output.fold(text, 24)
    assert all(width_of(line) <= 24 for line in made)
    assert made[0] == "the file 日本語の名前の"
    assert made[1] == "ファイル.csv is empty,"


def test_words_that_are_longer_than_a_line_fill_it_and_go_on_where_nothing_may_be_wider():
    text = "at 0123456789abcdefghijklmnopqrstuvwxyz and on"
    assert output.fold(text, 24, whole_words=False) == ["at 0123456789abcdefghijk", "lmnopqrstuvwxyz and on"]
    assert output.fold("a \u6587b", 1, whole_words=False) == ["a", "\u6587", "b"]


@given(text=st.text("ab \u6587e\u0301", max_size=60), width=st.integers(2, 60))
def test_folding_that_cuts_words_loses_nothing_and_makes_lines_that_fit(text: str, width: int):
    made = output.fold(text.strip(), width, whole_words=False)
    assert "".join("".join(made).split()) == "".join(text.split())
    assert all(width_of(line) <= width for line in made)


@given(st.lists(st.text(st.characters(categories=["L", "N", "P", "Mn"]), min_size=1, max_size=10)), st.integers(20, 60))
def test_folding_loses_nothing_and_makes_lines_that_fit(words: list[str], width: int):
    made = output.fold(" ".join(words), width)
    assert "".join("".join(made).split()) == "".join(words)
    assert all(width_of(line) <= width for line in made)


def test_wide_characters_take_two_columns():
    rows = [("a", "日本語日本語日本語", "1s", ""), ("b", "plain", "1s", "")]
    made = [text_of(line) for line in output.lines(rows, COLUMNS, 16)]
    assert made[1] == "a   日本語日本…"
    assert made[2] == "b   plain"


@given(text=st.text(alphabet="ab漢字é\u0301 ", max_size=30), width=st.integers(-2, 40))
def test_beginning_is_all_that_fits(text: str, width: int):
    found = beginning(text, width)
    assert text.startswith(found)
    assert display_width(found) <= max(0, width)
    assert found == text or display_width(text[: len(found) + 1]) > width


def test_long_texts_of_wide_characters_are_cut():
    (_, line) = output.lines([("漢" * 100_000,)], [Column(title="MESSAGE", value=lambda row: row[0], yields=1)], 40)
    assert text_of(line) == "漢" * 19 + "…"


def test_styles_go_with_their_cells():
    columns = [Column(title="A", value=str, style=lambda row: "green" if row else "")]
    assert output.lines([1, 0], columns, None) == [[("A", "bold")], [("1", "green")], [("0", "")]]


@given(st.text())
def test_one_line_has_nothing_that_a_terminal_obeys(text: str):
    kept = one_line(text)
    assert len(kept) == len(text)
    assert all(char.isprintable() for char in kept)


def test_bytes_of_file_names_that_are_not_text_are_kept():
    assert one_line("caf\udce9\n") == "caf\udce9 "


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-5, "0s"),
        (0.9, "0s"),
        (59.9, "59s"),
        (60, "1m 00s"),
        (3599, "59m 59s"),
        (3600, "1h 00m"),
        (86399, "23h 59m"),
        (86400, "1d 0h"),
        (30 * 86400 + 7200, "30d 2h"),
    ],
)
def test_durations_as_people_say_them(seconds: float, said: str):
    assert duration(seconds) == said
    assert ago(1000.0, now=1000.0 + seconds) == said


def test_times_that_are_not_known_are_nothing():
    assert ago(None) == ""
    assert utc(None) is None
    assert utc(1_700_000_000.9) == "2023-11-14T22:13:20Z"


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1.5 * 2**20, "1.5 MiB"),
        (2**30, "1.0 GiB"),
        (2**42, "4096.0 GiB"),
    ],
)
def test_sizes_as_people_say_them(count: float, said: str):
    assert size(count) == said


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("python:v2 python x.py --n 3", "python:v2 python x.py --n 3"),
        ("""r:latest -e 'print('"'"'a b'"'"')'""", """r:latest -e "print('a b')\""""),
        ("""sh -c 'echo $HOME'""", """sh -c 'echo $HOME'"""),
        ("""sh -c 'echo '"'"'$HOME'"'"''""", """sh -c 'echo '"'"'$HOME'"'"''"""),
        ("not 'closed", "not 'closed"),
    ],
)
def test_command_is_quoted_for_people_and_means_the_same(stored: str, shown: str):
    assert output.command(stored) == shown
