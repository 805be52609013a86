"""The process executor beyond the contract of all executors: shims that are killed, floods of output, leftovers."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from contract.bench import PATIENCE, REGISTRY, Bench, open_gate

from jobrunner_cli.engine.errors import ExecutorError, ImageMissingError
from jobrunner_cli.engine.executors.process import NOTICE, ProcessExecutor
from jobrunner_cli.engine.executors.process_tree import kill_marked
from jobrunner_cli.engine.loglines import LogGap
from jobrunner_cli.engine.work import ContainerSpec, ContainerState
from support.jobfiles import small_disk

pytestmark = pytest.mark.slow

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and prctl(2)")


@contextmanager
def bench_at(volumes_dir: Path) -> Iterator[Bench]:
    """A bench with this directory for its jobs, all of which are removed in the end."""
    bench = Bench(
        kind="process",
        options={"volumes_dir": str(volumes_dir)},
        volumes_dir=volumes_dir,
        missing_image=f"{REGISTRY}/stata-mp:v1",
    )
    try:
        yield bench
    finally:
        bench.clear()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    volumes_dir = tmp_path / "volumes"
    volumes_dir.mkdir()
    with bench_at(volumes_dir) as bench:
        yield bench


def shim_of(spec: ContainerSpec) -> int:
    """The process id of a job's shim."""
    started = json.loads((Path(spec.control_dir) / "started.json").read_text())
    assert isinstance(started["pid"], int)
    return started["pid"]


