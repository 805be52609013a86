"""What a job's container is asked to be: the image, the environment, and the way to the database."""

import pytest

from jobrunner_cli.engine import settings as settings_module
from jobrunner_cli.engine.errors import ConfigurationError, ExecutorUnavailableError
from jobrunner_cli.engine.running.definitions import container_spec, define, image_and_args
from support.store import make_job

URL = "mssql://user:pass-word@localhost:1433/db"
#: What every job gets.
COMMON = {"OPENSAFELY_BACKEND": "tpp", "HOME": "/tmp"}


@pytest.fixture
def read(tmp_path):
    """The settings of a backend with real data, and some more."""

    def load(**values):
        (tmp_path / "cert").write_text("the certificate")
        (tmp_path / "key").write_text("the key")
        given = {
            "WORKDIR": str(tmp_path),
            "BACKEND": "tpp",
            "DEFAULT_DATABASE_URL": URL,
            "TEMP_DATABASE_NAME": "scratch",
            "EMIS_ORGANISATION_HASH": "hash-value",
            "PRESTO_TLS_CERT_PATH": str(tmp_path / "cert"),
            "PRESTO_TLS_KEY_PATH": str(tmp_path / "key"),
            "STATA_LICENSE": "licence-value",
            **values,
        }
        given = {name: value for name, value in given.items() if value is not None}
        return settings_module.load(given, cwd=tmp_path, config_dir=tmp_path)

    return load


def job(command, **values):
    return make_job("j", run_command=command, database_name="default", **values)


def extract(**values):
    return job("ehrql:v1 generate-dataset dataset.py", requires_db=True, **values)


def test_database_job_gets_what_is_configured_for_its_database(read):
    assert define(extract(), read()).env == {
        **COMMON,
        "DATABASE_URL": URL,
        "TEMP_DATABASE_NAME": "scratch",
        "EMIS_ORGANISATION_HASH": "hash-value",
        "PRESTO_TLS_CERT": "the certificate",
        "PRESTO_TLS_KEY": "the key",
    }
    bare = dict.fromkeys(
        ("TEMP_DATABASE_NAME", "EMIS_ORGANISATION_HASH", "PRESTO_TLS_CERT_PATH", "PRESTO_TLS_KEY_PATH")
    )
    assert define(extract(), read(**bare)).env == {**COMMON, "DATABASE_URL": URL}


def test_jobs_that_do_not_use_the_database_get_nothing_of_it(read):
    settings = read()
    for other in (job("python:v2 python analysis.py"), job("ehrql:v1 --help", requires_db=False)):
        definition = define(other, settings)
        assert definition.env == COMMON
        spec = container_spec(definition, settings, owner="this")
        assert (spec.network, spec.dns, dict(spec.extra_hosts)) == (None, (), {})


def test_on_dummy_data_no_job_gets_anything_of_a_database(read):
    settings = read(USING_DUMMY_DATA_BACKEND="true")
    definition = define(extract(), settings)
    assert definition.env == COMMON
    assert container_spec(definition, settings, owner="this").network is None


def test_database_job_reaches_the_host_of_its_database_and_no_name_server(read):
    settings = read(DATABASE_ACCESS_NETWORK="to-the-database")
    spec = container_spec(define(extract(), settings), settings, owner="this")
    assert spec.network == "to-the-database"
    assert spec.dns == ("192.0.2.0",)
    assert spec.extra_hosts == {"localhost": "127.0.0.1"}

    by_address = read(DEFAULT_DATABASE_URL="mssql://user:pass-word@127.0.0.1:1433/db")
    assert container_spec(define(extract(), by_address), by_address, owner="this").extra_hosts == {}


def test_host_that_cannot_be_resolved_now_is_waited_for_and_named_without_the_password(read):
    settings = read(DEFAULT_DATABASE_URL="mssql://user:pass-word@database.invalid/db")
    with pytest.raises(ExecutorUnavailableError, match=r"database\.invalid") as caught:
        container_spec(define(extract(), settings), settings, owner="this")
    assert "pass-word" not in str(caught.value)


def test_database_that_is_not_configured_is_named(read):
    with pytest.raises(ConfigurationError, match="include_t1oo"):
        define(make_job("j", run_command="ehrql:v1", requires_db=True, database_name="include_t1oo"), read())


@pytest.mark.parametrize(
    ("command", "licensed"),
    [
        ("stata-mp:v1 analysis/model.do", True),
        ("stata-mp:latest analysis/model.do", True),
        ("r:v1 stata-mp.R", False),
        ("python:v2 python stata-mp", False),
    ],
)
def test_the_licence_goes_to_stata_alone(read, command, licensed):
    for registry in ("registry.example.org/stata-mp", "localhost:5000"):
        env = define(job(command), read(DOCKER_REGISTRY=registry)).env
        assert env == ({**COMMON, "STATA_LICENSE": "licence-value"} if licensed else COMMON)


def test_words_of_a_command_are_split_as_a_shell_does():
    image, args = image_and_args("python:v2 python -c 'print(1)' \"two words\"", "ghcr.io/opensafely-core")
    assert image == "ghcr.io/opensafely-core/python:v2"
    assert args == ("python", "-c", "print(1)", "two words")
