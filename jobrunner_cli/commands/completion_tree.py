"""The tree of the commands as data, for completion: names, options, and of which kind each value is.

Written to a file when the documentation is generated, so that Tab imports no command.
"""

from __future__ import annotations

from typing import Any

#: Option or argument, with the command where that matters -> the kind of its value: one of `engine/suggestions.py`,
#: `file` or `directory`. What is not here only the user can know.
_KINDS = {
    "job": "job",
    "jobs": "job",
    "jobs cancel job": "active-job",
    "jobs cancel jobs": "active-job",
    "jobs wait job": "active-job",
    "jobs wait jobs": "active-job",
    "jobs outputs output_path": "output",
    "jobs outputs copy": "file",
    "request": "request",
    "workspace": "workspace",
    "workspaces": "workspace",
    "workspaces show name": "workspace",
    "workspaces archive names": "workspace",
    "workspaces unarchive names": "archived-workspace",
    "action": "action",
    "actions": "action",
    "repo": "directory",
    "project check what": "file",
    "project graph what": "file",
    "commit": "commit",
    "branch": "branch",
    "database": "database",
    "image": "image",
    "images": "image",
    "dbpath": "file",
}
#: What stands for a value in the help -> the kind, where the name above says nothing.
_KINDS_BY_METAVAR = {
    "JOB": "job",
    "ACTION": "action",
    "IMAGE": "image",
    "FILE": "file",
    "PATH": "file",
    "DIR": "directory",
    "DIRECTORY": "directory",
}
_HELP = {"name": "help", "names": ["-h", "--help"], "help": "Show this message and exit."}


def command_tree(command: Any) -> dict[str, Any]:
    """The root command and all below it."""
    return _node(command, ())


def _node(command: Any, path: tuple[str, ...]) -> dict[str, Any]:
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    node: dict[str, Any] = {"options": [*(_option(option, path) for option in options if not option.hidden), _HELP]}
    if arguments:
        node["arguments"] = [_slot(argument, path) for argument in arguments]
    commands = getattr(command, "commands", None)
    if commands is not None:
        node["commands"] = {
            name: {"summary": command.entries[name].summary, **_node(below, (*path, name))}
            for name, below in commands.items()
        }
    return node


def _option(option: Any, path: tuple[str, ...]) -> dict[str, Any]:
    node = {"names": [*option.opts, *option.secondary_opts], "help": option.help or ""}
    if option.is_flag:
        return {"name": option.name, **node}
    return {**_slot(option, path), **node}


def _slot(parameter: Any, path: tuple[str, ...]) -> dict[str, Any]:
    """Where a value stands."""
    slot: dict[str, Any] = {"name": parameter.name, "value": _kind(parameter, path)}
    if choices := _choices(parameter):
        slot |= {"value": "choice", "choices": choices}
    if parameter.nargs == -1 or getattr(parameter, "multiple", False):
        slot["many"] = True
    return slot


def _metavar(parameter: Any) -> str:
    return (parameter.metavar or "").strip("[]{}….")


def _choices(parameter: Any) -> list[str]:
    """The words that a value may be, where they are few and fixed."""
    if _metavar(parameter) == "STATE":
        from jobrunner_cli.engine.states import State, StatusCode

        return list(dict.fromkeys([*(state.value for state in State), *(code.value for code in StatusCode)]))
    if "|" in _metavar(parameter):
        return _metavar(parameter).split("|")
    return list(getattr(parameter.type, "choices", None) or ())


def _kind(parameter: Any, path: tuple[str, ...]) -> str:
    metavar = _metavar(parameter)
    named = _KINDS.get(" ".join((*path, parameter.name))) or _KINDS.get(parameter.name)
    return named or _KINDS_BY_METAVAR.get(metavar.partition(".")[0], "nothing")
