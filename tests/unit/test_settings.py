"""Settings come from the right place, are what they say, and keep their secrets."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from jobrunner_cli.engine import variables
from jobrunner_cli.engine.errors import ConfigurationError, UsageError
from jobrunner_cli.engine.settings import describe
from support.settings import Load, problems, read

__all__ = ["read"]


def test_the_defaults_are_those_of_the_specification(read: Load, tmp_path: Path) -> None:
    settings = read()
    work = tmp_path / "work"
    assert settings.backend == "expectations"
    assert settings.using_dummy_data_backend
    assert settings.high_privacy_storage_base == work / "high_privacy"
    assert settings.medium_privacy_storage_base == work / "medium_privacy"
    assert settings.high_privacy_volume_dir == work / "high_privacy" / "volumes"
    assert settings.high_privacy_archive_dir == work / "high_privacy" / "archives"
    assert settings.docker_host_volume_dir is None
    assert settings.job_server_endpoint == "https://jobs.opensafely.org/api/v2/"
    assert settings.allowed_github_orgs == frozenset({"opensafely"})
    assert settings.reusable_actions_url == "https://github.com/opensafely-actions"
    assert (settings.poll_interval, settings.job_loop_interval) == (5.0, 1.0)
    assert settings.max_db_workers == settings.max_workers >= 1
    assert (settings.default_job_cpu_count, settings.default_job_memory_limit) == (2.0, 4 * 2**30)
    assert (settings.level4_max_filesize, settings.level4_max_csv_rows) == (16 * 2**20, 5000)
    assert (settings.job_process_limit, settings.job_stop_grace, settings.starvation_seconds) == (4096, 10.0, 60.0)
    assert settings.docker_registry == "ghcr.io/opensafely-core"
    assert settings.database_access_network == "jobrunner-db"
    assert dict(settings.database_urls) == {}
    assert (settings.stats_poll_interval, settings.maintenance_poll_interval) == (10.0, 300.0)
    assert not settings.enable_maintenance_mode_thread
    assert (settings.executor, settings.loglevel, settings.trace_log_level) == ("docker", "INFO", "ERROR")
    assert settings.database_path == work / "db.sqlite"
    assert settings.repos_dir == work / "repos"
    assert settings.runner_lock_path == work / "runner.lock"
    assert settings.job_resource_weights == tmp_path / "cwd" / "job-resource-weights.ini"
    assert set(settings.sources.values()) == {"environment", "default", "derived"}
    assert list(tmp_path.glob("work")) == []


def test_an_empty_value_means_the_default(read: Load, tmp_path: Path) -> None:
    (tmp_path / "cwd" / ".env").write_text("LOGLEVEL=DEBUG\n")
    settings = read(MAX_WORKERS="", BACKEND="  ", LOGLEVEL="", JOB_SERVER_TOKEN="")
    assert (settings.backend, settings.loglevel, settings.job_server_token) == ("expectations", "INFO", None)
    assert settings.sources["loglevel"] == "default"


def test_expectations_always_means_dummy_data(read: Load) -> None:
    assert read(USING_DUMMY_DATA_BACKEND="false").using_dummy_data_backend
    assert not read(BACKEND="tpp").using_dummy_data_backend
    assert read(BACKEND="test", USING_DUMMY_DATA_BACKEND="YES").using_dummy_data_backend


def test_the_proxy_cannot_be_left_out_where_there_is_real_data(read: Load) -> None:
    assert not read().github_proxy
    assert read(GITHUB_PROXY="true").github_proxy
    assert read(BACKEND="tpp").github_proxy
    assert read(BACKEND="tpp", GITHUB_PROXY="false").github_proxy
    assert not read(BACKEND="test", USING_DUMMY_DATA_BACKEND="1", GITHUB_PROXY="false").github_proxy


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("none", frozenset()),
        ("*", None),
        ("a, b-c ,", frozenset({"a", "b-c"})),
        ("opensafely", frozenset({"opensafely"})),
    ],
)
def test_organisations(read: Load, text: str, expected: frozenset[str] | None) -> None:
    assert read(ALLOWED_GITHUB_ORGS=text).allowed_github_orgs == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://github.com/other/", "https://github.com/other"),
        ("https://git.example.org:8443", "https://git.example.org:8443"),
        ("/srv/actions/", "/srv/actions"),
        ("actions", "{cwd}/actions"),
    ],
)
def test_reusable_actions_come_from_an_https_address_or_a_directory(
    read: Load, tmp_path: Path, text: str, expected: str
) -> None:
    settings = read(REUSABLE_ACTIONS_URL=text)
    assert settings.reusable_actions_url == expected.format(cwd=tmp_path / "cwd")


def test_the_originals_name_of_the_executor_means_docker(read: Load) -> None:
    assert read(EXECUTOR="jobrunner.executors.local:LocalDockerAPI").executor == "docker"
    assert read(EXECUTOR="process").executor == "process"


MALFORMED = {
    "BACKEND": ["x", "-tpp", "tpp-", "t p", "../x"],
    "USING_DUMMY_DATA_BACKEND": ["maybe", "2"],
    "WORKDIR": ["a\0b", "~nobody-of-this-name/x"],
    "JOB_SERVER_ENDPOINT": ["jobs.example.org", "ftp://x/", "https://user:secret@x/", "https://x/?q=1"],
    "ALLOWED_GITHUB_ORGS": [",", "a b", "a/b", "*,a"],
    "REUSABLE_ACTIONS_URL": ["http://x/", "ssh://git@x/y", "https://user:secret@x/", "https://x/?q=1", "a\0b"],
    "POLL_INTERVAL": ["0", "-1", "nan", "inf", "5s", "1e999", "1e10"],
    "MAX_WORKERS": ["0", "-1", "2.5", "two", "1_000", "٣"],
    "MAX_DB_WORKERS": ["-1"],
    "DEFAULT_JOB_CPU_COUNT": ["0", "all"],
    "DEFAULT_JOB_MEMORY_LIMIT": ["4X", "4 G B", "-4G", "4", "4KiB", "G", "1e9", "9999999999T"],
    "LEVEL4_MAX_FILESIZE": ["0", "big"],
    "EXECUTOR": ["podman", "jobrunner.executors.local:Other"],
    "DOCKER_REGISTRY": ["ghcr.io/x/", "two words", "https://ghcr.io/x", "ghcr.io//x", "ghcr.io:x/y"],
    "DOCKER_USER_ID": ["root", "-1", "4294967295"],
    "DATABASE_ACCESS_NETWORK": ["--network", "a b"],
    "LOGLEVEL": ["LOUD"],
    "VERSION": ["\udcff"],
}


@pytest.mark.parametrize(
    "value", ["ghcr.io/opensafely-core", "localhost:5000", "127.0.0.1:5000/a/b.c_d", "proxy-1.x/y-z"]
)
def test_registries(read: Load, value: str) -> None:
    assert read(DOCKER_REGISTRY=value).docker_registry == value


@pytest.mark.parametrize(("text", "level"), [("debug", "DEBUG"), ("warn", "WARNING"), ("FATAL", "CRITICAL")])
def test_levels_may_have_the_names_that_python_gives_them(read: Load, text: str, level: str) -> None:
    assert read(LOGLEVEL=text).loglevel == level


@pytest.mark.parametrize(("high", "medium"), [("/s", "/s"), ("/s/high", "/s"), ("/s/../m/x/y", "/m/x")])
def test_what_is_highly_sensitive_is_not_where_more_people_may_read(read: Load, high: str, medium: str) -> None:
    told = problems(read, HIGH_PRIVACY_STORAGE_BASE=high, MEDIUM_PRIVACY_STORAGE_BASE=medium)
    assert told.startswith("HIGH_PRIVACY_STORAGE_BASE")
    assert "MEDIUM_PRIVACY_STORAGE_BASE" in told
    assert read(HIGH_PRIVACY_STORAGE_BASE="/s", MEDIUM_PRIVACY_STORAGE_BASE="/s/medium")


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in MALFORMED.items() for value in values])
def test_a_malformed_value_is_named_with_its_source(read: Load, name: str, value: str) -> None:
    told = problems(read, **{name: value})
    shown = "the value" if "@" in value else repr(value)
    assert told.startswith(f"{name} (from environment): {shown} is not ")
    assert "\n" not in told


SECRETS = {
    "JOB_SERVER_TOKEN": "server-token-value",
    "PRIVATE_REPO_ACCESS_TOKEN": "github-token-value",
    "DEFAULT_DATABASE_URL": "mssql://user:pass%40word@db.example.org:1433/name",
    "INCLUDE_T1OO_DATABASE_URL": "mssql://user:otherword@db.example.org/name",
    "EMIS_ORGANISATION_HASH": "hash-value",
    "STATA_LICENSE": "licence-value",
}


def test_secrets_are_masked_wherever_settings_are_shown(read: Load) -> None:
    settings = read(**SECRETS)
    shown = repr(settings) + repr(describe(settings))
    for secret in [*SECRETS.values(), "pass%40word", "otherword"]:
        assert secret not in shown
    assert set(settings.secrets()) == {*SECRETS.values(), "pass%40word", "pass@word", "otherword"}
    assert settings.database_urls == {
        "default": SECRETS["DEFAULT_DATABASE_URL"],
        "include_t1oo": SECRETS["INCLUDE_T1OO_DATABASE_URL"],
    }


def test_what_is_in_the_files_for_presto_is_secret(read: Load, tmp_path: Path) -> None:
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    key.write_text("-----BEGIN PRIVATE KEY-----\nc2VjcmV0IG9mIHRoZSBrZXk=\n-----END PRIVATE KEY-----\n")
    cert.write_text("the certificate")
    settings = read(PRESTO_TLS_CERT_PATH=str(cert), PRESTO_TLS_KEY_PATH=str(key))
    assert settings.presto_files() == {"PRESTO_TLS_CERT": cert.read_text(), "PRESTO_TLS_KEY": key.read_text()}
    assert set(settings.secrets()) == {key.read_text(), cert.read_text()}


def test_a_file_for_presto_that_cannot_be_read_names_the_setting(read: Load, tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_bytes(b"\xff")
    settings = read(PRESTO_TLS_CERT_PATH=str(tmp_path / "cert.pem"), PRESTO_TLS_KEY_PATH="/nowhere/key.pem")
    with pytest.raises(ConfigurationError, match=r"PRESTO_TLS_CERT_PATH names .*cert\.pem.* not text"):
        settings.presto_files()
    assert list(settings.secrets()) == []


@pytest.mark.parametrize(
    "url",
    ["hunter2-and-more", "mssql://user:hunter2-and-more@", "x://hunter2-and-more@h:99999/", "x://hunter2\udcff@h/"],
)
def test_a_malformed_secret_is_not_quoted_not_even_in_the_traceback(read: Load, url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(DEFAULT_DATABASE_URL=url)
    assert "DEFAULT_DATABASE_URL (from environment): the value is not" in str(caught.value)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("name", ["JOB_SERVER_ENDPOINT", "REUSABLE_ACTIONS_URL"])
def test_a_password_where_none_belongs_is_not_quoted(read: Load, name: str) -> None:
    with pytest.raises(ConfigurationError, match=name) as caught:
        read(**{name: "https://user:hunter2@x/"})
    assert "hunter2" not in str(caught.value)


def test_every_variable_is_described_with_value_and_source(read: Load) -> None:
    settings = read(ALLOWED_GITHUB_ORGS="*", LEVEL4_MAX_FILESIZE="1536k", VERSION="v7", JOB_SERVER_TOKEN="x")
    lines = {line.name: line for line in describe(settings)}
    assert set(lines) == {variable.name for variable in variables.VARIABLES}
    shown = {name: lines[name].value_text for name in lines}
    assert shown["ALLOWED_GITHUB_ORGS"] == "*"
    assert shown["LEVEL4_MAX_FILESIZE"] == "1536K"
    assert shown["VERSION"] == "v7"
    assert shown["JOB_SERVER_TOKEN"] not in {"", "x"}
    assert shown["STATA_LICENSE"] == ""
    assert shown["USING_DUMMY_DATA_BACKEND"] == "true"
    assert (lines["VERSION"].source, lines["MAX_DB_WORKERS"].source) == ("environment", "derived")
    assert all(line.help for line in lines.values())


def test_the_sample_is_a_dotenv_with_every_variable_and_its_default(read: Load, tmp_path: Path) -> None:
    before = read()
    sample = (Path(__file__).parents[2] / "dotenv-sample").read_text()
    lines = re.findall(r"^(?:# )?([A-Z0-9_]+=.*)$", sample, re.MULTILINE)
    named = [line.partition("=")[0] for line in lines]
    assert sorted(named) == sorted([*(variable.name for variable in variables.VARIABLES), *variables.UNUSED])
    (tmp_path / "cwd" / ".env").write_text("\n".join(lines))
    after = read()
    assert {name: getattr(after, name) for name in after.sources} == {
        name: getattr(before, name) for name in after.sources
    }


def test_a_workspaces_directory_is_never_outside_the_store(read: Load) -> None:
    settings = read()
    assert settings.high_workspace("ws") == settings.high_privacy_storage_base / "workspaces" / "ws"
    assert settings.medium_workspace("ws") == settings.medium_privacy_storage_base / "workspaces" / "ws"
    for name in ("", ".", "..", "../x", "a/b", "/etc", "a\0b"):
        with pytest.raises(UsageError):
            settings.high_workspace(name)
        with pytest.raises(UsageError):
            settings.medium_workspace(name)


def test_jobs_of_a_root_runner_get_an_unprivileged_id(read: Load) -> None:
    settings = read()
    expected = (os.getuid(), os.getgid()) if os.getuid() else (65534, 65534)
    assert (settings.docker_user_id, settings.docker_group_id) == expected
    assert read(DOCKER_USER_ID="1234").docker_user_id == 1234


def test_a_deployment_is_told_by_its_version_and_the_commit_it_was_made_from(read: Load) -> None:
    assert read(VERSION="v7").deployment_text == "v7"
    assert read(VERSION="v7", GIT_SHA="1a2b3c4").deployment_text == "v7 (commit 1a2b3c4)"


def test_settings_load_nothing_that_they_do_not_need(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from jobrunner_cli.engine.settings import load
here = Path(sys.argv[1])
load({"WORKDIR": str(here)}, cwd=here, config_dir=here)
print(sorted({"dotenv", "tomllib", "platformdirs", "subprocess", "importlib.metadata"} & set(sys.modules)))
"""
    answer = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}", str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout == "[]\n"
