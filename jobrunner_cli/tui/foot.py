"""The foot of the screen: the legend with its counts, and the keys that do something now."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rich.style import Style
from rich.text import Text
from textual.content import Content
from textual.keys import key_to_character
from textual.widgets import Input, Static

from jobrunner_cli import output, theme
from jobrunner_cli.engine.states import Legend, State, StatusCode
from jobrunner_cli.tui.cells import chip
from jobrunner_cli.tui.listing import Grouping, Listing, Sorting, Wanted
from jobrunner_cli.tui.registry import ENTRIES, Entry, Keys

#: A code that stands for each entry of the legend, its word, and what it counts.
_SAMPLES: tuple[tuple[StatusCode, str, State | Legend], ...] = (
    (StatusCode.EXECUTING, "running", State.RUNNING),
    (StatusCode.CREATED, "waiting", State.PENDING),
    (StatusCode.WAITING_PAUSED, "blocked", Legend.BLOCKED),
    (StatusCode.SUCCEEDED, "succeeded", State.SUCCEEDED),
    (StatusCode.NONZERO_EXIT, "failed", State.FAILED),
)


class LegendLine(Static):
    """What the colours mean, how many there are of each, and how the list was narrowed."""

    def show(self, listing: Listing, wanted: Wanted, marked: int, older: int) -> None:
        """Show the counts, without their words where they, or how the list was narrowed, would find no room."""
        room = self.size.width - 2
        counts, about = self._counts(listing, marked, words=True), self._about(listing, wanted, older)
        if counts.cell_len + (about.cell_len if wanted.narrows else 0) > room:
            counts = self._counts(listing, marked, words=False)
        self.update(counts + about)

    def _counts(self, listing: Listing, marked: int, *, words: bool) -> Text:
        line = Text(no_wrap=True, overflow="ellipsis")
        if marked:
            line.append(f" {marked:,} marked ", "reverse bold")
            line.append(" ")
        blocked = listing.legend.get(Legend.BLOCKED, 0)
        for code, word, counted in _SAMPLES:
            count = listing.states.get(counted, 0) if isinstance(counted, State) else blocked
            if counted is State.PENDING:
                count -= blocked
            style = chip(code) + Style(bold=bool(count))
            line.append(f" {theme.glyph(code)} {count:,} {f'{word} ' if words else ''}", style)
            line.append(" ")
        return line

    def _about(self, listing: Listing, wanted: Wanted, older: int) -> Text:
        line = Text(no_wrap=True, overflow="ellipsis")
        if wanted.narrows:
            restriction = output.one_line(wanted.restriction)
            line.append(f"{listing.shown:,} of {listing.total:,}: {restriction}", "bold")
        elif older:
            line.append(f"{older:,} older jobs are not listed", "dim")
        else:
            by = "" if wanted.grouping is Grouping.FLAT else f" by {wanted.grouping}"
            order = "" if wanted.sorting is Sorting.ACTIVITY else f", {wanted.sorting} first"
            jobs = "job" if listing.total == 1 else "jobs"
            line.append(f"{listing.total:,} {jobs}{by}{order}", "dim")
        return line


class KeyLine(Static):
    """The keys that do something now, as many as there is room for; a click does it, too."""

    def show(self, keys: Keys, applies: Callable[[Entry], bool], field: Input | None = None) -> None:
        """Show the keys of what applies; where a field has the focus, those that it does not take for itself."""
        if field is not None:
            keys = _beside(field, keys)
        found = [entry for entry in ENTRIES if entry.footer is not None and keys.of[entry.name] and applies(entry)]
        chosen = _fitting(sorted(found, key=lambda entry: entry.footer or 0), keys, self.size.width - 1)
        parts = [
            Content.assemble(
                (f" {keys.shown(entry.name)}", "$footer-key-foreground bold"), (f" {entry.label} ", "")
            ).stylize(f"@click=screen.do('{entry.name}')")
            for entry in chosen
        ]
        self.update(Content("").join(parts))


def _beside(field: Input, keys: Keys) -> Keys:
    """The keys that are neither text in a field nor edit it."""

    def is_free(entry: Entry, key: str) -> bool:
        character = key_to_character(key)
        typed = character is not None and character.isprintable()
        return not typed and (entry.at_once or key not in field._bindings.key_to_bindings)

    return Keys(of={entry.name: tuple(key for key in keys.of[entry.name] if is_free(entry, key)) for entry in ENTRIES})


def _fitting(entries: Iterable[Entry], keys: Keys, width: int) -> list[Entry]:
    """Those for which there is room; the way to the help always has some."""
    listed = list(entries)
    kept = [entry for entry in listed if entry.name == "help"]
    left = width - sum(_size(entry, keys) for entry in kept)
    for entry in listed:
        if entry not in kept and _size(entry, keys) <= left:
            kept.append(entry)
            left -= _size(entry, keys)
    return [entry for entry in listed if entry in kept]


def _size(entry: Entry, keys: Keys) -> int:
    return len(keys.shown(entry.name)) + len(entry.label) + 3
