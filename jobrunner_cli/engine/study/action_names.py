"""The names of a study's actions with their commands, read quickly where the file is written as nearly all are.

For those who wait at a key: the YAML parser alone takes longer to import than all else. What this cannot be sure of is
read by the parser after all. Whether the file is valid is nobody's question here.
"""

from __future__ import annotations

import re

_TOP = re.compile(r"actions:[ ]*(?:#.*)?")
_NAME = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_-]*):[ ]*(?:#.*)?")
_RUN = re.compile(r"run:[ ]+([A-Za-z0-9][^#'\"|>&*{}\[\]\t]*)")


def action_names(content: bytes) -> dict[str, str]:
    """Action -> the text of its `run`, or as much as is in its first line; empty for a file that cannot be read."""
    found = _scanned(content)
    return _parsed(content) if found is None else found


def _scanned(content: bytes) -> dict[str, str] | None:
    """The actions of a file in block style; None if there is anything that may mean something else."""
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError:
        return None
    if sum(_TOP.fullmatch(line.rstrip()) is not None for line in lines) != 1 or b"\t" in content:
        return None
    found: dict[str, str] = {}
    name, indent, is_inside = "", 0, False
    for line in map(str.rstrip, lines):
        text = line.lstrip(" ")
        depth = len(line) - len(text)
        if not text or text.startswith("#"):
            continue
        if depth == 0:
            is_inside = _TOP.fullmatch(line) is not None
        elif is_inside:
            indent = indent or depth
            if depth < indent:
                return None
            if depth == indent:
                key = _NAME.fullmatch(text)
                if key is None or key[1] in found:
                    return None
                name = key[1]
                found[name] = ""
            elif not found[name] and (command := _RUN.match(text)):
                found[name] = command[1].strip()
    return found or None


def _parsed(content: bytes) -> dict[str, str]:
    from jobrunner_cli.engine.study.reader import MappingNode, ScalarNode, read

    root = read(content).root
    top = {key.value: value for key, value in root.entries} if isinstance(root, MappingNode) else {}
    actions = top.get("actions")
    found = {}
    for name, body in actions.entries if isinstance(actions, MappingNode) else ():
        entries = {key.value: value for key, value in body.entries} if isinstance(body, MappingNode) else {}
        command = entries.get("run")
        found[str(name.value)] = " ".join(str(command.value).split()) if isinstance(command, ScalarNode) else ""
    return found
