"""How far an image is that is being fetched: a line on stderr that repaints itself, or a line for each step."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jobrunner_cli import diagnostics
from jobrunner_cli.progress import on_terminal


@contextmanager
def fetching(name: str) -> Iterator[Callable[[str], None]]:
    """Yields what is to be called with each line of the engine's report."""
    if not on_terminal():
        yield _steps()
        return
    # Only what repaints itself needs it, and it costs as much as the whole start.
    from rich.console import Console
    from rich.text import Text

    console = Console(file=sys.stderr, highlight=False, emoji=False, markup=False)

    def picture(line: str) -> Text:
        # The engine's own bar of 50 columns leaves none to the figures behind it.
        step, _, bar = line.partition(" [")
        text = Text(" ".join([f"{name}  {step}", *bar.partition("]")[2].split()]))
        # Rich's status keeps the words of a text, and not how it is to be cut; two columns are its spinner's.
        text.truncate(max(console.width - 2, 1), overflow="ellipsis")
        return text

    with console.status(picture("")) as status:
        yield lambda line: status.update(picture(line))


def _steps() -> Callable[[str], None]:
    told: set[str] = set()

    def tell(line: str) -> None:
        # Each layer reports some dozen times a second how far it is.
        step = line.partition(" [")[0]
        if step not in told:
            told.add(step)
            diagnostics.notice(step)

    return tell
