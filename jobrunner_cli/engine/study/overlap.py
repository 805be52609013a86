"""Whether two output patterns can name the same file. `*` is their only wildcard, and it does not cross `/`."""

from __future__ import annotations

from itertools import starmap

from jobrunner_cli.engine.patterns import fits


def can_overlap(one: str, other: str) -> bool:
    """Whether some path matches both patterns; linear in their lengths."""
    ones, others = one.split("/"), other.split("/")
    return len(ones) == len(others) and all(starmap(_components_meet, zip(ones, others, strict=True)))


def _components_meet(one: str, other: str) -> bool:
    if one == other:
        return True
    ones, others = one.split("*"), other.split("*")
    if len(ones) == 1:
        return fits(others, one)
    if len(others) == 1:
        return fits(ones, other)
    # With a wildcard in both, each can take in what the other has in the middle: only the ends can be at odds.
    beginnings = ones[0].startswith(others[0]) or others[0].startswith(ones[0])
    endings = ones[-1].endswith(others[-1]) or others[-1].endswith(ones[-1])
    return beginnings and endings
