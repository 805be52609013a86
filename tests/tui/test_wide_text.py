"""Texts of characters that take two columns each: folded where the room ends, in their own column, with nothing lost."""

from __future__ import annotations

import re
from pathlib import Path

from jobrunner_cli.engine.operations import Step
from jobrunner_cli.engine.states import StatusCode
from jobrunner_cli.tui.dialogs import Ask
from support.live_view import View, a_job, settings_at, watching
from support.store import new_database

#: So many that they do not fit in any line, and one of another kind, after which half of a column is left.
WIDE = "a" + "\u6587" * 89


def parts_of_it(view: View, before: str = "") -> list[tuple[int, str]]:
    """Where the text, which stands behind another, begins in each line, and its part there, until it is complete."""
    found: list[tuple[int, str]] = []
    lines = view.text().splitlines()
    first = next(number for number, line in enumerate(lines) if f"{before}a\u6587" in line)
    for line in lines[first:]:
        part = re.search("a?\u6587+", line)
        if part is not None and sum(len(each) for _, each in found) < len(WIDE):
            found.append((part.start(), part[0]))
    return found


def test_a_message_goes_on_in_its_column(tmp_path: Path):
    new_database(tmp_path, a_job("aaaa", StatusCode.NONZERO_EXIT, status_message=WIDE)).close()

    async def test(view: View) -> None:
        await view.press("z")
        await view.shows("message   a\u6587")
        parts = parts_of_it(view, "message   ")
        assert "".join(part for _, part in parts) == WIDE
        assert len({column for column, _ in parts}) == 1

    watching(settings_at(tmp_path), test, first_job="aaaa", size=(80, 40))


def test_what_is_to_happen_stands_below_the_job_that_it_happens_to(tmp_path: Path):
    job = a_job("aaaa", StatusCode.CREATED)
    new_database(tmp_path, job).close()

    async def test(view: View) -> None:
        view.app.push_screen(Ask("Pause?", "", "Pause", steps=[Step(job=job, what=WIDE)]))
        await view.shows("   a\u6587")
        parts = parts_of_it(view)
        assert "".join(part for _, part in parts) == WIDE
        assert len({column for column, _ in parts}) == 1

    watching(settings_at(tmp_path), test, size=(80, 24))


def test_what_a_list_without_lines_says_is_all_there(tmp_path: Path):
    new_database(tmp_path).close()

    async def test(view: View) -> None:
        view.main.table.say(WIDE)
        await view.shows("a\u6587")
        assert "".join(part for _, part in parts_of_it(view)) == WIDE

    watching(settings_at(tmp_path), test, size=(80, 24))
