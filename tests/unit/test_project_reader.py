"""YAML as studies write it: the 1.2 core schema, encodings, duplicate keys, aliases, limits, and places."""

from __future__ import annotations

import codecs
from typing import Any

import pytest

from jobrunner_cli.engine.study.problems import Timestamp
from jobrunner_cli.engine.study.reader import ListNode, MappingNode, Node, read


def plain(node: Node | None) -> Any:
    """A node as plain data, mappings as lists of pairs so that their order shows."""
    match node:
        case MappingNode():
            return [(plain(key), plain(value)) for key, value in node.entries]
        case ListNode():
            return [plain(item) for item in node.items]
        case None:
            return None
    return node.value


def value_of(text: str) -> Any:
    document = read(f"key: {text}\n".encode())
    assert document.problems == ()
    ((_, value),) = plain(document.root)
    return value


def problems_of(content: bytes | str) -> list[str]:
    document = read(content.encode() if isinstance(content, str) else content)
    return [str(problem) for problem in document.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((word, word) for word in ("yes", "no", "on", "off", "y", "Yes", "NO", "nULL", "tRUE", "12:30", "1:2:3", "=")),
        *((word, True) for word in ("true", "True", "TRUE")),
        *((word, False) for word in ("false", "False", "FALSE")),
        *((word, None) for word in ("", "~", "null", "Null", "NULL")),
        *(
            ("010", 10),
            ("08", 8),
            ("0o10", 8),
            ("0x1F", 31),
            ("1_000", 1000),
            ("0b11", 3),
            ("-12", -12),
            ("+3", 3),
            ("-_1", -1),
        ),
        *(
            ("1e3", 1000.0),
            ("1.5", 1.5),
            (".5", 0.5),
            ("5.", 5.0),
            ("._5", 0.5),
            ("-1.5e-3", -0.0015),
            ("1_000.5", 1000.5),
        ),
        *((".inf", float("inf")), ("-.INF", float("-inf")), ("4.0", 4.0)),
        *(("'12'", "12"), ('"true"', "true"), ("!!str 12", "12"), ('!!int "12"', 12), ("!!float 1", 1.0)),
        *(("0b12", "0b12"), ("0o8", "0o8"), ("_1", "_1"), ("1.2.3", "1.2.3"), (".", "."), ("+", "+")),
        *(("2020-01-01", Timestamp("2020-01-01")), ("2020-1-1", "2020-1-1"), ("'2020-01-01'", "2020-01-01")),
        ("2020-01-01T10:00:00Z", Timestamp("2020-01-01T10:00:00Z")),
    ],
)
def test_words_mean_what_they_do_in_yaml_1_2(text: str, value: object) -> None:
    got = value_of(text)
    assert got == value
    assert type(got) is type(value)


def test_not_a_number_is_a_float() -> None:
    value = value_of(".nan")
    assert isinstance(value, float)
    assert value != value


def test_a_directive_of_one_file_does_not_reach_another() -> None:
    assert plain(read(b"%YAML 1.1\n---\na: yes\n").root) == [("a", "yes")]
    assert plain(read(b"%YAML 1.1\n---\na: 010\n").root) == [("a", 10)]
    assert plain(read(b"%TAG ! tag:example.org,2002:\n---\na: b\n").root) == [("a", "b")]
    assert plain(read(b"a: yes\nb: 010\n").root) == [("a", "yes"), ("b", 10)]
    assert problems_of("a: !x b\n") == ["line 1: the tag !x is not allowed"]


@pytest.mark.parametrize(
    "content",
    [
        "key: é\n".encode(),
        codecs.BOM_UTF8 + "key: é\n".encode(),
        "key: é\n".encode("utf-16"),
        codecs.BOM_UTF16_LE + "key: é\r\n".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "key: é\n".encode("utf-16-be"),
        "key: é\r\n".encode(),
        "---\nkey: é\n...\n".encode(),
        '{"key": "é"}'.encode(),
    ],
)
def test_encodings_and_line_ends(content: bytes) -> None:
    document = read(content)
    assert document.problems == ()
    assert plain(document.root) == [("key", "é")]


