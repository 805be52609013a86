"""The log of a service: its form, its levels, and what it never shows."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobrunner_cli.engine.masking import MASK, Masker
from jobrunner_cli.engine.running import service_log
from jobrunner_cli.engine.settings import Settings, load
from support.store import make_job

SECRET = 'pass"word\\{}'
log = logging.getLogger("jobrunner_cli.test")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load({"WORKDIR": str(tmp_path), "DEBUG_LOG_FILE": str(tmp_path / "debug.log")}, tmp_path, tmp_path)


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    yield io.StringIO()
    package = logging.getLogger("jobrunner_cli")
    for handler in list(package.handlers):
        package.removeHandler(handler)
        handler.close()
    package.propagate = True


def test_line_has_time_thread_message_and_the_job(settings: Settings, stream: io.StringIO):
    service_log.configure(settings, Masker([SECRET]), stream)
    job = make_job("abc", action="one", workspace="ws", job_request_id="r1")
    log.info("with %s", SECRET, extra={"job": job})
    pattern = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}Z MainThread with xxxx-REDACTED-xxxx"
    about = f" status={job.status_code.value} workspace=ws action=one id=abc req=r1\n"
    assert re.fullmatch(pattern + re.escape(about), stream.getvalue())


def test_json_stays_json_whatever_a_secret_looks_like(settings: Settings, stream: io.StringIO):
    service_log.configure(settings, Masker([SECRET, '", "'] * 2), stream, as_json=True)
    try:
        int(SECRET)
    except ValueError:
        log.exception("line\nbreak %s", SECRET)
    (line,) = stream.getvalue().splitlines()
    told = json.loads(line)
    assert told["message"] == f"line\nbreak {MASK}"
    assert told["level"] == "ERROR"
    assert "Traceback" in told["exception"]
    assert SECRET not in stream.getvalue()


def test_level_of_the_stream_changes_and_the_file_has_everything(
    settings: Settings, stream: io.StringIO, tmp_path: Path
):
    service_log.configure(settings, Masker([]), stream)
    log.debug("first")
    service_log.set_level("DEBUG")
    log.debug("second")
    service_log.set_level("ERROR")
    log.warning("third")
    assert "first" not in stream.getvalue()
    assert "second" in stream.getvalue()
    assert "third" not in stream.getvalue()
    said = (tmp_path / "debug.log").read_text()
    assert [word in said for word in ("first", "second", "third")] == [True] * 3
