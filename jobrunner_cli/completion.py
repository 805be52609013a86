"""What may stand where the cursor is: commands and options from the tree, values from the real data.

The tree is a file that is generated from the commands (`docs/generate.py`), so that Tab imports none of them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

#: What the words after the command itself are, and what may stand there: command -> its options, arguments, commands.
Tree = Mapping[str, Any]
#: A word and what it means; a tuple, because the classes of the standard library cost more than all the rest here.
Suggestion = tuple[str, str]

TREE_FILE = "completion_tree.json"
#: Values that the shell knows best.
PATHS = frozenset({"file", "directory"})
#: The most characters of a description, which is to fit beside the word.
_MOST_DESCRIPTION = 60
#: COMP_TYPE where bash lists what there is, in place of inserting one after the other: `?`, `!` and `@`.
_LISTINGS = frozenset({"63", "33", "64"})
#: What a shell takes for something else than itself, outside quotes.
_SPECIAL = frozenset(" \t\n\\'\"`$&|;<>()[]{}*?!~#")


class Cursor(NamedTuple):
    """What was typed before the cursor, as far as it decides what may follow."""

    #: the innermost command on the line
    command: Tree
    #: option or argument, by its name -> the words that were given for it
    given: dict[str, list[str]]
    #: the option whose value is at the cursor, or the argument; None if it is neither
    slot: Tree | None
    #: what stands there, up to the cursor
    current: str
    #: the part of the word before the value: `--commit=`
    before: str
    #: options may stand here: there was no `--`
    options_allowed: bool


class Answer(NamedTuple):
    """What may stand at the cursor."""

    #: `words`, or one of PATHS
    kind: str
    suggestions: list[Suggestion]


def read_tree() -> Tree:
    """The commands as they were when the file was generated."""
    import json

    with open(os.path.join(os.path.dirname(__file__), TREE_FILE), encoding="utf-8") as stream:  # noqa: PTH118, PTH120, PTH123
        tree: Tree = json.load(stream)
    return tree


def locate(tree: Tree, words: list[str]) -> Cursor | None:
    """Where the last of the words stands; None where a command before it does not exist."""
    command, given, place = tree, dict[str, list[str]](), 0
    waiting: Tree | None = None
    options_allowed = True
    for word in words[:-1]:
        if waiting is not None:
            given.setdefault(waiting["name"], []).append(word)
            waiting = None
        elif options_allowed and word == "--":
            options_allowed = False
        elif options_allowed and word.startswith("-") and len(word) > 1:
            waiting = _take_option(command, word, given)
        elif "commands" in command:
            if word not in command["commands"]:
                return None
            command, given, place = command["commands"][word], {}, 0
        else:
            argument = _argument(command, place)
            if argument is not None:
                given.setdefault(argument["name"], []).append(word)
            place += 1
    current = words[-1]
    if waiting is not None:
        return Cursor(command, given, waiting, current, "", options_allowed)
    name, equals, value = current.partition("=")
    if options_allowed and name.startswith("--") and equals:
        option = _option(command, name)
        return None if option is None else Cursor(command, given, option, value, f"{name}=", options_allowed)
    return Cursor(command, given, _argument(command, place), current, "", options_allowed)


def _take_option(command: Tree, word: str, given: dict[str, list[str]]) -> Tree | None:
    """Note an option; the one that the next word is the value of, if it is."""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        option = _option(command, name)
        if option is None:
            return None
        values = given.setdefault(option["name"], [])
        if equals:
            values.append(value)
        return option if "value" in option and not equals else None
    for position, letter in enumerate(word[1:], start=2):
        option = _option(command, f"-{letter}")
        if option is None:
            return None
        values = given.setdefault(option["name"], [])
        if "value" in option:
            if word[position:]:
                values.append(word[position:])
                return None
            return option
    return None


def _option(command: Tree, name: str) -> Tree | None:
    return next((option for option in command["options"] if name in option["names"]), None)


def _argument(command: Tree, place: int) -> Tree | None:
    arguments: list[Tree] = command.get("arguments", [])
    if place < len(arguments):
        return arguments[place]
    return arguments[-1] if arguments and arguments[-1].get("many") else None


def answer(tree: Tree, words: list[str]) -> Answer:
    """What may stand in place of the last of these words, which follow the program's name."""
    at = locate(tree, words)
    if at is None:
        return Answer("words", [])
    typed = at.before + at.current
    if not at.before and at.options_allowed and typed.startswith("-") and not _takes_value(at):
        return Answer("words", _chosen(_options(at), typed))
    if "commands" in at.command and not at.before and not _takes_value(at):
        return Answer("words", _chosen(_commands(at), typed))
    if at.slot is None:
        return Answer("words", _chosen(_options(at), typed) if at.options_allowed else [])
    if at.slot["value"] in PATHS:
        return Answer(at.slot["value"], [])
    found = _values(at)
    if not at.before and at.slot in at.command.get("arguments", []):
        taken = set(at.given.get(at.slot["name"], []))
        found = ((word, text) for word, text in found if word not in taken)
    return Answer("words", _chosen(((at.before + word, text) for word, text in found), typed))


