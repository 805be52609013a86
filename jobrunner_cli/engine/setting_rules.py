"""What settings may not say together, what none can turn off, and what is said of odd ones."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

#: Where a value comes from that nobody has given: from the table of variables, or from another value.
DEFAULT, DERIVED = "default", "derived"


def contradictions(values: Mapping[str, Any]) -> Iterator[str]:
    """What values may not say together, a line for each case."""
    pair = ("presto_tls_cert_path", "presto_tls_key_path")
    given = [name for name in pair if values[name] is not None]
    if len(given) == 1:
        (missing,) = set(pair) - set(given)
        yield f"{given[0].upper()} is set without {missing.upper()}: set both or neither"
    stores = [os.path.realpath(values[f"{level}_privacy_storage_base"]) for level in ("high", "medium")]
    if stores[0] == stores[1]:
        # What may not be in the one would be taken away from the other.
        yield f"HIGH_PRIVACY_STORAGE_BASE and MEDIUM_PRIVACY_STORAGE_BASE are the same directory: {stores[0]}"
    elif Path(stores[0]).is_relative_to(stores[1]):
        # Whoever may read the one would find everything there.
        yield f"HIGH_PRIVACY_STORAGE_BASE, {stores[0]}, is inside MEDIUM_PRIVACY_STORAGE_BASE, {stores[1]}"


def force(values: dict[str, Any], sources: dict[str, str]) -> None:
    """What no setting can turn off: dummy data for `expectations`, the proxy where there is real data (section 6)."""
    if values["backend"] == "expectations" and not values["using_dummy_data_backend"]:
        values["using_dummy_data_backend"], sources["using_dummy_data_backend"] = True, DERIVED
    if not values["using_dummy_data_backend"] and not values["github_proxy"]:
        values["github_proxy"], sources["github_proxy"] = True, DERIVED


def absent_files(values: Mapping[str, Any], sources: Mapping[str, str]) -> Iterator[str]:
    """What is said of files with rules that somebody named and that are not there: without one, no rule holds."""
    for name in ("job_resource_weights", "job_time_limits"):
        # What cannot be looked at for another reason is told by the one who reads it.
        if sources[name] != DEFAULT and not os.path.lexists(values[name]):
            yield f"{name.upper()} (from {sources[name]}) names {values[name]}, which is not there"
