"""Patterns of outputs: `*` is their only wildcard, and it does not cross `/` (section 5)."""

from __future__ import annotations


def fits(pieces: list[str], name: str) -> bool:
    """Whether a name matches a component of a pattern, split at its `*`; linear in its length, whatever the pattern."""
    if len(pieces) == 1:
        return name == pieces[0]
    first, *middle, last = pieces
    end = len(name) - len(last)
    if end < len(first) or not name.startswith(first) or not name.endswith(last):
        return False
    position = len(first)
    for piece in middle:
        position = name.find(piece, position, end)
        if position < 0:
            return False
        position += len(piece)
    return True
