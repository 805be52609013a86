"""What actions need, as an indented list: for terminals that are too narrow for a drawing, and for studies too tangled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jobrunner_cli.engine.graph_rows import longest_paths
from jobrunner_cli.graphs.alphabets import UNICODE, Alphabet, Mark
from jobrunner_cli.output import Line, beginning, display_width, one_line

#: An action's own text is never cut to less than this for the sake of its indentation.
_LEAST = 20


def listing(
    needs: Mapping[str, Sequence[str]],
    marks: Mapping[str, Mark] | None = None,
    *,
    width: int | None,
    alphabet: Alphabet = UNICODE,
) -> list[Line]:
    """A line for each action (action -> what it needs), below the need that comes last of all it needs.

    The other needs stand behind its name. With a `width`, lines are cut to it. Raises ValueError if the needs go round
    in a circle or name what is not there.
    """
    depths = longest_paths(needs={action: tuple(wanted) for action, wanted in needs.items()})
    parents = {
        action: max(wanted, key=lambda need: depths[need]) if wanted else None for action, wanted in needs.items()
    }
    children: dict[str | None, list[str]] = {}
    for action, parent in parents.items():
        children.setdefault(parent, []).append(action)
    lines: list[Line] = []
    # What is still to be told: an action, what goes past on its left, and whether it is the last of its siblings.
    stack = [(action, "", True) for action in reversed(children.get(None, []))]
    branch, last_branch, past = alphabet.branches
    while stack:
        action, indent, last = stack.pop()
        root = parents[action] is None
        before = "" if root else indent + (last_branch if last else branch)
        others = [need for need in dict.fromkeys(needs[action]) if need != parents[action]]
        text = _Text(action=action, mark=marks[action] if marks else None, others=others)
        lines.append(text.line(before, width, alphabet))
        below = "" if root else indent + (" " * len(past) if last else past)
        found = children.get(action, [])
        stack += [(child, below, n == len(found) - 1) for n, child in reversed(list(enumerate(found)))]
    return lines


@dataclass(frozen=True, slots=True, kw_only=True)
class _Text:
    """What the list says of an action."""

    action: str
    mark: Mark | None
    #: what it needs besides the one that it stands below
    others: Sequence[str]

    def line(self, before: str, width: int | None, alphabet: Alphabet) -> Line:
        """The line, after what stands to its left."""
        style = "" if self.mark is None else self.mark.style
        own = one_line(self.action)
        if self.mark is not None:
            own = f"{self.mark.glyph} {own}  {self.mark.word}"
        also = f"  {alphabet.also} {', '.join(map(one_line, self.others))}" if self.others else ""
        if width is not None:
            # A chain that is so long that its end has no room keeps the nearest of what stands to the left.
            room = max(width - min(display_width(own), max(_LEAST, width // 2)), 0)
            before = before[len(before) - room :] if len(before) > room else before
            own = _cut(own, width - len(before), alphabet)
            also = _cut(also, width - len(before) - display_width(own), alphabet)
        pieces = [(before, "dim"), (own, style), (also, "dim")]
        return [piece for piece in pieces if piece[0].strip()]


def _cut(text: str, width: int, alphabet: Alphabet) -> str:
    """The text in at most so many columns; nothing of it where not even a word would be left."""
    if display_width(text) <= width:
        return text
    if width < len(alphabet.ellipsis) + 1:
        return ""
    return beginning(text, width - len(alphabet.ellipsis)) + alphabet.ellipsis