def test_line_separators_of_unicode_are_text() -> None:
    assert plain(read("a: b\u2028c # d\u2029e\nf: g\n".encode()).root) == [("a", "b\u2028c"), ("f", "g")]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the file is empty"),
        (b"# nothing\n", "the file is empty"),
        (b"a: b\nc: \xff\n", "line 2: the file is not UTF-8 text (byte 9 cannot be read)"),
        (codecs.BOM_UTF16_LE + b"a", "the file is not UTF-16 text (byte 3 cannot be read)"),
        ("a: b\n".encode("utf-16-le"), "line 1: the character U+0000 may not be in a YAML file"),
        (b"a: b\nc: \x1b[31m\n", "line 2: the character U+001B may not be in a YAML file"),
        (
            b"a: *b\n",
            'line 1: nothing before this has the anchor that the alias "b" names; text that begins with `*` must be in quotes',
        ),
        (b"a: &b\n  - *b\n", 'line 2: the alias "b" stands for something that contains it'),
        (b"a: 1\n---\nb: 2\n", "line 2: a second document begins here; the file must hold one"),
        (b"a:\n\tb: 1\n", "line 2: not valid YAML: a tab where only spaces may stand"),
        (b"a:\t1\n", "line 1: not valid YAML: a tab where only spaces may stand"),
        (
            b"a: 1\n<<<<<<< HEAD\nb: 2\n",
            "line 2: an unresolved merge conflict of git: keep one side and remove the markers",
        ),
        (b"a: !!python/name:os.system x\n", "line 1: the tag !!python/name:os.system is not allowed"),
        (b"a: !!set {b, c}\n", "line 1: the tag !!set is not allowed"),
        (b"a: !!int x\n", 'line 1: the tag !!int does not go with "x"'),
        (b"? [a, b]\n: c\n", "line 1: a key must be text, not a list or a mapping"),
        (b"<<: 1\n", 'line 1: "<<" takes a mapping or a list of mappings'),
        (b"a: " + b"9" * 1001, "line 1: a number of 1,001 characters; the most is 1,000"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_line(content: bytes, problem: str) -> None:
    assert problems_of(content) == [problem]


def test_half_a_surrogate_pair_is_refused() -> None:
    document = read(b'a: "\\ud800"\n')
    assert len(document.problems) == 1
    assert "\ud800" not in str(document.problems[0])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"hi \\ud83d\\ude00"', "hi \U0001f600"),
        ('"\\uD83D\\uDE00\\ud83d\\ude00"', "\U0001f600\U0001f600"),
        ('"\\ud83d\\ude00 \\u00e9"', "\U0001f600 é"),
    ],
)
def test_a_character_may_be_written_as_json_does_in_two_escapes(text: str, value: str) -> None:
    assert value_of(text) == value


@pytest.mark.parametrize("text", ['"\\ude00\\ud83d"', '"\\ud83d \\ude00"', '"\\ud83d\\ude00\\ud83d"'])
def test_escapes_that_make_no_pair_are_refused(text: str) -> None:
    (problem,) = problems_of(f"key: {text}\n")
    assert problem.startswith("line 1: half of a surrogate pair is not a character")


@pytest.mark.parametrize("name", ["v1.0", "défaut", "a/b", "x:y", "a@b!", "-", "1", "日本"])
def test_anchors_may_have_any_characters(name: str) -> None:
    assert plain(read(f"a: &{name} 1\nb: [*{name}, *{name}]\n*{name} : c\n".encode()).root) == [
        ("a", 1),
        ("b", [1, 1]),
        (1, "c"),
    ]
    assert plain(read(f"a: &{name} {{x: 1}}\nb:\n  <<: *{name}\n".encode()).root)[1] == ("b", [("x", 1)])


def test_tabs_between_the_items_of_a_list_in_brackets_are_fine() -> None:
    assert plain(read(b"a: [b,\tc\t]\nd: {e: f,\t\tg: h}\n").root) == [
        ("a", ["b", "c"]),
        ("d", [("e", "f"), ("g", "h")]),
    ]


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"a:\n  b: [\n\t1,\n\t2\n\t]\n", [("a", [("b", [1, 2])])]),
        (b"a:\n  - {\n\t\tb: [c,\n\t\td]\t,\n\t}\n", [("a", [[("b", ["c", "d"])]])]),
        (b'{\n\t"a": {\n\t\t"b": [\n\t\t\t1\n\t\t]\n\t}\n}\n', [("a", [("b", [1])])]),
        (b"a:\n  b: [\n\tc d,\t# e\n\tf\t\n\t g\n\t]\n", [("a", [("b", ["c d", "f g"])])]),
    ],
)
def test_tabs_may_indent_what_is_in_brackets(content: bytes, value: object) -> None:
    assert problems_of(content) == []
    assert plain(read(content).root) == value


@pytest.mark.parametrize("content", [b"a: b #\tc\n", b"#\tc\na: b\n", b"a:\n  - b # c\td\n", b"a: |\n  b # c\td\n"])
def test_tabs_in_comments_and_in_text_are_fine(content: bytes) -> None:
    assert problems_of(content) == []


