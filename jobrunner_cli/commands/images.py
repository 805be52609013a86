"""`jobrunner images`: the images that jobs can use here, and fetching more of them."""

from __future__ import annotations

from typing import Annotated, ClassVar

import typer

from jobrunner_cli.commands.groups import CommandGroup, Entry


class Images(CommandGroup):
    """`jobrunner images`."""

    entries: ClassVar[dict[str, Entry]] = {
        "ls": Entry(module=__name__, attribute="ls", summary="List the images that are on this machine."),
        "pull": Entry(module=__name__, attribute="pull", summary="Fetch images from the registry."),
    }


app = typer.Typer(cls=Images, add_completion=False, rich_markup_mode=None)


@app.callback()
def images() -> None:
    """List and fetch the container images that jobs run in.

    \b
    Examples:
      jobrunner images ls
      jobrunner images pull python:v2
    """


def ls(as_json: Annotated[bool, typer.Option("--json", help="Print the images as JSON.")] = False) -> None:
    """List the images that are on this machine.

    \b
    Examples:
      jobrunner images ls
      jobrunner images ls --json
    """
    from jobrunner_cli import diagnostics, output
    from jobrunner_cli.commands.loading import load_settings
    from jobrunner_cli.engine.running.session import make_executor

    settings = load_settings()
    images = make_executor(settings).images()
    if as_json:
        output.as_json(
            [{"name": image.name, "id": image.id, "size": image.size, "created": image.created} for image in images]
        )
        return
    if not images:
        diagnostics.notice(f"No image of {settings.docker_registry} is here; jobrunner images pull fetches one.")
        return
    output.table(
        images,
        [
            output.Column(title="IMAGE", value=lambda image: image.name),
            output.Column(title="ID", value=lambda image: image.id.removeprefix("sha256:")[:12], yields=2),
            output.Column(title="SIZE", value=lambda image: output.size(image.size) if image.size else "", right=True),
            output.Column(title="MADE", value=lambda image: image.created[:19], optional=True, yields=1),
        ],
    )


def pull(
    images: Annotated[list[str], typer.Argument(metavar="IMAGE…", help="Such as python:v2, or with its registry.")],
) -> None:
    """Fetch images from the registry; jobs never do that by themselves.

    \b
    Examples:
      jobrunner images pull python:v2 ehrql:v1
    """
    from jobrunner_cli import diagnostics, output
    from jobrunner_cli.commands.loading import load_settings
    from jobrunner_cli.engine.running.session import make_executor

    settings = load_settings()
    executor = make_executor(settings)
    for image in images:
        name = image if "/" in image else f"{settings.docker_registry}/{image}"
        told: set[str] = set()
        for text in executor.pull(name):
            # Each layer reports some dozen times a second how far it is.
            step = text.partition(" [")[0]
            if step not in told:
                told.add(step)
                diagnostics.notice(step)
        output.line(f"{name} is here.")
