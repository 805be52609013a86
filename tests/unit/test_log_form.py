"""What `run` and `sync` say of themselves, in the form of their log."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from jobrunner_cli import diagnostics
from jobrunner_cli.commands.log_form import LogForm, telling
from jobrunner_cli.engine.errors import JobrunnerError, UnreachableError
from jobrunner_cli.engine.masking import MASK, Masker
from jobrunner_cli.engine.running import service_log
from jobrunner_cli.engine.settings import Settings, load
from support.logs import own_log

SECRET = "a-token-of-theirs"


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with own_log():
        yield load({"WORKDIR": str(tmp_path)}, tmp_path, tmp_path)


@pytest.mark.parametrize("form", list(LogForm))
def test_service_that_ends_by_a_bug_logs_where_and_no_secret(
    settings: Settings, capsys: pytest.CaptureFixture[str], form: LogForm
):
    def serve() -> None:
        with telling(form, service=True):
            service_log.configure(settings, Masker([SECRET]), sys.stderr, as_json=form is LogForm.JSON)
            int(SECRET)

    with pytest.raises(typer.Exit) as end:
        serve()
    assert end.value.exit_code == 1
    said = capsys.readouterr().err
    assert "test_log_form.py" in said
    assert MASK in said
    assert SECRET not in said


def test_json_has_notices_and_errors_as_lines(settings: Settings, capsys: pytest.CaptureFixture[str]):
    def ask() -> None:
        with telling(LogForm.JSON):
            service_log.configure(settings, Masker([SECRET]), sys.stderr, as_json=True)
            diagnostics.notice(f"  of {SECRET}")
            diagnostics.trouble("somebody is late")
            raise UnreachableError("nobody answers", hint="wait")

    with pytest.raises(typer.Exit) as end:
        ask()
    assert end.value.exit_code == 5
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(each["level"], each["message"]) for each in told] == [
        ("WARNING", f"of {MASK}"),
        ("WARNING", "somebody is late"),
        ("CRITICAL", "nobody answers (wait)"),
    ]
    diagnostics.trouble("for people again")
    assert capsys.readouterr().err == "jobrunner: for people again\n"


def test_text_leaves_errors_to_whoever_tells_people(settings: Settings):
    with pytest.raises(JobrunnerError), telling(None, service=True):
        raise JobrunnerError("wrong")
