"""`jobrunner images`: the images that jobs can use here, and fetching more of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from jobrunner_cli.commands.groups import CommandGroup, Entry

if TYPE_CHECKING:
    from jobrunner_cli.engine.executors.protocol import Executor
    from jobrunner_cli.engine.settings import Settings


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
      jobrunner images pull
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
    from jobrunner_cli.commands.reaching import reached_executor

    settings = load_settings()
    images = reached_executor(settings).images()
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
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[IMAGE…]", help="Such as python:v2, or with its registry; without any, what is needed and missing."
        ),
    ] = None,
    allowed: Annotated[
        bool,
        typer.Option("--allowed", help="Fetch all images that studies may use: the versions here anew, else latest."),
    ] = False,
) -> None:
    """Fetch images from the registry; jobs never do that by themselves.

    Without names: the images that unfinished jobs need and that are not here, and that of the
    check for database maintenance if it is enabled.

    \b
    Examples:
      jobrunner images pull                           what waiting jobs need
      jobrunner images pull python:v2 ehrql:v1
      jobrunner images pull --allowed
    """
    from jobrunner_cli import diagnostics
    from jobrunner_cli.commands.loading import load_settings
    from jobrunner_cli.commands.reaching import reached_executor
    from jobrunner_cli.engine.errors import ExitCode, UsageError
    from jobrunner_cli.engine.running.needed_images import allowed_images

    if images and allowed:
        msg = "--allowed names all images by itself"
        raise UsageError(msg, hint="leave the names out, or --allowed")
    settings = load_settings()
    executor = reached_executor(settings)
    if images:
        for image in images:
            _fetch(executor, image if "/" in image else f"{settings.docker_registry}/{image}")
        return
    damaged: list[str] = []
    wanted = allowed_images(settings, executor.images()) if allowed else _missing(settings, executor, damaged)
    for text in damaged:
        diagnostics.notice(f"Left out: {text}")
    if not wanted:
        whose = "the other unfinished jobs" if damaged else "unfinished jobs"
        diagnostics.notice(f"Nothing to fetch: every image that {whose} need is here.")
    failed = [name for name in wanted if not _try_to_fetch(executor, name)]
    if failed:
        raise typer.Exit(ExitCode.FAILED)


def _missing(settings: Settings, executor: Executor, damaged: list[str]) -> list[str]:
    from jobrunner_cli.commands.loading import reading
    from jobrunner_cli.engine.running.needed_images import missing_images
    from jobrunner_cli.engine.store import queries
    from jobrunner_cli.engine.store.database import ensure_migrated

    ensure_migrated(settings.database_path)
    with reading(settings) as database:
        jobs = queries.active_jobs(database.connection, damaged=damaged)
        return missing_images(jobs, settings, executor.images())


def _try_to_fetch(executor: Executor, name: str) -> bool:
    """Whether it could be fetched; one that the registry refuses is told and must not hold up the others."""
    from jobrunner_cli import diagnostics
    from jobrunner_cli.engine.errors import ExecutorError

    try:
        _fetch(executor, name)
    except ExecutorError as error:
        diagnostics.error(error)
        return False
    return True


def _fetch(executor: Executor, name: str) -> None:
    from jobrunner_cli import output
    from jobrunner_cli.commands.fetching import fetching

    with fetching(name) as tell:
        for text in executor.pull(name):
            tell(text)
    output.line(f"{name} is here.")
