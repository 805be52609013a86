"""PyYAML's parser, taking anchors of any characters and tabs inside brackets, as YAML 1.2 has them and studies may."""

from __future__ import annotations

from typing import Any

import yaml

_BLANKS = "\0 \t\r\n\x85"
_BRACKETS = ",[]{}"


class WiderLoader(yaml.SafeLoader):
    """The methods below are those of PyYAML's scanner; each falls back on what it replaces."""

    def scan_anchor(self, TokenClass: Any) -> Any:  # noqa: N803 - the name that PyYAML gives it
        """An anchor or an alias, up to a blank, a sign of a list or mapping in brackets, or a key's colon."""
        start, length = self.get_mark(), 1
        while not self._ends_anchor(length):
            length += 1
        if length == 1:
            return super().scan_anchor(TokenClass)  # type: ignore[no-untyped-call]
        name = self.prefix(length)[1:]
        self.forward(length)
        return TokenClass(name, start, self.get_mark())

    def _ends_anchor(self, ahead: int) -> bool:
        sign = self.peek(ahead)
        return sign in _BLANKS + _BRACKETS or (sign == ":" and self.peek(ahead + 1) in _BLANKS + _BRACKETS)

    def scan_to_next_token(self) -> None:
        """Blanks, comments and line ends; inside brackets tabs are blanks."""
        super().scan_to_next_token()
        while self.flow_level and self.peek() == "\t":
            self.forward(self._count_tabs())
            super().scan_to_next_token()

    def _count_tabs(self) -> int:
        count = 0
        while self.peek(count) == "\t":
            count += 1
        return count

    def scan_plain_spaces(self, indent: Any, start_mark: Any) -> list[str] | None:
        """The blanks and line ends within a value without quotes; inside brackets tabs are blanks."""
        line = self.line
        spaces: list[str] | None = super().scan_plain_spaces(indent, start_mark)
        while self.flow_level and spaces is not None and self.peek() == "\t":
            tabs = self._count_tabs()
            if self.line == line:
                spaces.append("\t" * tabs)
            self.forward(tabs)
            before = self.line
            more: list[str] | None = super().scan_plain_spaces(indent, start_mark)
            # Blanks around the end of a line are no part of the value.
            if more is None or (self.line != before and before == line):
                spaces = more
            elif self.line != before or before == line:
                spaces += more
        return spaces
