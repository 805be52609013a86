"""`jobrunner project graph`: what the actions of a study need, drawn, with the states of their latest jobs if wanted."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobrunner_cli.engine.store.models import Job
    from jobrunner_cli.engine.study.pipeline import Pipeline
    from jobrunner_cli.graphs.alphabets import Mark

#: How wide a drawing may be that does not go to a terminal.
_PIPE_WIDTH = 100


class Format(StrEnum):
    """What a graph is shown as."""

    TEXT = "text"
    LIST = "list"
    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"
    JSON = "json"


def graph(
    what: Annotated[
        str, typer.Argument(metavar="[REPO_OR_FILE]", help="A study's directory, a file, or - for stdin.")
    ] = ".",
    shape: Annotated[
        Format, typer.Option("--format", metavar="FORMAT", help="text, list, mermaid, dot, svg or json.")
    ] = Format.TEXT,
    workspace: Annotated[
        str | None, typer.Option(metavar="NAME", help="Show the state of each action's latest job there.")
    ] = None,
    commit: Annotated[
        str | None, typer.Option(metavar="COMMIT", help="Draw what is in this commit, branch or tag.")
    ] = None,
) -> None:
    """Draw what the actions of a study need, each below everything that it needs.

    Without --commit, the file is read as it lies in the working tree; with it, REPO may be a URL, too.
    As text, a study that is too wide for the terminal, or too tangled to follow its lines, becomes an
    indented list.

    \b
    Examples:
      jobrunner project graph
      jobrunner project graph ../my-study --workspace test
      jobrunner project graph ../my-study --commit main --format svg > study.svg
    """
    from jobrunner_cli import diagnostics, output
    from jobrunner_cli.commands.project_source import read_project
    from jobrunner_cli.engine.study.pipeline import read_pipeline

    if workspace is not None:
        _refuse_impossible(workspace)
    pipeline = read_pipeline(read_project(what, commit)[1])
    jobs = None if workspace is None else _latest_jobs(workspace, pipeline)
    if shape is Format.JSON:
        output.as_json(_as_dict(pipeline, workspace, jobs or {}))
        return
    if not pipeline.actions:
        diagnostics.notice("project.yaml has no actions yet.")
    needs = {name: action.needs for name, action in pipeline.actions.items()}
    plain = shape in {Format.TEXT, Format.LIST} and output.is_plain()
    _show(shape, needs, None if jobs is None else _marks(pipeline, jobs, plain=plain), plain=plain)


def _show(
    shape: Format, needs: Mapping[str, tuple[str, ...]], marks: Mapping[str, Mark] | None, *, plain: bool
) -> None:
    """Write the graph to stdout."""
    # Only the one that is asked for.
    from jobrunner_cli import output

    if shape in {Format.TEXT, Format.LIST}:
        from jobrunner_cli.graphs.alphabets import ASCII, UNICODE
        from jobrunner_cli.graphs.listing import listing
        from jobrunner_cli.graphs.terminal import drawing

        alphabet = ASCII if plain else UNICODE
        lines = None
        if shape is Format.TEXT:
            lines = drawing(needs, marks, width=output.width(_PIPE_WIDTH), alphabet=alphabet)
        if lines is None:
            cut_to = output.width(_PIPE_WIDTH) if sys.stdout.isatty() else None
            lines = listing(needs, marks, width=cut_to, alphabet=alphabet)
        for line in lines:
            output.pieces(line)
    elif shape is Format.SVG:
        from jobrunner_cli.graphs.svg import svg

        output.line(svg(needs, marks).rstrip())
    else:
        from jobrunner_cli.graphs import languages

        write = languages.mermaid if shape is Format.MERMAID else languages.dot
        output.line(write(needs, marks).rstrip())


def _refuse_impossible(workspace: str) -> None:
    """Raise UsageError for what is no name of a workspace."""
    from jobrunner_cli.engine.local_requests import check_workspace_name

    check_workspace_name(workspace)


def _latest_jobs(workspace: str, pipeline: Pipeline) -> dict[str, Job]:
    from jobrunner_cli import diagnostics
    from jobrunner_cli.commands.loading import load_for_database, reading
    from jobrunner_cli.engine.store import queries

    with reading(load_for_database()) as database:
        jobs = queries.newest_jobs(database.connection, workspace, pipeline.actions)
        if not jobs and workspace not in queries.known_workspaces(database.connection):
            diagnostics.notice(f"Workspace {workspace} has no jobs; jobrunner workspaces ls lists those that have.")
    return jobs


def _marks(pipeline: Pipeline, jobs: Mapping[str, Job], *, plain: bool) -> dict[str, Mark]:
    """What the drawing says of each action's latest job."""
    from jobrunner_cli import theme
    from jobrunner_cli.graphs.alphabets import Mark

    marks = {name: Mark(glyph="-" if plain else "·", word="no job yet") for name in pipeline.actions}
    for name, job in jobs.items():
        code = job.status_code
        marks[name] = Mark(
            glyph=theme.glyph(code, plain=plain),
            word=theme.word(code),
            style=theme.style(code),
            colours=theme.colours(code),
        )
    return marks


def _as_dict(pipeline: Pipeline, workspace: str | None, jobs: Mapping[str, Job]) -> dict[str, Any]:
    """The graph with stable keys; what belongs to a job is null for an action that has none."""
    from jobrunner_cli.engine.graph_rows import longest_paths

    needs = {name: tuple(dict.fromkeys(action.needs)) for name, action in pipeline.actions.items()}
    rows = longest_paths(needs)
    return {
        "workspace": workspace,
        "actions": [
            {
                "action": name,
                "needs": list(needs[name]),
                "row": rows[name],
                "run": pipeline.actions[name].run,
                "requires_db": pipeline.actions[name].is_database_action,
                "job": jobs[name].id if name in jobs else None,
                "state": jobs[name].state.value if name in jobs else None,
                "status_code": jobs[name].status_code.value if name in jobs else None,
            }
            for name in needs
        ],
        "edges": [{"from": need, "to": name} for name, wanted in needs.items() for need in wanted],
    }
