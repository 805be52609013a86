"""YAML bytes -> nodes that know their line and column, by the YAML 1.2 core schema and within fixed limits.

PyYAML's parser gives the events, libyaml's where it is built in. Composing and resolving is done here, with nothing
kept between two calls: PyYAML's own resolver speaks YAML 1.1, its loaders drop duplicate keys and expand aliases
without a limit. Nothing is raised for what a user wrote: it becomes a `Problem`.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from jobrunner_cli.engine.study.core_schema import Value, resolve_plain
from jobrunner_cli.engine.study.problems import Problem, printable, shown
from jobrunner_cli.engine.study.source import (
    MAX_BYTES,
    UnreadableError,
    YAMLSyntaxError,
    decode,
    hide_separators,
    parser_events,
    parsers_may_disagree,
)
from jobrunner_cli.engine.study.syntax_errors import lines_of

if TYPE_CHECKING:
    import yaml

#: The most collections inside one another.
MAX_DEPTH = 100
#: The most nodes once every alias is replaced by what it stands for.
MAX_NODES = 100_000
#: The most characters once every alias is replaced by what it stands for.
MAX_TEXT = 2 * MAX_BYTES
#: The most characters of one value: the kernel takes no argument of 128 KiB or more (execve(2), MAX_ARG_STRLEN).
MAX_VALUE = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalarNode:
    """One value."""

    value: Value
    line: int
    column: int
    #: written without quotes and without a tag
    plain: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ListNode:
    """A list."""

    items: tuple[Node, ...]
    line: int
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingNode:
    """A mapping: its own entries in the order of the file, then what `<<` merged into it."""

    entries: tuple[tuple[ScalarNode, Node], ...]
    line: int
    column: int


Node: TypeAlias = ScalarNode | ListNode | MappingNode


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What a file holds; `root` is None when it cannot be read any further than its problems say."""

    root: Node | None
    problems: tuple[Problem, ...]


def read(content: bytes) -> Document:
    """The one document of a file: UTF-8 with or without a byte order mark, or UTF-16 with one."""
    try:
        text, separators = hide_separators(decode(content))
        return _read_text(text, separators)
    except UnreadableError as error:
        return Document(root=None, problems=(error.problem,))


def _read_text(text: str, separators: dict[int, str]) -> Document:
    """Existing studies were written for a parser that is stricter on tabs than libyaml and otherwise laxer, as
    PyYAML's own is. So libyaml goes first, for it is ten times as fast and refuses hostile files soon; its syntax
    errors are not the last word, and neither is its consent to tabs outside `[]` and `{}` and the like.
    """
    # Imported here because commands that read no study should not wait for it.
    import yaml

    from jobrunner_cli.engine.study.wider_parser import WiderLoader

    if yaml.__with_libyaml__:
        try:
            if len(text) > MAX_NODES:
                _count_nodes(text, yaml.CSafeLoader)
            document = _Composer(separators).compose(text, yaml.CSafeLoader)
        except YAMLSyntaxError:
            pass
        else:
            if document.root is not None and parsers_may_disagree(text):
                deque(parser_events(text, WiderLoader), maxlen=0)
            return document
    return _Composer(separators).compose(text, WiderLoader)


