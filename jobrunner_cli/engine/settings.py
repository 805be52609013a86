"""Settings: every variable as a typed value that remembers where it came from, read once and then passed around."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jobrunner_cli.engine.errors import ConfigurationError, UsageError
from jobrunner_cli.engine.forms import MalformedError, format_duration, format_size
from jobrunner_cli.engine.setting_rules import DEFAULT, DERIVED, absent_files, contradictions, force
from jobrunner_cli.engine.variables import VARIABLES, Variable

_MASK = "********"
#: A shorter part of a secret is no secret, and masking it would spoil every log.
_LEAST_SECRET = 4

ENVIRONMENT, DOTENV, CONFIG_FILE = "environment", ".env", "config.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The value of each variable of `variables.py`, by its name there in lower case (section 10)."""

    backend: str
    #: no real database is ever given to a job
    using_dummy_data_backend: bool
    workdir: Path
    high_privacy_storage_base: Path
    medium_privacy_storage_base: Path
    high_privacy_volume_dir: Path
    high_privacy_archive_dir: Path
    docker_host_volume_dir: Path | None
    #: ends with a slash
    job_server_endpoint: str
    job_server_token: str | None = field(repr=False)
    private_repo_access_token: str | None = field(repr=False)
    #: None is no restriction, empty is no http repository at all
    allowed_github_orgs: frozenset[str] | None
    #: an https address or an absolute path, without a slash at its end
    reusable_actions_url: str
    #: git reaches github.com through the proxy
    github_proxy: bool
    #: seconds
    poll_interval: float
    job_loop_interval: float
    max_workers: int
    max_db_workers: int
    job_resource_weights: Path
    #: seconds after which a job that capacity holds up reserves it
    starvation_seconds: float
    default_job_cpu_count: float
    #: bytes
    default_job_memory_limit: int
    job_process_limit: int
    #: seconds
    job_stop_grace: float
    #: bytes
    level4_max_filesize: int
    level4_max_csv_rows: int
    #: bytes of free space below which nothing new starts; 0 is none
    high_privacy_free_space_floor: int
    medium_privacy_free_space_floor: int
    #: bytes that a job's directory may take up while it runs; None is no limit
    job_directory_limit: int | None
    #: seconds that a job may run; None is no limit
    job_time_limit: float | None
    job_time_limits: Path
    #: `docker` or `process`
    executor: str
    docker_registry: str
    docker_user_id: int
    docker_group_id: int
    database_access_network: str
    default_database_url: str | None = field(repr=False)
    include_t1oo_database_url: str | None = field(repr=False)
    temp_database_name: str | None
    emis_organisation_hash: str | None = field(repr=False)
    presto_tls_cert_path: Path | None
    presto_tls_key_path: Path | None
    stata_license: str | None = field(repr=False)
    #: seconds
    stats_poll_interval: float
    maintenance_poll_interval: float
    enable_maintenance_mode_thread: bool
    #: seconds
    drain_timeout: float
    loglevel: str
    debug_log_file: Path | None
    trace_log_level: str
    #: what a deployment calls itself; None is the package's own version
    version: str | None
    git_sha: str | None
    #: field -> environment, .env, config.toml, default or derived
    sources: Mapping[str, str]
    #: what the user should know about how they were read, a sentence each
    notices: tuple[str, ...]

    @property
    def database_urls(self) -> Mapping[str, str]:
        """Database name -> address, of those that are configured. Addresses are secret."""
        urls = {"default": self.default_database_url, "include_t1oo": self.include_t1oo_database_url}
        return {name: url for name, url in urls.items() if url is not None}

    @property
    def database_path(self) -> Path:
        """The database of jobs."""
        return self.workdir / "db.sqlite"

    @property
    def metrics_path(self) -> Path:
        """The database of what jobs used."""
        return self.workdir / "metrics.sqlite"

    @property
    def repos_dir(self) -> Path:
        """The mirrors of git repositories."""
        return self.workdir / "repos"

    @property
    def runner_lock_path(self) -> Path:
        """The lock that the one runner of the work directory holds."""
        return self.workdir / "runner.lock"

    @property
    def sync_lock_path(self) -> Path:
        """The lock of the one process that speaks to the job-server for the work directory."""
        return self.workdir / "sync.lock"

    @property
    def sync_status_path(self) -> Path:
        """What that process last did."""
        return self.workdir / "sync-status.json"

    @property
    def logs_dir(self) -> Path:
        """The log directories of jobs, by month."""
        return self.high_privacy_storage_base / "logs"

    def high_workspace(self, name: str) -> Path:
        """A workspace's directory in the high privacy store. Raises UsageError for what cannot be a workspace's name."""
        return self.high_privacy_storage_base / "workspaces" / _component(name)

    def medium_workspace(self, name: str) -> Path:
        """A workspace's directory in the medium privacy store. Raises UsageError as `high_workspace` does."""
        return self.medium_privacy_storage_base / "workspaces" / _component(name)

    @property
    def version_text(self) -> str:
        """The version that is told to people and other programs."""
        if self.version is not None:
            return self.version
        # Twenty milliseconds, for the few who ask.
        from importlib import metadata

        try:
            return metadata.version("jobrunner-cli")
        except metadata.PackageNotFoundError:
            return "unknown"

    @property
    def deployment_text(self) -> str:
        """The version, with the commit that this deployment was made from where that is known; for people."""
        return self.version_text if self.git_sha is None else f"{self.version_text} (commit {self.git_sha})"

    def presto_files(self) -> Mapping[str, str]:
        """What a job gets of the files for a Presto database, by its variable there; empty if there are none.

        Raises ConfigurationError, naming the setting, if one cannot be read.
        """
        return {variable: _content(name, path) for variable, name, path in self._presto_paths()}

    def _presto_paths(self) -> Iterator[tuple[str, str, Path]]:
        paths = {"PRESTO_TLS_CERT": self.presto_tls_cert_path, "PRESTO_TLS_KEY": self.presto_tls_key_path}
        yield from ((variable, f"{variable}_PATH", path) for variable, path in paths.items() if path is not None)

    def secrets(self) -> Iterator[str]:
        """Everything that must not be seen in a log, an error or on the wire: secret values, passwords in them, and what
        is in files that jobs get."""
        for variable in VARIABLES:
            value = getattr(self, variable.field)
            if variable.secret and value is not None:
                yield value
        for url in self.database_urls.values():
            yield from _passwords(url)
        for _, name, path in self._presto_paths():
            with suppress(ConfigurationError):
                yield _content(name, path)


