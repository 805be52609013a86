"""`jobrunner project`: what a study's project.yaml says, and whether it may run. Nothing here needs a database."""

from __future__ import annotations

from typing import ClassVar

import typer

from jobrunner_cli.commands.groups import CommandGroup, Entry


class Project(CommandGroup):
    """`jobrunner project`."""

    entries: ClassVar[dict[str, Entry]] = {
        "check": Entry(
            module="jobrunner_cli.commands.project_check",
            attribute="check",
            summary="Say everything that is wrong with a project.yaml.",
        ),
        "graph": Entry(
            module="jobrunner_cli.commands.project_graph",
            attribute="graph",
            summary="Draw what the actions of a study need.",
        ),
        "schema": Entry(
            module="jobrunner_cli.commands.project_schema",
            attribute="schema",
            summary="Print a JSON Schema of project.yaml, for editors.",
        ),
    }


app = typer.Typer(cls=Project, add_completion=False, rich_markup_mode=None)


@app.callback()
def project() -> None:
    """Check a study's project.yaml before anything runs, and draw what its actions need.

    \b
    Examples:
      jobrunner project check
      jobrunner project check ../my-study --commit main
    """
