"""What actions need, in the languages of programs that draw: Mermaid's flowcharts and Graphviz's DOT. Both in ASCII."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jobrunner_cli.graphs.alphabets import Mark
from jobrunner_cli.output import one_line
from jobrunner_cli.theme import LegendColours

_HARMLESS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _-.:")


def mermaid(needs: Mapping[str, Sequence[str]], marks: Mapping[str, Mark] | None = None) -> str:
    """A flowchart of actions (action -> what it needs) with their states; nodes are `a0`, `a1` … in the order of the file."""
    ids = _ids(needs)
    styles = _styles(needs, marks)
    lines = ["flowchart TD"]
    for action, node in ids.items():
        style = f":::{styles[action][0]}" if action in styles else ""
        text = "<br/>".join(map(_mermaid_text, _texts(action, marks)))
        lines.append(f'    {node}["{text}"]{style}')
    lines += [
        f"    {ids[need]} --> {ids[action]}" for action, wanted in needs.items() for need in dict.fromkeys(wanted)
    ]
    for name, colours in dict(styles.values()).items():
        lines.append(f"    classDef {name} fill:{colours.background},color:{colours.text},stroke:{colours.border}")
    return "\n".join(lines) + "\n"


def dot(needs: Mapping[str, Sequence[str]], marks: Mapping[str, Mark] | None = None) -> str:
    """The same graph for Graphviz; nodes are `a0`, `a1` … in the order of the file."""
    ids = _ids(needs)
    styles = _styles(needs, marks)
    lines = [
        "digraph study {",
        "    rankdir=TB;",
        '    node [shape=box, style="rounded,filled", fillcolor="#ffffff", fontname="monospace"];',
        '    edge [color="#7b8794"];',
    ]
    for action, node in ids.items():
        text = "\\n".join(map(_dot_text, _texts(action, marks)))
        style = ""
        if action in styles:
            colours = styles[action][1]
            style = f', fillcolor="{colours.background}", fontcolor="{colours.text}", color="{colours.border}"'
        lines.append(f'    {node} [label="{text}"{style}];')
    lines += [
        f"    {ids[need]} -> {ids[action]};" for action, wanted in needs.items() for need in dict.fromkeys(wanted)
    ]
    return "\n".join([*lines, "}", ""])


def _ids(needs: Mapping[str, Sequence[str]]) -> dict[str, str]:
    return {action: f"a{n}" for n, action in enumerate(needs)}


def _texts(action: str, marks: Mapping[str, Mark] | None) -> list[str]:
    if marks is None:
        return [one_line(action)]
    return [one_line(action), f"{marks[action].glyph} {marks[action].word}"]


def _styles(
    needs: Mapping[str, Sequence[str]], marks: Mapping[str, Mark] | None
) -> dict[str, tuple[str, LegendColours]]:
    """Action -> a name for its colours, and the colours, of those that have any."""
    found: dict[str, tuple[str, LegendColours]] = {}
    names: dict[LegendColours, str] = {}
    for action in needs:
        colours = marks[action].colours if marks else None
        if colours is not None:
            found[action] = (names.setdefault(colours, f"legend{len(names)}"), colours)
    return found


def _mermaid_text(text: str) -> str:
    """The text with everything as an entity that might be taken for the language, or is not ASCII."""
    return "".join(char if char in _HARMLESS else f"#{ord(char)};" for char in text)


def _dot_text(text: str) -> str:
    """The text as the content of a quoted string; labels know the entities of HTML."""
    return "".join(char if char in _HARMLESS else f"&#{ord(char)};" for char in text)
