"""An action's `config` -> what JSON can hold of it, and everything in it that JSON cannot."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

from jobrunner_cli.engine.study.nodes import key_text, kind_of
from jobrunner_cli.engine.study.problems import Findings, Timestamp, dotted, shown
from jobrunner_cli.engine.study.reader import ListNode, MappingNode, Node, ScalarNode


def read_config(node: MappingNode, findings: Findings, *, action: str) -> dict[str, Any] | None:
    """The configuration as plain data; None if JSON cannot hold it, and every reason is taken down."""
    reading = _Reading(findings, action)
    plain = reading.mapping(node, ("config",))
    return plain if reading.is_sound else None


# Joined only for what is refused: keys may be long, and their values many.
_Path: TypeAlias = tuple[str, ...]


class _Reading:
    """One configuration."""

    def __init__(self, findings: Findings, action: str) -> None:
        self._findings = findings
        self._action = action
        self.is_sound = True

    def mapping(self, node: MappingNode, path: _Path) -> dict[str, Any]:
        """A mapping, without the keys that JSON does not have."""
        plain: dict[str, Any] = {}
        for name_node, value_node in node.entries:
            name = key_text(name_node)
            inner = (*path, shown(name_node.value) if name is None else name)
            value = self._value(value_node, inner)
            if name is None:
                message = f"the key {shown(name_node.value)} is {kind_of(name_node)}; put it in quotes"
                self._refuse(name_node, message, inner)
            elif name in plain:
                self._refuse(name_node, f"the key {shown(name)} is there twice, as text and as a number", inner)
            else:
                plain[name] = value
        return plain

    def _value(self, node: Node, path: _Path) -> Any:
        match node:
            case MappingNode():
                return self.mapping(node, path)
            case ListNode():
                return [self._value(item, (*path, str(position))) for position, item in enumerate(node.items)]
        if isinstance(node.value, Timestamp):
            self._refuse(node, f"{shown(node.value)} is a date, and JSON has none; put it in quotes", path)
        elif isinstance(node.value, float) and not math.isfinite(node.value):
            self._refuse(node, f"{shown(node.value)} is not a number that JSON has; put it in quotes", path)
        return node.value

    def _refuse(self, node: ScalarNode, message: str, path: _Path) -> None:
        self.is_sound = False
        self._findings.add(node, message, action=self._action, key=dotted(path), value=node.value)
