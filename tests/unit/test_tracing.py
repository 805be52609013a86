"""Which variables turn traces on, and where they go."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobrunner_cli.engine import settings as settings_module
from jobrunner_cli.engine.tracing import Tracing, sends_spans, shows_spans, start_tracing


@pytest.mark.parametrize(
    ("variables", "sends"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"}, True),
        ({"OTEL_EXPORTER_OTLP_HEADERS": "x-honeycomb-team=key"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_HEADERS": "x-honeycomb-team=key"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_CONSOLE": "1"}, False),
    ],
)
def test_an_endpoint_or_headers_turn_sending_on(variables: dict[str, str], sends: bool):
    assert sends_spans(variables) is sends


def test_the_console_has_a_variable_of_its_own():
    assert shows_spans({"OTEL_EXPORTER_CONSOLE": "Yes"})
    assert not shows_spans({"OTEL_EXPORTER_CONSOLE": "no", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"})


def test_headers_alone_mean_honeycomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from jobrunner_cli.engine.spans import _exporters

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-honeycomb-team=key")
    (exporter,) = _exporters({"OTEL_EXPORTER_OTLP_HEADERS": "x-honeycomb-team=key"})
    assert exporter._endpoint == "https://api.honeycomb.io/v1/traces"
    exporter.shutdown()


@pytest.mark.parametrize(
    "variables",
    [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"}],
)
def test_without_traces_there_is_no_context_for_rows(tmp_path: Path, variables: dict[str, str]):
    settings = settings_module.load({"WORKDIR": str(tmp_path)}, cwd=tmp_path, config_dir=tmp_path)
    tracing = start_tracing(settings, lambda _: None, dict(variables))
    assert type(tracing) is Tracing
    assert tracing.new_context() is None
    tracing.close()