@pytest.mark.parametrize("content", [b"a: b\t# c\n", b"# c\n\ta: b\n", b"a: 'b' # c\nd: 'e # f'\t\n"])
def test_tabs_elsewhere_are_not(content: bytes) -> None:
    assert "a tab where only spaces may stand" in problems_of(content)[0]


@pytest.mark.parametrize("content", [b"a: |#b\n  c\n", b"a: >-#b\n  c\n", b"a: |2#b\n  c\n"])
def test_a_comment_has_a_blank_before_it(content: bytes) -> None:
    assert "text after `|` or `>` begins in the next line" in problems_of(content)[0]
    assert problems_of(content.replace(b"#", b" #")) == []


def test_every_duplicate_key_is_named_with_both_lines_at_any_depth() -> None:
    content = "a: 1\nb:\n  - c: 1\n    d: 2\n    c: 3\na: 2\n'a': 3\n"
    assert problems_of(content) == [
        'line 5: the key "c" is on line 3 and again on line 5',
        'line 6: the key "a" is on line 1 and again on line 6',
        'line 7: the key "a" is on line 1 and again on line 7',
    ]


def test_a_number_and_its_text_are_two_keys() -> None:
    assert plain(read(b"1: a\n'1': b\n").root) == [(1, "a"), ("1", "b")]


def test_merged_keys_come_last_and_never_override() -> None:
    content = b"a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc:\n  <<: [*a, *b]\n  w: 0\n  x: 5\n"
    assert plain(read(content).root)[2] == ("c", [("w", 0), ("x", 5), ("y", 2), ("z", 4)])


def test_a_quoted_merge_sign_is_an_ordinary_key() -> None:
    assert plain(read(b'"<<": a\n').root) == [("<<", "a")]


def test_an_anchor_may_be_used_again_for_something_else() -> None:
    assert plain(read(b"a: &x 1\nb: &x 2\nc: *x\n").root) == [("a", 1), ("b", 2), ("c", 2)]


def test_nodes_know_their_place() -> None:
    root = read(b"a:\n  - b\n  -   {c: d}\n").root
    assert isinstance(root, MappingNode)
    ((key, items),) = root.entries
    assert (key.line, key.column) == (1, 1)
    assert isinstance(items, ListNode)
    assert [(item.line, item.column) for item in items.items] == [(2, 5), (3, 7)]


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


def test_a_hundred_levels_are_the_most() -> None:
    assert problems_of(nested(100)) == []
    assert problems_of(nested(101)) == ["line 1: more than 100 levels inside one another"]
    assert problems_of(b"[" * 6000) == ["line 1: more than 100 levels inside one another"]
    fifty = nested(50)
    assert problems_of(b"- &a " + fifty + b"\n- " + b"[" * 49 + b"*a" + b"]" * 49) == []
    assert problems_of(b"- &a " + fifty + b"\n- " + b"[" * 50 + b"*a" + b"]" * 50) == [
        "line 2: more than 100 levels inside one another"
    ]


def test_a_hundred_thousand_values_are_the_most_with_aliases_in_full() -> None:
    # The list itself, and one for each item.
    assert problems_of(b"[" + b"1," * 99_999 + b"]") == []
    assert problems_of(b"[" + b"1," * 100_000 + b"]") == ["line 1: more than 100,000 values, aliases counted in full"]
    ten_thousand = b"- &a [" + b"1," * 9_999 + b"]\n"
    assert problems_of(ten_thousand + b"- *a\n" * 8) == []
    assert problems_of(ten_thousand + b"- *a\n" * 9) == ["line 10: more than 100,000 values, aliases counted in full"]


def test_text_that_aliases_repeat_counts_in_full() -> None:
    assert problems_of(b"- &a " + b"x" * 90_000 + b"\n" + b"- *a\n" * 50) == [
        "line 24: more than 2,097,152 characters, aliases counted in full"
    ]


def test_a_mebibyte_and_a_value_of_a_hundred_thousand_characters_are_the_most() -> None:
    assert problems_of(b"a: b\n" + b"#" * (1024 * 1024 - 5)) == []
    assert problems_of(b"a: b\n" + b"#" * (1024 * 1024 - 4)) == [
        "the file has more than 1,048,576 bytes, and that is the most"
    ]
    assert problems_of(b"#" * 3_000_000) == ["the file has more than 1,048,576 bytes, and that is the most"]
    assert problems_of(b"a: " + b"x" * 100_000) == []
    assert problems_of(b"x" * 200_000) == ["line 1: a value of 200,000 characters; the most is 100,000"]
