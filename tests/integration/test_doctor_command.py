"""`jobrunner doctor`: what is wrong is found, with what helps, and nothing is changed."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from jobrunner_cli.engine.states import StatusCode
from jobrunner_cli.engine.store.locks import RunnerLock
from support.doctoring import examined, only, workdir
from support.job_server import BACKEND, TOKEN, JobServer
from support.store import make_job, new_database, older_database
from support.syncing import server
from support.terminal import jobrunner, on_terminal

__all__ = ["server", "workdir"]


pytestmark = pytest.mark.slow


# All is well.


def test_sound_place_has_no_problem(workdir: Path):
    found = examined()
    assert list(found) == [
        "python", "git", "clock", "settings", "directories", "space", "database", "runner", "engine", "images", "network",
        "job-server",
    ]  # fmt: skip
    assert "problem" not in {one["verdict"] for each in found.values() for one in each}
    assert found["python"][0]["text"].endswith(
        f"Python {sys.version.split()[0]}, SQLite {found['python'][0]['text'].split()[-1]}"
    )


def test_text_names_each_check_and_sums_up(workdir: Path):
    lines = jobrunner("doctor").stdout.splitlines()
    assert lines[0].startswith("ok       python")
    assert any(line.strip() == "-> set EXECUTOR=docker" for line in lines)
    assert " ok, " in lines[-1]
    wide = on_terminal("doctor", columns=50)
    assert max(len(line) for line in wide.replace("\x1b", "").splitlines() if "/" not in line) <= 62


def test_nothing_is_changed(workdir: Path, server: JobServer):
    def everything() -> dict[str, tuple[int, bytes]]:
        return {
            str(path): (path.stat().st_mode, path.read_bytes() if path.is_file() else b"")
            for path in sorted(workdir.parent.rglob("*"))
        }

    before = everything()
    examined(
        JOB_SERVER_ENDPOINT=server.endpoint, JOB_SERVER_TOKEN=TOKEN, BACKEND=BACKEND, USING_DUMMY_DATA_BACKEND="true"
    )
    assert everything() == before
    assert {seen.method for seen in server.seen} == {"GET"}


def test_work_directory_that_is_not_there_is_not_made(tmp_path: Path):
    found = examined(code=1, WORKDIR=str(tmp_path / "none"), EXECUTOR="process")
    assert only(found["database"], "problem")["help"] == "make it with: jobrunner migrate"
    assert "is made when it is needed" in found["directories"][0]["text"]
    assert list(tmp_path.iterdir()) == []


# What is wrong here.


def test_malformed_settings_are_a_finding_each_and_the_machine_is_looked_at(workdir: Path):
    found = examined(code=1, MAX_WORKERS="many", EXECUTOR="magic")
    assert [one["text"].split()[0] for one in found["settings"]] == ["MAX_WORKERS", "EXECUTOR"]
    assert found["git"][0]["verdict"] == "ok"
    assert "database" not in found


@pytest.mark.parametrize(
    ("settings", "verdict", "told"),
    [
        ({"MAX_WORKERS": "2", "MAX_DB_WORKERS": "3"}, "warning", "MAX_DB_WORKERS (3) is more than MAX_WORKERS (2)"),
        ({"DEFAULT_DATABASE_URL": "mssql://u:p4ssw0rd@h/db"}, "warning", "DEFAULT_DATABASE_URL is set, and no job"),
        ({"HIGH_PRIVACY_STORAGE_BASE": "/s/m/high", "MEDIUM_PRIVACY_STORAGE_BASE": "/s/m"}, "problem", "is inside MEDIUM_PRIVACY_STORAGE_BASE"),
        ({"HIGH_PRIVACY_VOLUME_DIR": "/s/m/v", "MEDIUM_PRIVACY_STORAGE_BASE": "/s/m"}, "problem", "VOLUME_DIR is within"),
        ({"MEDIUM_PRIVACY_STORAGE_BASE": "/s/h/m", "HIGH_PRIVACY_STORAGE_BASE": "/s/h"}, "warning", "within HIGH_PRIVACY"),
        ({"DOCKER_HOST_VOLUME_DIR": "/srv/x"}, "warning", "DOCKER_HOST_VOLUME_DIR is set"),
        ({"BACKEND": "tpp"}, "problem", "EXECUTOR=process is refused on backend tpp"),
        ({"BACKEND": "tpp", "ALLOWED_GITHUB_ORGS": "*"}, "warning", "anybody's code may run on real data"),
        ({"BACKEND": "tpp"}, "warning", "DEFAULT_DATABASE_URL is not set"),
        (
            {"BACKEND": "tpp", "PRESTO_TLS_CERT_PATH": "/no/cert", "PRESTO_TLS_KEY_PATH": "/no/key"},
            "problem",
            "PRESTO_TLS_CERT_PATH names /no/cert, which cannot be read",
        ),
        (
            {"BACKEND": "tpp", "DEFAULT_DATABASE_URL": "mssql://u:p4ssw0rd@h/db", "MAX_DB_WORKERS": "0"},
            "warning",
            "wait for ever",
        ),
        (
            {"JOB_SERVER_TOKEN": "s3cr3t-t0k3n", "JOB_SERVER_ENDPOINT": "http://192.0.2.1:9/"},
            "problem",
            "for everybody to read",
        ),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)  # fmt: skip
def test_settings_that_contradict_each_other(settings: dict[str, str], verdict: str, told: str, workdir: Path):
    done = subprocess.run(
        [sys.executable, "-m", "jobrunner_cli", "doctor", "--json"],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
    )
    found = [one for one in json.loads(done.stdout) if one["check"] == "settings"]
    assert [one for one in found if one["verdict"] == verdict and told in one["text"]], found
    assert "p4ssw0rd" not in done.stdout + done.stderr
    assert "s3cr3t" not in done.stdout + done.stderr


def test_settings_file_that_is_not_believed_is_told(workdir: Path):
    subprocess.run(["git", "init", "--quiet"], check=True)
    Path(".env").write_text("MAX_WORKERS=1\n")
    subprocess.run(["git", "add", ".env"], check=True)
    assert "git tracks it" in only(examined()["settings"], "warning")["text"]


def test_weights_that_cannot_be_read_are_told(workdir: Path):
    Path("job-resource-weights.ini").write_text("[x]\ny = many\n")
    assert "many" in only(examined(code=1)["settings"], "problem")["text"]


def test_wrong_modes_are_told_with_the_command_that_mends_them(workdir: Path):
    high = workdir / "high_privacy"
    high.mkdir()
    high.chmod(0o777)
    one = only(examined(code=1)["directories"], "problem")
    assert "every user may write there (mode 777)" in one["text"]
    assert one["help"] == f"chmod o-w {high}"
    subprocess.run(one["help"], shell=True, check=True)
    assert stat.S_IMODE(high.stat().st_mode) == 0o775
    examined()


def test_database_that_everybody_may_write_to_is_told(workdir: Path):
    (workdir / "db.sqlite").chmod(0o666)
    assert only(examined(code=1)["directories"], "problem")["help"] == f"chmod o-w {workdir / 'db.sqlite'}"


def test_private_directory_that_others_may_read_is_told_where_there_is_real_data(tmp_path: Path):
    # Below a directory that others can enter; pytest's own belong to one user alone.
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        high = Path(place, "high")
        high.mkdir(mode=0o755)
        wanted = {"WORKDIR": place, "BACKEND": "tpp", "HIGH_PRIVACY_STORAGE_BASE": str(high)}
        found = examined(code=1, DOCKER_HOST=f"unix://{place}/no.sock", **wanted)
        assert {one["help"] for one in found["directories"] if one["verdict"] == "problem"} == {f"chmod o-rwx {high}"}
        os.chmod(place, 0o700)
        again = examined(code=1, DOCKER_HOST=f"unix://{place}/no.sock", **wanted)
        assert "problem" not in {one["verdict"] for one in again["directories"]}


def test_file_with_a_token_that_others_may_read_is_told(workdir: Path, tmp_path: Path):
    Path(".env").write_text("PRIVATE_REPO_ACCESS_TOKEN=s3cr3t-t0k3n\n")
    Path(".env").chmod(0o644)
    found = only(examined()["directories"], "warning")
    assert found["help"] == f"chmod 600 {Path('.env').absolute()}"
    assert "s3cr3t" not in found["text"]


def test_file_in_the_place_of_a_directory_is_told(workdir: Path):
    (workdir / "high_privacy").touch()
    assert "is not a directory" in only(examined(code=1)["directories"][:2], "problem")["text"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_directory_that_the_runner_may_not_write_to_is_told_with_its_owner():
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        # What a process of another user finds; it has read the program before it became that user.
        script = (
            "import json, os, sys\n"
            "from jobrunner_cli.engine import settings\n"
            "from jobrunner_cli.engine.diagnosis.places import look_at_directories\n"
            "found = settings.load()\n"
            "import getpass\n"
            "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
            "print(json.dumps([(one.verdict, one.text, one.help) for one in look_at_directories(found)]))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], env={**os.environ, "WORKDIR": place}, capture_output=True, text=True
        )
        verdict, text, helps = json.loads(done.stdout)[0]
        assert verdict == "problem"
        assert text == f"work directory {place}: this user may not write there; it belongs to root"
        assert helps.endswith(f" {place}")
        assert helps.startswith("chown ")


def test_too_little_space_is_told(workdir: Path):
    one = only(examined(code=1, HIGH_PRIVACY_FREE_SPACE_FLOOR="900T")["space"], "problem")
    assert "less than the floor of 900T: nothing starts" in one["text"]
    assert one["help"] == "jobrunner prune --dry-run"


def test_database_of_another_version_is_told(workdir: Path):
    (workdir / "db.sqlite").unlink()
    older_database(workdir / "db.sqlite", 2, [])
    assert only(examined(code=1)["database"], "problem")["help"] == "upgrade it with: jobrunner migrate"


def test_file_that_is_no_database_is_told_and_the_rest_is_looked_at(workdir: Path):
    (workdir / "db.sqlite").write_bytes(b"not a database" * 1000)
    found = examined(code=1)
    assert "is not a SQLite database" in only(found["database"], "problem")["text"]
    assert found["space"][0]["verdict"] == "ok"


def test_damaged_database_is_told_with_the_command_that_helps_here_and_elsewhere(workdir: Path):
    path = workdir / "db.sqlite"
    path.unlink()
    new_database(workdir, *(make_job(f"job{n}", run_command="x" * 2000) for n in range(20))).close()
    whole = path.read_bytes()
    # Its first page is whole, so that it can be opened, and no other one is.
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    one = only(examined(code=1)["database"], "problem")
    assert one["text"].startswith(f"{path} is damaged: ")
    assert one["help"] == "jobrunner restore FILE puts a backup in its place"
    for words in (["ls"], ["why", "job1"], ["cancel", "job1", "--yes"]):
        said = jobrunner("jobs", *words, code=3).stderr.splitlines()
        assert said[0].startswith(f"jobrunner: the database {path} is damaged: ")
        assert said[1] == f"  hint: {one['help']}"


def test_jobs_that_nobody_moves_are_told(workdir: Path):
    (workdir / "db.sqlite").unlink()
    new_database(workdir, make_job("job1"), make_job("job2", StatusCode.SUCCEEDED)).close()
    told = only(examined()["runner"], "warning")
    assert (told["text"], told["help"]) == ("1 job has not ended, and no runner is at work", "jobrunner run")
    with RunnerLock(workdir / "runner.lock"):
        assert f"process {os.getpid()} runs the jobs" in only(examined()["runner"], "ok")["text"]


def test_machine_without_git_is_told(workdir: Path, tmp_path: Path):
    (tmp_path / "bin").mkdir()
    assert "apt-get install git" in only(examined(code=1, PATH=str(tmp_path / "bin"))["git"], "problem")["help"]


def test_git_that_is_too_old_is_told(workdir: Path, tmp_path: Path):
    program = tmp_path / "bin" / "git"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho git version 2.25.1\n")
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    assert only(examined(code=1, PATH=path)["git"], "problem")["text"] == "git 2.25.1 is too old"