def _component(name: str) -> str:
    if name in {"", ".", ".."} or "/" in name or "\0" in name:
        msg = f"a workspace cannot be called {name!r}"
        raise UsageError(msg)
    return name


def _content(name: str, path: Path) -> str:
    """The text of a file that a setting names. Raises ConfigurationError."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        msg = f"{name} names {path}, which cannot be read: {reason}"
        raise ConfigurationError(msg, hint="correct the setting, or who may read the file") from None


def _passwords(url: str) -> Iterator[str]:
    # Only where a database is configured.
    from urllib.parse import unquote, urlsplit

    password = urlsplit(url).password or ""
    yield from sorted(text for text in {password, unquote(password)} if len(text) >= _LEAST_SECRET)


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingLine:
    """One setting as `jobrunner config` shows it."""

    name: str
    #: masked if it is secret; empty for no value
    value_text: str
    source: str
    help: str


def describe(settings: Settings) -> list[SettingLine]:
    """Every setting with its value and source, in the order of the table."""
    return [
        SettingLine(
            name=variable.name,
            value_text=_value_text(variable, settings),
            source=settings.sources[variable.field],
            help=variable.help,
        )
        for variable in VARIABLES
    ]


def _value_text(variable: Variable, settings: Settings) -> str:
    value = getattr(settings, variable.field)
    match variable.field:
        case "version":
            return settings.version_text
        case "allowed_github_orgs":
            return "*" if value is None else ", ".join(sorted(value)) or "none"
        case "default_job_memory_limit" | "level4_max_filesize" | "job_directory_limit" if value is not None:
            return format_size(value)
        case "job_time_limit" if value is not None:
            return format_duration(value)
        case "high_privacy_free_space_floor" | "medium_privacy_free_space_floor":
            return format_size(value)
    if value is None:
        return ""
    if variable.secret:
        return _MASK
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """One source of values."""

    source: str
    #: variable -> text
    values: Mapping[str, str] = field(repr=False)
    #: what relative paths in it start from
    base: Path


def load(environ: Mapping[str, str] | None = None, cwd: Path | None = None, config_dir: Path | None = None) -> Settings:
    """Read all settings: the environment, then `.env` in `cwd`, then `config.toml` in `config_dir`, then the defaults.

    Without arguments these are the process's environment, its working directory and the platform's user configuration
    directory for `jobrunner`. Raises ConfigurationError, naming every malformed value with its source.
    """
    here = _present_directory() if cwd is None else cwd.absolute()
    problems: list[str] = []
    notices: list[str] = []
    layers = (
        _Layer(source=ENVIRONMENT, values=os.environ if environ is None else environ, base=here),
        _dotenv(here, problems, notices),
        _config_file(config_dir, problems),
    )
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for variable in VARIABLES:
        try:
            values[variable.field], sources[variable.field] = _value(variable, layers, values, here)
        except _ProblemError as problem:
            problems.append(str(problem))
            values[variable.field], sources[variable.field] = _default(variable, values, here)
    problems += contradictions(values)
    if problems:
        raise ConfigurationError("\n".join(problems), hint="an empty value means the default")
    force(values, sources)
    notices += absent_files(values, sources)
    return Settings(**values, sources=MappingProxyType(sources), notices=tuple(notices))


def _present_directory() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        msg = f"the directory that jobrunner was started in cannot be found: {error.strerror}"
        raise ConfigurationError(
            msg, hint="change to one that is there: its .env is read, and paths start there"
        ) from None


class _ProblemError(Exception):
    """A malformed value, in one line."""


def _value(variable: Variable, layers: tuple[_Layer, ...], values: Mapping[str, Any], here: Path) -> tuple[Any, str]:
    for layer in layers:
        if variable.name not in layer.values:
            continue
        text = layer.values[variable.name].strip()
        if not text:
            break
        try:
            return variable.parse(text, layer.base), layer.source
        except MalformedError as form:
            # Somebody may have put a password into an address.
            shown = "the value" if variable.secret or "@" in text else repr(text)
            # Not chained: the cause may quote a secret.
            raise _ProblemError(f"{variable.name} (from {layer.source}): {shown} is not {form}") from None
    return _default(variable, values, here)


def _default(variable: Variable, values: Mapping[str, Any], here: Path) -> tuple[Any, str]:
    source = DERIVED if variable.follows else DEFAULT
    if variable.derive is not None:
        return variable.derive(values), source
    return (None if variable.default is None else variable.parse(variable.default, here)), source


def _dotenv(here: Path, problems: list[str], notices: list[str]) -> _Layer:
    path = here / ".env"
    values: Mapping[str, str] = {}
    if path.is_file():
        # python-dotenv and the question to git, only where there is such a file.
        from jobrunner_cli.engine import setting_files

        reason = setting_files.distrust(path)
        if reason is None:
            values = setting_files.read_dotenv(path, problems)
        else:
            notices.append(f"{path} is ignored: {reason}")
    return _Layer(source=DOTENV, values=values, base=here)


def _config_file(config_dir: Path | None, problems: list[str]) -> _Layer:
    if config_dir is None:
        # Six milliseconds.
        import platformdirs

        config_dir = Path(platformdirs.user_config_dir("jobrunner", appauthor=False))
    path = config_dir.absolute() / "config.toml"
    values: Mapping[str, str] = {}
    if path.exists():
        # The TOML parser, only where there is such a file.
        from jobrunner_cli.engine import setting_files

        values = setting_files.read_config(path, problems)
    return _Layer(source=CONFIG_FILE, values=values, base=path.parent)