def _count_nodes(text: str, parser: Any) -> None:
    """Refuse a file with too many nodes before any is made, which would take five times as long. Only a text of more
    characters than there may be nodes can have them without aliases; what aliases add is counted with the nodes.
    """
    import yaml

    count = depth = 0
    for event in parser_events(text, parser):
        if isinstance(event, yaml.NodeEvent):
            count += 1
            if count > MAX_NODES:
                mark = event.start_mark
                line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
                raise _too_many_nodes(line, column)
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH:
                    return
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _too_many_nodes(line: int, column: int) -> UnreadableError:
    return UnreadableError(f"more than {MAX_NODES:,} values, aliases counted in full", line, column)


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come yet."""

    is_mapping: bool
    anchor: str | None
    line: int
    column: int
    children: list[Node] = field(default_factory=list)
    #: nodes and characters up to its start
    nodes: int = 0
    text: int = 0
    #: collections inside one another, itself included
    height: int = 1


@dataclass(frozen=True, slots=True)
class _Anchored:
    """A finished node that aliases may stand for, and what each costs."""

    node: Node
    nodes: int
    text: int
    height: int


_KINDS: dict[str, type] = {"int": int, "float": float, "bool": bool, "null": type(None)}
_SURROGATE = re.compile("[\ud800-\udfff]")
#: A character as JSON writes those above U+FFFF: in two escapes.
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_CORE = "tag:yaml.org,2002:"
_MERGE = "<<"


class _Composer:
    """Events -> nodes, for one file."""

    def __init__(self, separators: dict[int, str]) -> None:
        self._problems: list[Problem] = []
        self._separators = separators
        self._stack: list[_Open] = []
        self._anchors: dict[str, _Anchored | None] = {}
        self._root: Node | None = None
        self._nodes = 0
        self._text = 0

    def compose(self, text: str, parser: Any) -> Document:
        """The text's document, however far it can be read. Raises YAMLSyntaxError."""
        try:
            self._compose(parser_events(text, parser), len(lines_of(text)))
        except YAMLSyntaxError:
            raise
        except UnreadableError as error:
            return Document(root=None, problems=(*self._problems, replace(error.problem, path=self._path())))
        return Document(root=self._root, problems=tuple(self._problems))

    def _compose(self, events: Iterator[yaml.Event], last_line: int) -> None:
        import yaml

        documents = 0
        for event in events:
            # Most events are scalars, and a chain of `isinstance` costs half of what a `match` does.
            if isinstance(event, yaml.CollectionEndEvent):
                self._close()
                continue
            mark = event.start_mark
            line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
            # libyaml has a file without a line's end at its end go on for one line more.
            line = min(line, last_line)
            if isinstance(event, yaml.ScalarEvent):
                self._scalar(event, line, column)
            elif isinstance(event, yaml.CollectionStartEvent):
                self._open(event, isinstance(event, yaml.MappingStartEvent), line, column)
            elif isinstance(event, yaml.AliasEvent):
                self._alias(event, line, column)
            elif isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise UnreadableError("a second document begins here; the file must hold one", line, column)
        if documents == 0:
            raise UnreadableError("the file is empty")

    def _problem(self, message: str, line: int, column: int, value: str | None = None) -> None:
        problem = Problem(message=message, value=value, line=line, column=column, path=self._path())
        self._problems.append(problem)

    def _path(self) -> tuple[str, ...]:
        """The keys of the collections that are open, as far as they are values of one."""
        keys = [opened.children[-1] for opened in self._stack if opened.is_mapping and len(opened.children) % 2]
        values = (key.value for key in keys if isinstance(key, ScalarNode))
        return tuple(value if isinstance(value, str) else shown(value) for value in values)

    def _count(self, nodes: int, text: int, line: int, column: int) -> None:
        self._nodes += nodes
        self._text += text
        if self._nodes > MAX_NODES:
            raise _too_many_nodes(line, column)
        if self._text > MAX_TEXT:
            raise UnreadableError(f"more than {MAX_TEXT:,} characters, aliases counted in full", line, column)

    def _add(self, node: Node, height: int) -> None:
        if not self._stack:
            self._root = node
            return
        parent = self._stack[-1]
        parent.children.append(node)
        parent.height = max(parent.height, height + 1)

    def _scalar(self, event: yaml.ScalarEvent, line: int, column: int) -> None:
        text = event.value.translate(self._separators) if self._separators else event.value
        if len(text) > MAX_VALUE:
            message = f"a value of {len(text):,} characters; the most is {MAX_VALUE:,}"
            raise UnreadableError(message, line, column)
        self._count(1, len(text), line, column)
        if not text.isascii() and _SURROGATE.search(text):
            text = _PAIR.sub(_one_character, text)
        if not text.isascii() and _SURROGATE.search(text):
            self._problem("half of a surrogate pair is not a character", line, column, shown(text))
            text = _SURROGATE.sub("\ufffd", text)
        value = self._resolve(event, text, line, column)
        node = ScalarNode(value=value, line=line, column=column, plain=event.implicit[0])
        if event.anchor:
            self._anchors[event.anchor] = _Anchored(node, 1, len(text), 0)
        self._add(node, 0)

    def _resolve(self, event: yaml.ScalarEvent, text: str, line: int, column: int) -> Value:
        tag = event.tag or "!"
        if tag == _CORE + "str" or (tag == "!" and not event.implicit[0]):
            return text
        try:
            value = resolve_plain(text)
        except ValueError as error:
            self._problem(str(error), line, column)
            return text
        if tag == "!":
            return value
        kind = _KINDS.get(tag.removeprefix(_CORE)) if tag.startswith(_CORE) else None
        if kind is float and type(value) is int:
            value = float(text) if text.isdecimal() else value
        if kind is not None and type(value) is kind:
            return value
        wrong = "is not allowed" if kind is None else f"does not go with {shown(text)}"
        self._problem(f"the tag {_short_tag(tag)} {wrong}", line, column, _short_tag(tag))
        return text

    def _open(self, event: yaml.CollectionStartEvent, is_mapping: bool, line: int, column: int) -> None:
        if len(self._stack) >= MAX_DEPTH:
            raise UnreadableError(f"more than {MAX_DEPTH} levels inside one another", line, column)
        opened = _Open(is_mapping, event.anchor, line, column, nodes=self._nodes, text=self._text)
        self._stack.append(opened)
        self._count(1, 0, line, column)
        if event.tag not in (None, "!", _CORE + "map", _CORE + "seq"):
            self._problem(f"the tag {_short_tag(event.tag)} is not allowed", line, column, _short_tag(event.tag))
        if event.anchor:
            self._anchors[event.anchor] = None

    def _close(self) -> None:
        done = self._stack.pop()
        node: Node
        if done.is_mapping:
            node = self._mapping(done.children, done.line, done.column)
        else:
            node = ListNode(items=tuple(done.children), line=done.line, column=done.column)
        if done.anchor and self._anchors[done.anchor] is None:
            nodes, text = self._nodes - done.nodes, self._text - done.text
            self._anchors[done.anchor] = _Anchored(node, nodes, text, done.height)
        self._add(node, done.height)

    def _alias(self, event: yaml.AliasEvent, line: int, column: int) -> None:
        name = shown(event.anchor)
        if event.anchor not in self._anchors:
            advice = "text that begins with `*` must be in quotes"
            message = f"nothing before this has the anchor that the alias {name} names; {advice}"
            raise UnreadableError(message, line, column)
        anchored = self._anchors[event.anchor]
        if anchored is None:
            raise UnreadableError(f"the alias {name} stands for something that contains it", line, column)
        if len(self._stack) + anchored.height > MAX_DEPTH:
            raise UnreadableError(f"more than {MAX_DEPTH} levels inside one another", line, column)
        self._count(anchored.nodes, anchored.text, line, column)
        self._add(anchored.node, anchored.height)

    def _mapping(self, children: list[Node], line: int, column: int) -> MappingNode:
        own: dict[Value, tuple[ScalarNode, Node]] = {}
        merged: list[MappingNode] = []
        merged_at: int | None = None
        for key, value in zip(children[::2], children[1::2], strict=True):
            if not isinstance(key, ScalarNode):
                self._problem("a key must be text, not a list or a mapping", key.line, key.column)
                continue
            if key.plain and key.value == _MERGE:
                if merged_at is not None:
                    self._duplicate(key, merged_at)
                merged_at = key.line
                merged += self._merge_sources(value)
            elif key.value in own:
                self._duplicate(key, own[key.value][0].line)
            else:
                own[key.value] = (key, value)
        for source in merged:
            for key, value in source.entries:
                own.setdefault(key.value, (key, value))
        return MappingNode(entries=tuple(own.values()), line=line, column=column)

    def _duplicate(self, key: ScalarNode, first_line: int) -> None:
        message = f"the key {shown(key.value)} is on line {first_line} and again on line {key.line}"
        self._problem(message, key.line, key.column, shown(key.value))

    def _merge_sources(self, node: Node) -> list[MappingNode]:
        candidates = node.items if isinstance(node, ListNode) else (node,)
        sources = [candidate for candidate in candidates if isinstance(candidate, MappingNode)]
        if len(sources) < len(candidates):
            self._problem('"<<" takes a mapping or a list of mappings', node.line, node.column)
        return sources


def _one_character(pair: re.Match[str]) -> str:
    return pair[0].encode("utf-16", "surrogatepass").decode("utf-16")


def _short_tag(tag: str) -> str:
    return printable("!!" + tag.removeprefix(_CORE) if tag.startswith(_CORE) else tag)