def gone(pid: int) -> bool:
    """Wait until a process that is nobody's child here has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], PATIENCE)[0])
    finally:
        os.close(handle)


def test_it_says_that_it_isolates_nothing(bench: Bench) -> None:
    executor = ProcessExecutor(volumes_dir=bench.volumes_dir)

    assert not executor.isolates
    assert executor.notice == NOTICE
    assert "without a container" in NOTICE


@linux_only
def test_killed_shim_takes_the_command_with_it_and_the_job_disappears(bench: Bench) -> None:
    spec = bench.shell("echo $$ > pid; echo ready; read x < gate")
    bench.gate(spec)
    bench.launch(spec)
    bench.printed(spec.job_id, b"ready")
    os.kill(shim_of(spec), signal.SIGKILL)

    assert gone(int((Path(spec.work_dir) / "pid").read_text()))
    assert gone(shim_of(spec))
    assert bench.state(spec.job_id) is None
    assert bench.executor.inspect(spec.job_id) is None


@linux_only
def test_job_that_disappeared_is_made_anew_and_nothing_of_the_first_is_left(bench: Bench) -> None:
    spec = bench.shell("sleep 600 & echo $! > background; echo ready; read x < gate; echo done")
    gate = bench.gate(spec)
    bench.launch(spec)
    bench.printed(spec.job_id, b"ready")
    background = int((Path(spec.work_dir) / "background").read_text())
    os.kill(shim_of(spec), signal.SIGKILL)
    assert gone(shim_of(spec))

    bench.executor.create(spec)
    assert gone(background)
    bench.executor.start(spec.job_id)
    open_gate(gate)
    assert bench.exited(spec.job_id).exit_code == 0
    assert [line.split(b" ", 1)[1] for line in bench.executor.logs(spec.job_id)] == [b"ready", b"done"]


@linux_only
def test_machine_that_goes_down_does_not_look_like_a_success(bench: Bench) -> None:
    """At a shutdown everything gets TERM, the shim as well; a command that saves and exits 0 is started over."""
    spec = bench.shell("trap 'exit 0' TERM; echo ready; sleep 600 & wait")
    bench.launch(spec)
    bench.printed(spec.job_id, b"ready")
    os.kill(shim_of(spec), signal.SIGTERM)

    assert gone(shim_of(spec))
    assert bench.state(spec.job_id) is None


@linux_only
def test_daemon_that_a_command_started_ends_with_the_job(bench: Bench) -> None:
    """One in a session of its own, whose parent has ended: in no process group that could be killed."""
    daemon = "import os,time\nos.fork() and os._exit(0)\nos.setsid()\nopen('daemon','w').write(str(os.getpid()))\n"
    script = f"""python3 -c "{daemon}os.close(1); os.close(2)\nopen('up','w')\ntime.sleep(600)"; cat up; exit 2"""
    spec = bench.shell(f"mkfifo up; {script}")

    assert bench.run(spec).exit_code == 2
    assert gone(int((Path(spec.work_dir) / "daemon").read_text()))


def test_secrets_are_in_no_file_once_the_command_runs(bench: Bench) -> None:
    secret = "s3cr3t-pa55"
    spec = bench.shell("read x < gate", env={"DATABASE_URL": secret})
    gate = bench.gate(spec)
    control = Path(spec.control_dir)
    bench.executor.create(spec)

    holders = [path for path in control.iterdir() if secret in path.read_text()]
    assert [path.name for path in holders] == ["spec.json"]
    assert stat.S_IMODE(holders[0].stat().st_mode) == 0o600

    bench.executor.start(spec.job_id)
    assert not [path for path in control.iterdir() if path.is_file() and secret in path.read_text()]
    open_gate(gate)


def test_many_starts_at_once_run_the_command_once(bench: Bench) -> None:
    spec = bench.shell("echo ran >> ran")
    bench.executor.create(spec)
    executors = [bench.fresh() for _ in range(6)]
    threads = [threading.Thread(target=executor.start, args=(spec.job_id,)) for executor in executors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    bench.exited(spec.job_id)

    assert (Path(spec.work_dir) / "ran").read_text() == "ran\n"


def test_lock_that_a_child_holds_by_accident_is_not_taken_for_a_job_that_runs(bench: Bench) -> None:
    """A child that has not become its program yet has every open file of the process that makes it."""
    spec = bench.shell("echo ran >> ran")
    bench.executor.create(spec)
    starting = threading.Thread(target=bench.executor.start, args=(spec.job_id,))
    with (Path(spec.control_dir) / "alive.lock").open() as inherited:
        fcntl.flock(inherited, fcntl.LOCK_EX)
        starting.start()
        starting.join(0.2)
        assert starting.is_alive()
    starting.join(PATIENCE)

    assert bench.exited(spec.job_id).exit_code == 0
    assert (Path(spec.work_dir) / "ran").read_text() == "ran\n"


def test_stop_while_it_comes_up_ends_it(bench: Bench) -> None:
    spec = bench.shell("sleep 600")
    bench.executor.create(spec)
    starting = threading.Thread(target=bench.executor.start, args=(spec.job_id,))
    starting.start()
    while bench.state(spec.job_id) is ContainerState.CREATED:
        pass
    bench.executor.stop(spec.job_id, grace=PATIENCE)
    starting.join(PATIENCE)

    detail = bench.executor.inspect(spec.job_id)
    assert detail is not None
    assert (detail.state, detail.exit_code) == (ContainerState.EXITED, 143)


@pytest.mark.slow
def test_flood_of_output_fills_no_disk_and_keeps_both_ends(bench: Bench) -> None:
    spec = bench.shell("echo first; yes $(seq -s ' ' 300) | head -c 150000000; echo; echo last; exit 3")
    followed: list[bytes] = []
    bench.launch(spec)
    for line in bench.executor.logs(spec.job_id, follow=True):
        followed[:] = [*followed[-2:], line]
    detail = bench.exited(spec.job_id)
    kept = sum(path.stat().st_size for path in Path(spec.control_dir).iterdir())
    lines = list(bench.executor.logs(spec.job_id))
    cut = [line for line in lines if isinstance(line, LogGap)]

    assert detail.exit_code == 3
    assert kept < 60_000_000
    assert lines[0].endswith(b" first")
    assert lines[-1].endswith(b" last")
    assert followed[-1] == lines[-1]
    assert len(cut) == 1
    stamped = sum(len(line) + 1 for line in lines if line not in cut) + cut[0].size
    assert stamped > 150_000_000
    assert max(len(line) for line in lines) <= 64 * 1024


def test_full_disk_neither_stalls_a_command_nor_loses_its_exit(tmp_path: Path) -> None:
    with small_disk(tmp_path, 4) as volumes_dir, bench_at(volumes_dir) as bench:
        ballast = volumes_dir / "ballast"
        ballast.write_bytes(bytes(1024 * 1024))
        spec = bench.shell("yes $(seq -s ' ' 300) | head -c 20000000; echo; read x < gate; echo after; exit 3")
        gate = bench.gate(spec)
        bench.launch(spec)
        # Only when the job has come to the gate is it opened, and by then it has printed everything.
        with gate.open("w") as stream:
            ballast.unlink()
            stream.write("go\n")
        detail = bench.exited(spec.job_id)
        lines = list(bench.executor.logs(spec.job_id))

        assert detail.exit_code == 3
        assert lines[-1].endswith(b" after")
        [at] = [at for at, line in enumerate(lines) if b"the disk was full" in line]
        # A line that was torn is unreadable: no secret is there by halves.
        whole = b" ".join(b"%d" % number for number in range(1, 301))
        assert {line.partition(b" ")[2].strip(b".") for line in lines[:at]} <= {whole, b""}


def test_exit_is_written_to_a_disk_that_is_full(tmp_path: Path) -> None:
    with small_disk(tmp_path, 4) as volumes_dir, bench_at(volumes_dir) as bench:
        spec = bench.shell("cat /dev/zero > filler; yes | head -c 100000; exit 6")

        assert bench.run(spec).exit_code == 6


def test_endless_line_is_cut_into_pieces_while_it_is_printed(bench: Bench) -> None:
    spec = bench.shell("head -c 200000 /dev/zero | tr '\\0' x; read x < gate")
    gate = bench.gate(spec)
    bench.launch(spec)
    lines = bench.executor.logs(spec.job_id, follow=True)

    assert len(next(lines)) > 60_000
    assert len(next(lines)) > 60_000
    open_gate(gate)
    assert sum(len(line.split(b" ", 1)[1]) for line in lines) > 0


def test_command_starts_with_signals_as_they_are_by_default(bench: Bench) -> None:
    """Python ignores SIGPIPE, and who is born with an ignored signal keeps ignoring it."""
    spec = bench.shell("grep SigIgn /proc/self/status | tr -s '\\t' ' '; yes | head -n 1")
    bench.run(spec)
    lines = [line.split(b" ", 1)[1] for line in bench.executor.logs(spec.job_id)]

    assert lines == [b"SigIgn: 0000000000000000", b"y"]


def test_command_that_closes_its_output_runs_on(bench: Bench) -> None:
    spec = bench.shell("echo out; exec >&- 2>&-; read x < gate; exit 9")
    gate = bench.gate(spec)
    bench.launch(spec)
    bench.printed(spec.job_id, b"out")

    assert bench.state(spec.job_id) is ContainerState.RUNNING
    open_gate(gate)
    assert bench.exited(spec.job_id).exit_code == 9


def test_action_in_python_runs_with_this_machines(bench: Bench) -> None:
    spec = bench.spec(
        "python", "analysis/model.py", "--flag", "a b", image=f"{REGISTRY}/python:v2", env={"HOME": "/tmp"}
    )
    work = Path(spec.work_dir)
    (work / "analysis").mkdir()
    (work / "analysis" / "model.py").write_text(
        "import pathlib, sys, tempfile\n"
        "print(sys.argv[1:])\n"
        "pathlib.Path('out.txt').write_text(tempfile.gettempdir() + '\\n' + str(pathlib.Path.home()))\n"
        "sys.exit(4)\n"
    )
    detail = bench.run(spec)

    assert detail.exit_code == 4
    assert (work / "out.txt").read_text().splitlines() == [spec.tmp_dir, spec.tmp_dir]
    assert [line.split(b" ", 1)[1] for line in bench.executor.logs(spec.job_id)] == [b"['--flag', 'a b']"]
    assert detail.image_id is not None
    assert detail.image_id.startswith("process:/")


def test_missing_program_is_named_with_what_to_do(bench: Bench) -> None:
    spec = bench.spec("analysis/model.do", image=bench.missing_image)

    with pytest.raises(ImageMissingError) as caught:
        bench.executor.create(spec)

    assert "stata-mp is not installed" in caught.value.message
    assert "EXECUTOR=docker" in (caught.value.hint or "")


def test_pull_says_that_there_is_nothing_to_pull_into(bench: Bench) -> None:
    with pytest.raises(ExecutorError, match="not fetched"):
        next(iter(bench.executor.pull(f"{REGISTRY}/python:v2")))


@pytest.mark.parametrize("missing", ["work_dir", "tmp_dir"])
def test_missing_directory_is_named(bench: Bench, missing: str) -> None:
    spec = bench.shell("exit 0")
    path = Path(getattr(spec, missing))
    path.rmdir()

    with pytest.raises(ExecutorError, match=str(path)):
        bench.executor.create(spec)


def test_files_that_a_power_cut_emptied_are_as_good_as_absent(bench: Bench) -> None:
    created, exited = bench.shell("exit 0"), bench.shell("exit 0")
    bench.executor.create(created)
    (Path(created.control_dir) / "container.json").write_bytes(b"")
    bench.run(exited)
    (Path(exited.control_dir) / "exit.json").write_bytes(b"")

    assert bench.executor.list(bench.owner) == {}
    bench.executor.create(created)
    bench.executor.create(exited)
    assert set(bench.executor.list(bench.owner).values()) == {ContainerState.CREATED}


def test_other_files_in_the_control_directory_stay(bench: Bench) -> None:
    spec = bench.shell("exit 0")
    marker = Path(spec.control_dir) / "prepared"
    marker.touch()
    bench.run(spec)
    bench.executor.remove(spec.job_id)

    assert {path.name for path in Path(spec.control_dir).iterdir()} == {"prepared", "alive.lock"}


@linux_only
def test_jobs_leave_no_open_files_and_no_children_behind(bench: Bench) -> None:
    def held() -> tuple[int, str]:
        for thread in threading.enumerate():
            if thread.name.startswith("watch os-job-"):
                thread.join(PATIENCE)
        descriptors = len(os.listdir("/proc/self/fd"))
        return descriptors, Path(f"/proc/self/task/{os.getpid()}/children").read_text()

    bench.run(bench.shell("exit 0"))
    before = held()
    for _ in range(5):
        spec = bench.shell("echo out")
        bench.run(spec)
        list(bench.executor.logs(spec.job_id, follow=True))
        bench.executor.stop(spec.job_id, grace=1)
        bench.executor.remove(spec.job_id)

    assert held() == before


@linux_only
def test_only_marked_processes_are_killed(bench: Bench) -> None:
    one, other = (bench.shell("read x < gate; exit 0", env={"WHOSE": whose}) for whose in ("one", "other"))
    gate = bench.gate(other)
    bench.gate(one)
    bench.launch(one)
    bench.launch(other)

    assert kill_marked("WHOSE", "one", seconds=PATIENCE)
    assert bench.exited(one.job_id).exit_code == 137
    assert bench.state(other.job_id) is ContainerState.RUNNING
    open_gate(gate)
    assert bench.exited(other.job_id).exit_code == 0
