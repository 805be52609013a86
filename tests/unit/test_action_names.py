"""The names of actions for those who press Tab: as the YAML parser finds them, in every real study and odd ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobrunner_cli.engine.study.action_names import action_names
from jobrunner_cli.engine.study.reader import MappingNode, read

CORPUS = sorted((Path(__file__).parents[1] / "corpus").rglob("*.yaml"))


def parsed(content: bytes) -> list[str]:
    root = read(content).root
    entries = {key.value: value for key, value in root.entries} if isinstance(root, MappingNode) else {}
    actions = entries.get("actions")
    return [str(name.value) for name, _ in actions.entries] if isinstance(actions, MappingNode) else []


def test_names_are_those_that_the_parser_finds_in_real_studies():
    contents = {path.name: path.read_bytes() for path in CORPUS}
    valid = {name: content for name, content in contents.items() if parsed(content)}
    assert len(valid) > 50
    assert {name: list(action_names(content)) for name, content in valid.items()} == {
        name: parsed(content) for name, content in valid.items()
    }


@pytest.mark.parametrize(
    "text",
    [
        "actions: {a: {run: 'python:v2 x'}, b: {}}\n",
        "actions:\n  'quoted name':\n    run: x\n  b:\n    run: y\n",
        "actions:\n  a: &anchor\n    run: x\n  b: *anchor\n",
        "actions:\n  a:\n    run: >\n      python:v2\n    c:\n      d: 1\n  b:\n    run: x\n",
        "# actions:\nversion: 4\nactions:   # these\n\n  # one\n  a:\n    run: x # why\n\nother:\n  not_one:\n    run: y\n",
        "text: |\n  actions:\n    no:\n      run: x\nactions:\n    yes:\n        run: x\n",
        '"actions":\n  a:\n    run: x\n',
        "actions:\n- a\n",
        "actions:\n",
        "",
        "- 1\n",
        "\ufeffactions:\n  a:\n    run: x\n",
        "actions:\r\n  a:\r\n    run: x\r\n  b:\r\n    run: x\r\n",
    ],
)
def test_names_in_odd_files_are_those_that_the_parser_finds(text: str):
    assert list(action_names(text.encode())) == parsed(text.encode())


def test_text_of_the_command_comes_with_the_name():
    text = b"actions:\n  a:\n    outputs: {}\n    run: python:v2 python x.py --n 3\n  b:\n    run: >\n      r:v2 y\n"
    assert action_names(text) == {"a": "python:v2 python x.py --n 3", "b": ""}


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"a: [", b"\x00", b"actions:\n\ta: b\n"])
def test_file_that_nobody_can_read_has_no_names(content: bytes):
    assert action_names(content) == {}
