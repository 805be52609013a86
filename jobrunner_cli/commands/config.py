"""`jobrunner config`: every setting, its value and where that came from."""

from __future__ import annotations

from typing import Annotated

import typer


def config(as_json: Annotated[bool, typer.Option("--json", help="Print the settings as JSON.")] = False) -> None:
    """Show every setting with where its value comes from; secrets are masked.

    \b
    The environment comes first, then .env in the working directory, then config.toml in the user's
    configuration directory, then the default.

    \b
    Examples:
      jobrunner config
      BACKEND=tpp jobrunner config --json
    """
    from jobrunner_cli import diagnostics, output
    from jobrunner_cli.engine import settings as settings_module

    settings = settings_module.load()
    for text in settings.notices:
        diagnostics.notice(text)
    lines = settings_module.describe(settings)
    if as_json:
        output.as_json({line.name: {"value": line.value_text, "source": line.source} for line in lines})
        return
    output.table(
        lines,
        [
            output.Column(title="SETTING", value=lambda line: line.name),
            output.Column(title="VALUE", value=lambda line: line.value_text, may_shrink=True),
            output.Column(title="FROM", value=lambda line: line.source),
        ],
    )
