"""Actions that end when a test says so, or at once."""

from __future__ import annotations

from support.runners import WorkDirectory
from support.studies import Action, action


def held(workdir: WorkDirectory, name: str, **more: object) -> Action:
    """An action that waits until the test lets it go."""
    script = f"touch busy; while [ ! -e go ]; do sleep 0.05; done; echo {name} > {name}.txt"
    return action(workdir.command(script), f"{name}.txt", **more)  # type: ignore[arg-type]


def quick(workdir: WorkDirectory, name: str, **more: object) -> Action:
    """An action that ends at once."""
    return action(workdir.command(f"echo {name} > {name}.txt"), f"{name}.txt", **more)  # type: ignore[arg-type]
