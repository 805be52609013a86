"""Writes what derives from the code: states.md, settings.md, commands.md, modules.md, and what completion goes by.

python docs/generate.py            write them
python docs/generate.py --check    exit 1 if one of them is not what it would write
"""

from __future__ import annotations

import ast
import json
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

HERE = Path(__file__).parent


def states_page() -> str:
    """The life of a job: the table and the diagram."""
    from jobrunner_cli.engine.states import TABLE, diagram

    rows = [
        f"| `{code.value}` | {entry.word} | {entry.state.value} | {entry.legend.value} | {entry.mover.value} "
        f"| {entry.meaning} |"
        for code, entry in TABLE.items()
    ]
    return "\n".join(
        [
            "# The life of a job",
            "",
            "Generated from `jobrunner_cli/engine/states.py` by `just docs`.",
            "",
            "| code | in words | state | legend | moved by | when |",
            "| --- | --- | --- | --- | --- | --- |",
            *rows,
            "",
            "An arrow from a box holds for every code in it.",
            "",
            "```mermaid",
            diagram().rstrip(),
            "```",
            "",
        ]
    )


def settings_page() -> str:
    """Every setting with its default."""
    from jobrunner_cli.engine.variables import VARIABLES

    rows = [f"| `{item.name}` | {_default(item)} | {item.help} |" for item in VARIABLES]
    return "\n".join(
        [
            "# Settings",
            "",
            "Generated from `jobrunner_cli/engine/variables.py` by `just docs`.",
            "",
            "The environment comes first, then `.env` in the working directory, then `config.toml` in the user's",
            "configuration directory, then the default. An empty value means the default. `jobrunner config` shows every",
            "value with where it came from.",
            "",
            "| variable | default | what it is |",
            "| --- | --- | --- |",
            *rows,
            "",
        ]
    )


def _default(item: object) -> str:
    text = getattr(item, "default_text", "") or getattr(item, "default", None)
    return f"`{text}`" if text and text == getattr(item, "default", None) else str(text or "none")


def commands_page() -> str:
    """The help of every command."""
    parts = ["# Commands", "", "Generated from the commands' own help by `just docs`.", ""]
    for name, text in _help_pages():
        parts += [f"## {name}", "", "```text", text.rstrip(), "```", ""]
    return "\n".join(parts)


def _help_pages() -> Iterator[tuple[str, str]]:
    import typer
    from typer.main import get_command
    from typer.testing import CliRunner

    from jobrunner_cli.cli import app

    def paths(command: object, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        yield path
        for name, child in getattr(command, "commands", {}).items():
            yield from paths(child, (*path, name))

    assert isinstance(app, typer.Typer)
    for path in paths(get_command(app), ()):
        result = CliRunner().invoke(app, [*path, "--help"], prog_name="jobrunner", env={"COLUMNS": "100"})
        yield " ".join(("jobrunner", *path)), "\n".join(line.rstrip() for line in result.output.splitlines())


def modules_page() -> str:
    """Every module with what it says of itself, room by room."""
    package = HERE.parent / "jobrunner_cli"
    rooms = sorted(path.parent for path in package.rglob("__init__.py"))
    parts = [
        "# Every module",
        "",
        "Generated from the modules' docstrings by `just docs`. [architecture.md](architecture.md) says how they belong together.",
    ]
    for room in rooms:
        parts += ["", f"## {room.relative_to(package.parent)}", "", _first_paragraph(room / "__init__.py")]
        parts += ["", "| module | what it is |", "| --- | --- |"]
        modules = sorted(path for path in room.glob("*.py") if path.name != "__init__.py")
        parts += [f"| `{path.stem}` | {_first_paragraph(path).replace('|', chr(92) + '|')} |" for path in modules]
    return "\n".join([*parts, ""])


def _first_paragraph(module: Path) -> str:
    text = ast.get_docstring(ast.parse(module.read_text()))
    assert text is not None
    return " ".join(text.partition("\n\n")[0].split())


def completion_tree() -> str:
    """The commands with their options and arguments, as completion reads them."""
    from typer.main import get_command

    from jobrunner_cli.cli import app
    from jobrunner_cli.commands.completion_tree import command_tree

    return json.dumps(command_tree(get_command(app)), indent=1, ensure_ascii=False) + "\n"


def completion_script(shell: str) -> str:
    """The script of a shell, for those who install from a checkout."""
    from jobrunner_cli.completion_scripts import script

    return script(shell)


#: File, seen from here -> what makes it.
PAGES: dict[str, Callable[[], str]] = {
    "states.md": states_page,
    "settings.md": settings_page,
    "commands.md": commands_page,
    "modules.md": modules_page,
    "../jobrunner_cli/completion_tree.json": completion_tree,
    "../completions/jobrunner.bash": partial(completion_script, "bash"),
    "../completions/_jobrunner": partial(completion_script, "zsh"),
    "../completions/jobrunner.fish": partial(completion_script, "fish"),
}


def main(arguments: list[str]) -> int:
    """Write or check the pages."""
    os.environ["COLUMNS"] = "100"
    stale = []
    for name, make in PAGES.items():
        page, path = make(), HERE / name
        if not path.exists() or path.read_text() != page:
            stale.append(name)
            if "--check" not in arguments:
                path.write_text(page)
    if stale and "--check" in arguments:
        print(f"not current: {', '.join(stale)}; just docs writes them", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
