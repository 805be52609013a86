"""The log of a service: its form, its levels, and what it never shows."""

from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobrunner_cli.engine.errors import ConfigurationError
from jobrunner_cli.engine.masking import MASK, Masker
from jobrunner_cli.engine.running import service_log
from jobrunner_cli.engine.settings import Settings, load
from support.logs import own_log
from support.store import make_job

SECRET = 'pass"word\\{}'
log = logging.getLogger("jobrunner_cli.test")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load({"WORKDIR": str(tmp_path), "DEBUG_LOG_FILE": str(tmp_path / "debug.log")}, tmp_path, tmp_path)


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    with own_log():
        yield io.StringIO()


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


def test_line_is_one_line_whatever_others_have_said(settings: Settings, stream: io.StringIO):
    service_log.configure(settings, Masker([]), stream)
    log.info("a server says: %s", "no\n2026-11-24 00:00:00.000Z loop all is well\x1b[2J")
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()


def test_warnings_of_libraries_look_like_all_others(settings: Settings, stream: io.StringIO):
    service_log.configure(settings, Masker([SECRET]), stream, as_json=True)
    logging.getLogger("urllib3.connectionpool").warning("Retrying with %s", SECRET)
    logging.getLogger("urllib3.connectionpool").info("of no interest")
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["message"] == f"Retrying with {MASK}"


def test_line_that_cannot_be_formatted_shows_no_value(
    settings: Settings, stream: io.StringIO, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    service_log.configure(settings, Masker([SECRET]), stream)
    log.info(*("two %s %s", SECRET))
    assert "cannot be written" in stream.getvalue()
    assert SECRET not in stream.getvalue() + capsys.readouterr().err + (tmp_path / "debug.log").read_text()


def test_file_that_cannot_be_opened_names_the_setting(tmp_path: Path, stream: io.StringIO):
    settings = load({"WORKDIR": str(tmp_path), "DEBUG_LOG_FILE": str(tmp_path / "none/debug.log")}, tmp_path, tmp_path)
    with pytest.raises(ConfigurationError, match="DEBUG_LOG_FILE cannot be opened"):
        service_log.configure(settings, Masker([]), stream)


STRAYS = """
import sys, threading, warnings
from pathlib import Path
from jobrunner_cli.engine.masking import Masker
from jobrunner_cli.engine.running import service_log
from jobrunner_cli.engine.settings import load

class Broken:
    def __del__(self):
        raise ValueError(sys.argv[1])

def fail():
    raise ValueError(sys.argv[1])

here = Path.cwd()
service_log.configure(load({"WORKDIR": str(here)}, here, here), Masker([sys.argv[1]]), sys.stderr, as_json=True)
service_log.catch_strays()
thread = threading.Thread(target=fail, name="stray")
thread.start()
thread.join()
warnings.warn(sys.argv[1])
broken = Broken()
del broken
"""


def test_what_python_would_say_by_itself_is_masked_like_all_else():
    done = subprocess.run([sys.executable, "-c", STRAYS, SECRET], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["level"] for line in lines] == ["CRITICAL", "WARNING", "ERROR"]
    assert lines[0]["thread"] == "stray"
    assert all(MASK in line["message"] + line.get("exception", "") for line in lines)
    assert SECRET not in done.stderr
