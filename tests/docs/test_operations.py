"""What the page for operators and the unit file say fits the program."""

from __future__ import annotations

import re

import pytest
from typer.main import get_command

from jobrunner_cli.cli import app
from jobrunner_cli.engine.store.database import PATIENCE
from jobrunner_cli.engine.variables import VARIABLES
from support.surroundings import ROOT

PAGE = (ROOT / "docs/operations.md").read_text()
UNIT = (ROOT / "examples/jobrunner.service").read_text()
CALLED = sorted(set(re.findall(r"(?:`|bin/|jobrunner |&& )jobrunner ([a-z]+(?:-[a-z]+)*(?: [a-z]+)?)", PAGE)))


#: The right-hand column of the table for those who come from the original runner.
NEW_COMMANDS = sorted(
    {
        words
        for row in re.findall(r"^\| .* \| (.*) \|$", PAGE.partition("| the original |")[2], re.MULTILINE)
        for words in re.findall(r"`jobrunner ([^`]+)`", row)
    }
)


def setting(name: str) -> str:
    found = re.search(rf"^{name}=(.*)$", UNIT, re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("words", CALLED)
def test_commands_that_the_page_names_exist(words: str):
    command = get_command(app)
    for word in words.split():
        below = getattr(command, "commands", None)
        if below is None:
            break
        assert word in below
        command = below[word]


@pytest.mark.parametrize("words", NEW_COMMANDS)
def test_command_for_an_old_one_exists_with_its_options(words: str):
    command = get_command(app)
    for word in words.split():
        if below := getattr(command, "commands", None):
            assert word in below
            command = below[word]
        elif word.startswith("-"):
            assert word in [name for option in command.params for name in option.opts]


def test_every_old_command_has_a_new_one():
    old = {
        "service",
        "run",
        "sync",
        "add_job",
        "kill_job",
        "retry_job",
        "flags",
        "prepare_for_reboot",
        "migrate",
        "manifests",
    }
    named = set(re.findall(r"^\| `python -m jobrunner\.(?:cli\.)?([a-z_]+)", PAGE, re.MULTILINE))
    assert old <= named
    assert len(NEW_COMMANDS) > 15


def test_page_names_many_commands_and_no_setting_that_is_not_there():
    assert len(CALLED) > 10
    known = {variable.name for variable in VARIABLES}
    named = set(re.findall(r"`([A-Z]+_[A-Z_]+)`", PAGE)) | set(re.findall(r"^ +([A-Z_]+)=", PAGE, re.MULTILINE))
    assert named - known <= {"PYTHONFAULTHANDLER"}


def test_unit_waits_longer_than_the_program():
    drain = next(float(variable.default or 0) for variable in VARIABLES if variable.name == "DRAIN_TIMEOUT")
    assert float(setting("TimeoutStopSec")) > drain + 10
    assert float(setting("WatchdogSec")) > 2 * PATIENCE


def test_unit_starts_the_service():
    assert setting("ExecStart").endswith("/jobrunner run --daemon")
    assert setting("Type") == "notify"
