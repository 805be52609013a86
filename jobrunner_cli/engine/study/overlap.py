"""Whether two output patterns can name the same file. `*` is their only wildcard, and it does not cross `/`."""

from __future__ import annotations

from itertools import starmap


def can_overlap(one: str, other: str) -> bool:
    """Whether some path matches both patterns; linear in their lengths."""
    ones, others = one.split("/"), other.split("/")
    return len(ones) == len(others) and all(starmap(_components_meet, zip(ones, others, strict=True)))


def _components_meet(one: str, other: str) -> bool:
    if one == other:
        return True
    ones, others = one.split("*"), other.split("*")
    if len(ones) == 1:
        return _fits(others, one)
    if len(others) == 1:
        return _fits(ones, other)
    # With a wildcard in both, each can take in what the other has in the middle: only the ends can be at odds.
    beginnings = ones[0].startswith(others[0]) or others[0].startswith(ones[0])
    endings = ones[-1].endswith(others[-1]) or others[-1].endswith(ones[-1])
    return beginnings and endings


def _fits(pieces: list[str], name: str) -> bool:
    """Whether a name matches the pieces between wildcards."""
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
