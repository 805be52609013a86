"""Contract of the executors: what a command finds around itself, and what stays secret."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from contract.bench import Bench, open_gate

SECRET = "mssql://reader:s3cr3t-pa55@db.example/study"


def test_it_runs_in_the_working_copy_and_may_write_there(bench: Bench) -> None:
    spec = bench.shell("cat data/in.csv > out.csv && mkdir deep && echo made > deep/file.txt")
    work = Path(spec.work_dir)
    (work / "data").mkdir()
    (work / "data" / "in.csv").write_text("a,b\n")

    assert bench.run(spec).exit_code == 0
    assert (work / "out.csv").read_text() == "a,b\n"
    assert (work / "deep" / "file.txt").read_text() == "made\n"


def test_home_is_a_writable_temporary_directory_of_the_jobs_own(bench: Bench) -> None:
    spec = bench.shell('echo scratch > "$HOME/scratch" && echo more > "${TMPDIR:-/tmp}/more"')

    assert bench.run(spec).exit_code == 0
    assert (Path(spec.tmp_dir) / "scratch").read_text() == "scratch\n"
    assert (Path(spec.tmp_dir) / "more").read_text() == "more\n"


def test_environment_is_passed_as_it_is(bench: Bench) -> None:
    value = "a b'c\"d$e\n\té"
    spec = bench.shell('printf "%s" "$ODD" > odd; printf "%s" "$OPENSAFELY_BACKEND" > backend')
    env = {**spec.env, "ODD": value, "OPENSAFELY_BACKEND": "test"}
    spec = bench.shell(spec.args[-1], env=env)

    assert bench.run(spec).exit_code == 0
    assert (Path(spec.work_dir) / "odd").read_text() == value
    assert (Path(spec.work_dir) / "backend").read_text() == "test"


def test_environment_of_the_runner_does_not_leak_into_a_job(bench: Bench) -> None:
    os.environ["RUNNERS_OWN_TOKEN"] = SECRET
    try:
        spec = bench.shell("env")
        bench.run(spec)
    finally:
        del os.environ["RUNNERS_OWN_TOKEN"]

    assert b"RUNNERS_OWN_TOKEN" not in b"\n".join(bench.executor.logs(spec.job_id))


def test_arguments_are_passed_as_they_are(bench: Bench) -> None:
    words = ("a b", "", "*", "$HOME", "quote'\"", "--flag=x", "naïve", "line\nbreak")
    spec = bench.spec("sh", "-c", 'for word in "$@"; do printf "<%s>" "$word"; done > words', "name", *words)

    assert bench.run(spec).exit_code == 0
    assert (Path(spec.work_dir) / "words").read_text() == "".join(f"<{word}>" for word in words)


def test_secrets_are_masked_in_metadata_and_repr(bench: Bench) -> None:
    spec = bench.shell("exit 0", env={"HOME": "/tmp", "DATABASE_URL": SECRET, "OPENSAFELY_BACKEND": "test"})
    detail = bench.run(spec)
    metadata = json.dumps(detail.metadata)

    assert "s3cr3t-pa55" not in metadata
    assert "DATABASE_URL=xxxx-REDACTED-xxxx" in metadata
    assert "OPENSAFELY_BACKEND=test" in metadata
    assert "s3cr3t-pa55" not in repr(detail) + repr(bench.executor) + repr(spec)


def test_secrets_are_on_no_command_line(bench: Bench) -> None:
    spec = bench.shell("echo ready; read x < gate", env={"HOME": "/tmp", "DATABASE_URL": SECRET})
    gate = bench.gate(spec)
    bench.launch(spec)
    bench.printed(spec.job_id, b"ready")
    lines = {path.parent.name: _read(path) for path in Path("/proc").glob("[0-9]*/cmdline")}

    assert any(b"read x < gate" in line for line in lines.values())
    assert not [pid for pid, line in lines.items() if b"s3cr3t-pa55" in line]
    open_gate(gate)


def test_standard_input_is_empty(bench: Bench) -> None:
    spec = bench.shell("cat > stdin; exit 0")

    assert bench.run(spec).exit_code == 0
    assert (Path(spec.work_dir) / "stdin").read_bytes() == b""


@pytest.mark.engine
def test_it_runs_as_the_given_user_without_any_right(docker_bench: Bench) -> None:
    spec = docker_bench.shell("id -u > ids; id -g >> ids; grep -E 'CapEff|NoNewPrivs' /proc/self/status > rights")
    docker_bench.run(spec)
    work = Path(spec.work_dir)

    assert (work / "ids").read_text().split() == [str(part) for part in spec.user]
    assert ((work / "ids").stat().st_uid, (work / "ids").stat().st_gid) == spec.user
    assert (work / "rights").read_text().split() == ["CapEff:", "0" * 16, "NoNewPrivs:", "1"]


@pytest.mark.engine
def test_it_has_no_network(docker_bench: Bench) -> None:
    spec = docker_bench.shell("ls /sys/class/net > interfaces")
    docker_bench.run(spec)

    assert (Path(spec.work_dir) / "interfaces").read_text().split() == ["lo"]


@pytest.mark.engine
def test_more_memory_than_the_limit_ends_it_as_out_of_memory(docker_bench: Bench) -> None:
    # A very busy engine may miss that one ran out of memory, as it does for whoever asks it by hand.
    ends = []
    while not any(out_of_memory for _, out_of_memory in ends) and len(ends) < 3:
        detail = docker_bench.run(docker_bench.shell("exec tail /dev/zero", memory_limit=16 * 1024 * 1024))
        ends.append((detail.exit_code, docker_bench.executor.ran_out_of_memory(detail)))

    assert {exit_code for exit_code, _ in ends} == {137}
    assert ends[-1][1]


@pytest.mark.engine
def test_killed_from_outside_is_not_out_of_memory(docker_bench: Bench) -> None:
    detail = docker_bench.run(docker_bench.shell("kill -9 $$"))

    assert detail.exit_code == 137
    assert not docker_bench.executor.ran_out_of_memory(detail)


def _read(path: Path) -> bytes:
    """A file of /proc; nothing if its process has ended meanwhile."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
