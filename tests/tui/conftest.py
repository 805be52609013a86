"""Work directories for tests of the live view; what runs the view takes its time."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.places import make_workdir

__all__ = ["make_workdir"]

HERE = Path(__file__).parent
#: Tests of what the view is made of, without the view.
QUICK = {"test_listing.py", "test_preferences.py"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests here but the quick ones are slow."""
    for item in items:
        if item.path.parent == HERE and item.path.name not in QUICK:
            item.add_marker(pytest.mark.slow)
