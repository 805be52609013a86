"""The JSON Schema of project.yaml, held against files."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import fastjsonschema

from jobrunner_cli.engine.study.problems import Timestamp
from jobrunner_cli.engine.study.reader import ListNode, MappingNode, Node, read
from jobrunner_cli.engine.study.schema import project_schema


@cache
def validator() -> Callable[[Any], Any]:
    """What raises JsonSchemaException for data that the schema refuses."""
    made: Callable[[Any], Any] = fastjsonschema.compile(project_schema())
    return made


def as_editors_see_it(node: Node) -> Any:
    """A node as plain data; keys are text there."""
    match node:
        case MappingNode():
            return {str(key.value): as_editors_see_it(value) for key, value in node.entries}
        case ListNode():
            return [as_editors_see_it(item) for item in node.items]
    return node.value.text if isinstance(node.value, Timestamp) else node.value


def violation_of_schema(content: bytes) -> str | None:
    """What the schema has against a file that can be read, None if it has nothing."""
    root = read(content).root
    assert root is not None
    try:
        validator()(as_editors_see_it(root))
    except fastjsonschema.JsonSchemaException as error:
        return str(error)
    return None
