"""What the rules ask of a node: what kind of thing it is, and what it is as a key or a name."""

from __future__ import annotations

import math

from jobrunner_cli.engine.study.problems import Timestamp
from jobrunner_cli.engine.study.reader import ListNode, MappingNode, Node, ScalarNode


def kind_of(node: Node) -> str:
    """What a node is, for a message."""
    match node:
        case ListNode():
            return "a list"
        case MappingNode():
            return "a mapping"
        case ScalarNode(value=None):
            return "null"
        case ScalarNode(value=bool()):
            return "true or false"
        case ScalarNode(value=int() | float()):
            return "a number"
        case ScalarNode(value=Timestamp()):
            return "a date"
        case _:
            return "text"


def is_null(node: Node | None) -> bool:
    """Whether there is nothing, or a null."""
    return node is None or (isinstance(node, ScalarNode) and node.value is None)


def key_text(key: ScalarNode) -> str | None:
    """A key that may be a number, as text; None if it is neither, nor finite."""
    if isinstance(key.value, float) and not math.isfinite(key.value):
        return None
    return name_text(key)


def name_text(node: Node) -> str | None:
    """An action's name, which may be a number, as text; None if it is neither."""
    value = node.value if isinstance(node, ScalarNode) else None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return str(value)
