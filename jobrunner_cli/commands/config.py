"""`jobrunner config`: every setting, its value and where that came from."""

from __future__ import annotations

from typing import Annotated

import typer


def config(as_json: Annotated[bool, typer.Option("--json", help="Print the settings as JSON.")] = False) -> None:
    """Show every setting with where its value comes from; secrets are masked.

    The environment comes first, then .env in the working directory, then config.toml in the user's
    configuration directory, then the default.

    \b
    Examples:
      jobrunner config
      BACKEND=tpp jobrunner config --json
    """
    from jobrunner_cli import output
    from jobrunner_cli.commands.loading import load_settings
    from jobrunner_cli.engine import settings as settings_module

    lines = settings_module.describe(load_settings())
    if as_json:
        output.as_json({line.name: {"value": line.value_text, "source": line.source} for line in lines})
        return
    output.table(
        lines,
        [
            output.Column(title="SETTING", value=lambda line: line.name),
            output.Column(title="FROM", value=lambda line: line.source),
            output.Column(title="VALUE", value=lambda line: line.value_text),
        ],
    )
