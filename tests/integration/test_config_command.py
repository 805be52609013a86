"""`jobrunner config`: every setting with where it came from, and no secret."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobrunner_cli.engine.variables import VARIABLES
from support.terminal import jobrunner, on_terminal, without_colours

pytestmark = pytest.mark.slow

SECRETS = {
    "JOB_SERVER_TOKEN": "s3cret-of-the-server",
    "PRIVATE_REPO_ACCESS_TOKEN": "s3cret-of-github",
    "DEFAULT_DATABASE_URL": "mssql://reader:s3cret-word@db.example.org/data",
    "INCLUDE_T1OO_DATABASE_URL": "mssql://reader:s3cret%2Fword@db.example.org/more",
    "EMIS_ORGANISATION_HASH": "s3cret-hash",
    "STATA_LICENSE": "s3cret-licence",
}


@pytest.fixture(autouse=True)
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORKDIR", str(tmp_path / "workdir"))
    return tmp_path / "workdir"


def configured(**environment: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(jobrunner("config", "--json", **environment).stdout)
    return found


def test_every_variable_is_shown_with_value_and_source(workdir: Path):
    found = configured(MAX_WORKERS="3")
    assert list(found) == [variable.name for variable in VARIABLES]
    assert {frozenset(entry) for entry in found.values()} == {frozenset({"value", "source"})}
    assert found["WORKDIR"] == {"value": str(workdir), "source": "environment"}
    assert found["MAX_WORKERS"] == {"value": "3", "source": "environment"}
    assert found["MAX_DB_WORKERS"] == {"value": "3", "source": "derived"}
    assert found["LEVEL4_MAX_FILESIZE"] == {"value": "16M", "source": "default"}
    assert not workdir.exists()


def test_sources_are_asked_in_their_order():
    config = Path(os.environ["XDG_CONFIG_HOME"]) / "jobrunner/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text("backend = 'from-toml'\nmax_workers = 7\nloglevel = 'DEBUG'\n")
    Path(".env").write_text("BACKEND=from-dotenv\nMAX_WORKERS=5\n")
    found = configured(BACKEND="from-environment")
    shown = {name: tuple(found[name].values()) for name in ("BACKEND", "MAX_WORKERS", "LOGLEVEL", "POLL_INTERVAL")}
    assert shown == {
        "BACKEND": ("from-environment", "environment"),
        "MAX_WORKERS": ("5", ".env"),
        "LOGLEVEL": ("DEBUG", "config.toml"),
        "POLL_INTERVAL": ("5", "default"),
    }


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_secrets_are_never_shown(form: list[str]):
    done = jobrunner("config", *form, **SECRETS)
    assert "s3cret" not in done.stdout + done.stderr
    assert done.stdout.count("********") == len(SECRETS)


@pytest.mark.parametrize("name", ["DEFAULT_DATABASE_URL", "INCLUDE_T1OO_DATABASE_URL"])
def test_malformed_secret_is_named_and_not_quoted(name: str):
    done = jobrunner("config", code=3, **{name: "s3cret word"})
    assert done.stderr.startswith(f"jobrunner: {name} (from environment): the value is not a database address")
    assert "s3cret" not in done.stderr


def test_ignored_dotenv_is_told_by_every_command_that_reads_settings(tmp_path: Path):
    subprocess.run(["git", "init", "--quiet"], check=True)
    Path(".env").write_text("BACKEND=of-a-study\n")
    subprocess.run(["git", "add", ".env"], check=True)
    said = f"{Path.cwd() / '.env'} is ignored: git tracks it"
    assert configured()["BACKEND"]["value"] == "expectations"
    for words, code in ((["config"], 0), (["jobs", "ls"], 3), (["run"], 3), (["migrate"], 0), (["jobs", "ls"], 0)):
        assert jobrunner(*words, code=code).stderr.splitlines()[0] == said


def test_table_is_aligned_and_plain_in_a_pipe():
    title, *lines = jobrunner("config").stdout.splitlines()
    assert title.split() == ["SETTING", "FROM", "VALUE"]
    column = title.index("FROM")
    assert {line[column - 2 : column] for line in lines} == {"  "}
    assert all(line == line.rstrip() for line in lines)


def test_values_are_whole_on_any_terminal(workdir: Path):
    text = without_colours(on_terminal("config", columns=60))
    assert str(workdir / "high_privacy" / "volumes") in text
    assert "…" not in text


def test_directory_that_is_gone_is_one_line(tmp_path: Path):
    gone = tmp_path / "gone"
    gone.mkdir()
    start = f'cd "{gone}" && rmdir "{gone}" && exec "{sys.executable}" -m jobrunner_cli config'
    done = subprocess.run(["sh", "-c", start], capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stderr.startswith("jobrunner: the directory that jobrunner was started in cannot be found")
