"""`jobrunner project schema`: what editors need to complete and check a project.yaml while it is typed."""

from __future__ import annotations


def schema() -> None:
    """Print a JSON Schema of project.yaml, with which editors complete and check while you type.

    It says less than `jobrunner project check`: a schema cannot know whether a need is an action, say.

    \b
    Examples:
      jobrunner project schema > project.schema.json
    """
    from jobrunner_cli import output
    from jobrunner_cli.engine.study.schema import project_schema

    output.as_json(project_schema())
