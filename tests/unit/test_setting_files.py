"""Where settings are read from: config.toml, .env and files that settings name, and which of them are not believed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from support.settings import Load, problems, read

__all__ = ["read"]


def test_the_environment_is_before_dotenv_before_the_config_file_before_the_default(read: Load, tmp_path: Path) -> None:
    (tmp_path / "config" / "config.toml").write_text(
        'max_workers = 3\nMAX_DB_WORKERS = 3\nbackend = "three"\npoll_interval = 0.5'
    )
    (tmp_path / "cwd" / ".env").write_text("MAX_WORKERS=2\nMAX_DB_WORKERS=2\nUNRELATED=x\n")
    settings = read(MAX_WORKERS="1")
    found = [(getattr(settings, name), settings.sources[name]) for name in ("max_workers", "max_db_workers", "backend")]
    assert found == [(1, "environment"), (2, ".env"), ("three", "config.toml")]
    assert settings.poll_interval == 0.5
    assert settings.sources["loglevel"] == "default"
    assert settings.sources["high_privacy_storage_base"] == "derived"
    assert settings.notices == ()


def test_relative_paths_start_from_where_they_are_written(read: Load, tmp_path: Path) -> None:
    (tmp_path / "config" / "config.toml").write_text('debug_log_file = "logs/debug.log"')
    (tmp_path / "cwd" / ".env").write_text("HIGH_PRIVACY_STORAGE_BASE=high\n")
    settings = read(WORKDIR="here", MEDIUM_PRIVACY_STORAGE_BASE="~/medium")
    assert settings.workdir == tmp_path / "cwd" / "here"
    assert settings.high_privacy_volume_dir == tmp_path / "cwd" / "high" / "volumes"
    assert settings.debug_log_file == tmp_path / "config" / "logs" / "debug.log"
    assert settings.medium_privacy_storage_base == Path.home() / "medium"


def test_all_problems_are_told_at_once_each_with_its_source(read: Load, tmp_path: Path) -> None:
    (tmp_path / "config" / "config.toml").write_text(
        'maxworkers = 3\nloglevel = "LOUD"\nmax_retries = 3\n[docker]\nx = 1\n'
    )
    (tmp_path / "cwd" / ".env").write_text("POLL_INTERVAL=often\n")
    same = {"HIGH_PRIVACY_STORAGE_BASE": "/s", "MEDIUM_PRIVACY_STORAGE_BASE": "/x/../s"}
    told = problems(read, MAX_WORKERS="many", PRESTO_TLS_CERT_PATH="/cert", **same).splitlines()
    assert len(told) == 7
    assert any("there is no setting maxworkers; did you mean max_workers?" in line for line in told)
    assert any("there is no setting docker" in line for line in told)
    assert any(line.startswith("LOGLEVEL (from config.toml): 'LOUD'") for line in told)
    assert any(line.startswith("POLL_INTERVAL (from .env): 'often'") for line in told)
    assert any(line.startswith("MAX_WORKERS (from environment): 'many'") for line in told)
    assert any("MEDIUM_PRIVACY_STORAGE_BASE are the same directory: /s" in line for line in told)
    assert any("PRESTO_TLS_CERT_PATH is set without PRESTO_TLS_KEY_PATH" in line for line in told)


@pytest.mark.parametrize("text", ["max_workers =", "\xff", "max_workers = 1\nMAX_WORKERS = 2", "backend = [1]"])
def test_a_config_file_that_cannot_be_read_is_an_error_that_names_it(read: Load, tmp_path: Path, text: str) -> None:
    (tmp_path / "config" / "config.toml").write_bytes(text.encode("latin-1"))
    assert "config.toml" in problems(read)


def test_lists_and_truth_values_of_the_config_file(read: Load, tmp_path: Path) -> None:
    file = tmp_path / "config" / "config.toml"
    file.write_text(
        'allowed_github_orgs = ["a", "b"]\nenable_maintenance_mode_thread = true\nreserve_after_seconds = 7'
    )
    settings = read()
    assert settings.allowed_github_orgs == {"a", "b"}
    assert settings.enable_maintenance_mode_thread
    assert settings.starvation_seconds == 7
    file.write_text("allowed_github_orgs = []")
    assert read().allowed_github_orgs == frozenset()


def test_a_dotenv_with_a_broken_line_is_an_error_that_names_it(read: Load, tmp_path: Path) -> None:
    (tmp_path / "cwd" / ".env").write_text("BACKEND=tpp\n'no form at all\n")
    assert ".env, line 2" in problems(read)
    (tmp_path / "cwd" / ".env").write_bytes(b"BACKEND=\xff\n")
    assert "not UTF-8" in problems(read)


def test_a_dotenv_may_begin_with_a_byte_order_mark(read: Load, tmp_path: Path) -> None:
    (tmp_path / "cwd" / ".env").write_text("BACKEND=tpp\nMAX_WORKERS=3\n", encoding="utf-8-sig")
    assert (read().backend, read().max_workers) == ("tpp", 3)


def git(directory: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=directory, check=True, capture_output=True)


def test_a_dotenv_that_git_tracks_is_ignored_with_a_notice(read: Load, tmp_path: Path) -> None:
    cwd = tmp_path / "cwd"
    (cwd / ".env").write_text("BACKEND=evil\n")
    git(cwd, "init", "--quiet")
    assert read().backend == "evil"

    git(cwd, "add", ".env")
    settings = read()

    assert settings.backend == "expectations"
    (notice,) = settings.notices
    assert str(cwd / ".env") in notice
    assert "git tracks it" in notice


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_dotenv_of_another_user_is_ignored_with_a_notice(read: Load, tmp_path: Path) -> None:
    (tmp_path / "cwd" / ".env").write_text("BACKEND=evil\n")
    os.chown(tmp_path / "cwd" / ".env", 12345, 12345)
    settings = read()
    assert settings.backend == "expectations"
    assert "another user owns it" in settings.notices[0]


def test_files_with_rules_that_are_named_and_absent_are_told_of(read, tmp_path):
    assert read().notices == ()
    told = read(JOB_RESOURCE_WEIGHTS="heavy.ini", JOB_TIME_LIMITS="/no/limits.ini").notices
    assert told == (
        f"JOB_RESOURCE_WEIGHTS (from environment) names {tmp_path}/cwd/heavy.ini, which is not there",
        "JOB_TIME_LIMITS (from environment) names /no/limits.ini, which is not there",
    )
    (tmp_path / "cwd" / "heavy.ini").write_text("")
    assert read(JOB_RESOURCE_WEIGHTS="heavy.ini").notices == ()
