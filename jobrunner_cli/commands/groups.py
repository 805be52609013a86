"""Groups whose commands are imported and built when they are asked for: each start of the program needs one of them."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from jobrunner_cli import diagnostics
from jobrunner_cli.engine.errors import ExitCode


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A command, or a group, of a group."""

    #: the module that has it
    module: str
    #: its function there, or the Typer of a group
    attribute: str
    #: what the group's help says of it, in one line
    summary: str


class Command(TyperCommand):
    """A command whose usage line names its arguments without braces around them."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The parts of the usage line."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """What is left of the words after the options; an error knows which command it is about."""
        try:
            return super().parse_args(ctx, args)
        except typer.TyperException as problem:
            if getattr(problem, "ctx", ctx) is None:
                problem.__dict__["ctx"] = ctx
            raise


class CommandGroup(TyperGroup):
    """A group that knows its commands by a table of their names."""

    #: name -> where the command is
    entries: ClassVar[dict[str, Entry]]

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Commands(self.entries)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """What is left of the words after the group's own options; without any words, the help, as a usage error."""
        if not args and not ctx.resilient_parsing:
            diagnostics.notice(ctx.get_help())
            raise typer.Exit(ExitCode.USAGE)
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of the commands; building each only for its summary would double the time of the help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in self.entries.items()])


class _Commands(MutableMapping[str, Any]):
    """Name -> command, built when it is first asked for."""

    def __init__(self, entries: dict[str, Entry]) -> None:
        self._entries = entries
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            self._built[name] = _build(name, self._entries[name])
        return self._built[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._built[name] = command

    def __delitem__(self, name: str) -> None:
        del self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def _build(name: str, entry: Entry) -> Any:
    target = getattr(import_module(entry.module), entry.attribute)
    if not isinstance(target, typer.Typer):
        function = target
        target = typer.Typer(add_completion=False, rich_markup_mode=None)
        target.command(name, cls=Command, short_help=entry.summary)(function)
    built = get_command(target)
    built.name = name
    return built