def _takes_value(at: Cursor) -> bool:
    """Whether the cursor is where an option's value has to be."""
    return at.slot is not None and at.slot in at.command["options"]


def _chosen(found: Iterable[Suggestion], typed: str) -> list[Suggestion]:
    """Those that go on from what is typed, each once, fit for one line."""
    chosen: dict[str, str] = {}
    for word, text in found:
        if word.startswith(typed) and word.isprintable():
            chosen.setdefault(word, _brief(text))
    return list(chosen.items())


def _brief(text: str) -> str:
    line = "".join(character if character.isprintable() else " " for character in text)
    return line if len(line) <= _MOST_DESCRIPTION else f"{line[: _MOST_DESCRIPTION - 1].rstrip()}…"


def _commands(at: Cursor) -> Iterator[Suggestion]:
    return ((name, below["summary"]) for name, below in at.command["commands"].items())


def _options(at: Cursor) -> Iterator[Suggestion]:
    """The long forms of what was not given yet."""
    for option in at.command["options"]:
        if option["name"] not in at.given or option.get("many"):
            for name in option["names"]:
                if name.startswith("--"):
                    yield name, option["help"]


def _values(at: Cursor) -> Iterable[Suggestion]:
    assert at.slot is not None
    if "choices" in at.slot:
        return [(choice, "") for choice in at.slot["choices"]]
    if at.slot["value"] == "nothing":
        return []
    from jobrunner_cli.engine import suggestions

    return suggestions.suggest(at.slot["value"], at.current, at.given)


def main(arguments: list[str]) -> None:
    """Answer a script: the shell's name, and then the words up to the cursor; for bash see `_for_bash`.

    Writes what kind of answer it is, and then a word and its description in each line. Nobody wants to read of a
    mistake, or of a database that is not there, in the middle of the line that they type: then there is no answer.
    """
    if os.environ.get("JOBRUNNER_TRACEBACK"):
        _write(arguments)
        return
    try:
        _write(arguments)
    except Exception:  # noqa: BLE001 - whatever it is, the line that is being typed stays as it is
        return


def _write(arguments: list[str]) -> None:
    shell, *words = arguments
    if shell == "bash":
        lines = _for_bash(*words)
    else:
        found = answer(read_tree(), words or [""])
        lines = [found.kind, *(f"{word}\t{text}" for word, text in found.suggestions)]
    sys.stdout.buffer.write("".join(f"{line}\n" for line in lines).encode(errors="surrogateescape"))
    sys.stdout.buffer.flush()


def _for_bash(line: str, breaks: str, kind: str) -> list[str]:
    """What goes into COMPREPLY, from the line up to the cursor, COMP_WORDBREAKS and COMP_TYPE.

    bash takes what it puts there as it is, and replaces what stands after the last of the breaks. It has no
    descriptions: they follow the words where several are only listed, of which it inserts what they have in common.
    """
    words, quote = split_line(line)
    found = answer(read_tree(), words)
    typed = words[-1]
    start = 0 if quote else max((typed.rfind(each) + 1 for each in breaks if each in ":=@"), default=0)
    replies = [word[start:] if quote else _escaped(word[start:]) for word, _ in found.suggestions]
    if len(replies) > 1 and kind in _LISTINGS:
        width = max(map(len, replies))
        texts = (text for _, text in found.suggestions)
        replies = [f"{reply:<{width}}  ({text})" if text else reply for reply, text in zip(replies, texts, strict=True)]
    return [found.kind, *replies]


def _escaped(word: str) -> str:
    """A word as it is written outside quotes; `~` and `#` matter at its beginning alone, and are rare."""
    return "".join(f"\\{each}" if each in _SPECIAL else each for each in word)


def split_line(line: str) -> tuple[list[str], str]:
    """The words of a command line in bash up to the cursor, after the program's name, and the quote that is open.

    The last word is the one at the cursor, and may be empty.

    bash has already taken the line apart at `:` and `=`, which a word may well have in it.
    """
    words, word, quote = [], "", ""
    is_open = escaped = False
    for character in line:
        if escaped:
            word, escaped = word + character, False
        elif character == "\\" and quote != "'":
            escaped = is_open = True
        elif quote:
            if character == quote:
                quote = ""
            else:
                word += character
        elif character in "'\"":
            quote, is_open = character, True
        elif character in " \t\n":
            if is_open:
                words.append(word)
            word, is_open = "", False
        else:
            word, is_open = word + character, True
    return [*words, word][1:] or [""], quote
