"""Reading settings from a few variables and files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from jobrunner_cli.engine.errors import ConfigurationError
from jobrunner_cli.engine.settings import Settings, load

Load = Callable[..., Settings]


@pytest.fixture
def read(tmp_path: Path) -> Load:
    """Load settings from these variables, and from what is in `cwd` and `config` below the temporary directory."""
    for name in ("cwd", "config"):
        (tmp_path / name).mkdir()

    def read(**environ: str) -> Settings:
        return load(
            {"WORKDIR": str(tmp_path / "work"), **environ}, cwd=tmp_path / "cwd", config_dir=tmp_path / "config"
        )

    return read


def problems(read: Load, **environ: str) -> str:
    """What is said of settings that are refused."""
    with pytest.raises(ConfigurationError) as caught:
        read(**environ)
    return str(caught.value)
