"""`jobrunner completion`: have the shell complete commands, options, jobs, actions and whatever else has a name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from jobrunner_cli.commands.groups import CommandGroup, Entry


class Completion(CommandGroup):
    """`jobrunner completion`."""

    entries: ClassVar[dict[str, Entry]] = {
        "install": Entry(module=__name__, attribute="install", summary="Put the script for a shell in its place."),
        "show": Entry(module=__name__, attribute="show", summary="Print the script for a shell."),
    }


app = typer.Typer(cls=Completion, add_completion=False, rich_markup_mode=None)

_SHELLS = ("bash", "zsh", "fish")
#: What stands before the line that is added to a shell's own file.
_MARK = "# completion of jobrunner"


@app.callback()
def completion() -> None:
    """Have the shell complete commands, options, jobs, workspaces, actions, branches and images.

    \b
    Examples:
      jobrunner completion install
      jobrunner completion show fish > ~/.config/fish/completions/jobrunner.fish
    """


def _shell(text: str) -> str:
    if text not in _SHELLS:
        msg = f"{text!r} is not one of {', '.join(_SHELLS)}"
        raise typer.BadParameter(msg)
    return text


_Shell = Annotated[
    str | None, typer.Argument(metavar="[bash|zsh|fish]", parser=_shell, help="The shell; by default that of SHELL.")
]


def show(shell: _Shell = None) -> None:
    """Print the script for a shell, for those who see to its place themselves.

    \b
    Examples:
      jobrunner completion show zsh > ~/.zfunc/_jobrunner
      jobrunner completion show bash > /etc/bash_completion.d/jobrunner      for all users
    """
    import sys

    from jobrunner_cli.completion_scripts import script

    sys.stdout.write(script(shell or _own_shell()))


def install(shell: _Shell = None) -> None:
    """Put the script for a shell where the shell finds it, from the next session on.

    For bash and zsh, a line in ~/.bashrc or ~/.zshrc loads it; fish finds it without. May be repeated. The
    script asks jobrunner what there is, so it needs no renewal.

    \b
    Examples:
      jobrunner completion install
      jobrunner completion install fish
    """
    from jobrunner_cli import diagnostics, output
    from jobrunner_cli.completion_scripts import script
    from jobrunner_cli.engine.errors import ConfigurationError

    chosen = shell or _own_shell()
    place, startup = _place(chosen), _startup_file(chosen)
    path = place
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        _write(place, script(chosen))
        output.line(f"{place} is written.")
        if startup is not None:
            path = startup
            if _add_line(startup, place):
                output.line(f"{startup} has a line that loads it.")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        msg = f"{path} cannot be written: {reason}"
        raise ConfigurationError(msg, hint=f"jobrunner completion show {chosen} prints the script") from None
    diagnostics.notice(f"{chosen} completes jobrunner from its next session on.")


def _own_shell() -> str:
    """The shell that SHELL names. Raises UsageError for one that nothing is known of."""
    from jobrunner_cli.engine.errors import UsageError

    name = Path(os.environ.get("SHELL", "")).name
    if name not in _SHELLS:
        msg = f"SHELL does not name one of {', '.join(_SHELLS)}"
        raise UsageError(msg, hint="name the shell: jobrunner completion install bash")
    return name


def _place(shell: str) -> Path:
    """Where the script goes: the place that the shell, or its usual collection of completions, looks into."""
    from jobrunner_cli.completion_scripts import FILES

    if shell == "fish":
        return _base("XDG_CONFIG_HOME", ".config") / "fish" / "completions" / FILES[shell]
    return _base("XDG_DATA_HOME", ".local/share") / "jobrunner" / "completions" / FILES[shell]


def _startup_file(shell: str) -> Path | None:
    """The file of the user that an interactive shell reads; None where the place is enough."""
    if shell == "bash":
        return Path.home() / ".bashrc"
    if shell == "zsh":
        return Path(os.environ.get("ZDOTDIR") or Path.home()) / ".zshrc"
    return None


def _base(variable: str, default: str) -> Path:
    named = os.environ.get(variable, "")
    # The XDG base directory specification has relative paths ignored.
    return Path(named) if named.startswith("/") else Path.home() / default


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _add_line(startup: Path, place: Path) -> bool:
    """Have the script loaded at the start of a session; whether the file had to be changed for that."""
    import shlex

    line = f"[ ! -r {shlex.quote(str(place))} ] || source {shlex.quote(str(place))}"
    before = startup.read_text(encoding="utf-8", errors="surrogateescape") if startup.exists() else ""
    if line in before.splitlines():
        return False
    gap = "" if not before or before.endswith("\n") else "\n"
    # Added at the end and nothing else: whatever the file is, a link to another place say, it stays that.
    with startup.open("a", encoding="utf-8") as stream:
        stream.write(f"{gap}\n{_MARK}\n{line}\n")
    return True
