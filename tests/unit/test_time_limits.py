"""How long jobs may run: durations, the file with limits of some actions, and the rule that ends a job."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner_cli.engine import settings as settings_module
from jobrunner_cli.engine.errors import ConfigurationError
from jobrunner_cli.engine.forms import MalformedError, format_duration, parse_duration
from jobrunner_cli.engine.scheduling import decide
from jobrunner_cli.engine.states import StatusCode
from jobrunner_cli.engine.time_limits import load_time_limits
from jobrunner_cli.engine.work import ContainerState, EffectKind, Intent, IntentKind
from jobrunner_cli.engine.world import Snapshot
from support.situations import make_job, make_world

C = StatusCode
RUNS = Snapshot(asked_at=1.0, containers={"j": ContainerState.RUNNING})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("30m", 1800),
        ("1.5h", 5400),
        ("7D", 604800),
        ("2w", 1209600),
        (" 2 h ", 7200),
        ("0.5s", 0.5),
    ],
)
def test_durations(text: str, seconds: float):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0s", "-1h", "h", "1y", "1h30m", "inf", "nan", "1e3", "٣h"])
def test_what_is_no_duration_is_refused(text: str):
    with pytest.raises(MalformedError):
        parse_duration(text)


@given(st.integers(1, 10**8))
def test_a_duration_that_is_shown_is_read_back(seconds: int):
    assert parse_duration(format_duration(float(seconds))) == seconds


def test_limits_by_workspace_and_action_in_the_manner_of_weights(tmp_path: Path):
    path = tmp_path / "limits.ini"
    path.write_text("# for one workspace\n[ws]\nmodel_.* = 7d\nfree = none\n.* = 2h\n")
    limits = load_time_limits(path, 60.0)
    assert limits.limit("ws", "model_1") == 7 * 86400
    assert limits.limit("ws", "free") is None
    assert limits.limit("ws", "other") == 7200
    assert limits.limit("elsewhere", "model_1") == 60
    assert load_time_limits(tmp_path / "none", None).limit("ws", "a") is None


def test_what_is_wrong_in_the_file_is_named_with_its_place(tmp_path: Path):
    path = tmp_path / "limits.ini"
    path.write_text("[ws]\na = soon\nb =\n")
    with pytest.raises(ConfigurationError) as caught:
        load_time_limits(path, None)
    first, second = str(caught.value).splitlines()
    assert first == f"{path}, line 2, section [ws]: key a: soon is not a duration such as 90s, 30m, 2h or 7d, or none"
    assert "line 3, section [ws]: key b" in second


def test_the_setting_is_shown_as_it_is_written(tmp_path: Path):
    def shown(**values: str) -> str:
        settings = settings_module.load({"WORKDIR": str(tmp_path), **values}, cwd=tmp_path, config_dir=tmp_path)
        return next(line.value_text for line in settings_module.describe(settings) if line.name == "JOB_TIME_LIMIT")

    assert shown(JOB_TIME_LIMIT="90m") == "90m"
    assert shown() == ""
    with pytest.raises(ConfigurationError, match="JOB_TIME_LIMIT"):
        shown(JOB_TIME_LIMIT="0")


def test_a_job_that_ran_too_long_is_ended_and_then_finalized():
    job = make_job("j", C.EXECUTING, code_since=1000.0 - 3600, time_limit=3600.0)
    assert decide([job], make_world(snapshot=RUNS)) == []
    (decision,) = decide([job], make_world(snapshot=RUNS, now=1001.0))
    assert (decision.path, decision.effect) == ((), EffectKind.HALT)


def test_a_clock_that_is_set_lets_no_time_pass_for_a_job_of_this_runner():
    seen = Snapshot(asked_at=60.0, containers=RUNS.containers)
    job = make_job("j", C.EXECUTING, code_since=1000.0, effect_ended_at=50.0, time_limit=3600.0)
    assert decide([job], make_world(snapshot=seen, now=1000.0 + 86400, monotonic=3650.0)) == []
    (decision,) = decide([job], make_world(snapshot=seen, now=1000.0 - 86400, monotonic=3651.0))
    assert decision.effect is EffectKind.HALT
    assert decision.cause == "it ran for more than 1h, its time limit"
    exited = Snapshot(asked_at=3.0, containers={"j": ContainerState.EXITED})
    (decision,) = decide([replace(job, effect_ended_at=2.0)], make_world(snapshot=exited, now=1001.0))
    assert decision.path == (C.EXECUTED, C.FINALIZING)


@pytest.mark.parametrize("code", [C.PREPARING, C.PREPARED, C.FINALIZING, C.WAITING_ON_WORKERS])
def test_only_the_command_has_a_time_limit(code: StatusCode):
    job = make_job("j", code, code_since=0.0, time_limit=1.0)
    assert EffectKind.HALT not in {decision.effect for decision in decide([job], make_world(snapshot=RUNS))}


def test_a_job_that_is_cancelled_is_not_kept_because_it_ran_too_long():
    cancel = Intent(id=1, kind=IntentKind.CANCEL, job_id="j")
    job = make_job("j", C.EXECUTING, code_since=0.0, time_limit=1.0, intents=(cancel,))
    (decision,) = decide([job], make_world(snapshot=RUNS))
    assert decision.effect is EffectKind.TERMINATE
