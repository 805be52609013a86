"""How quickly the live view shows 50,000 jobs and what happens to them, beside the least that does the same.

    python benchmarks/tui.py [--rounds 7]

Both run on a terminal of 120 columns and 36 lines, and the times go from what is done to the bytes that show it:

* first screen: from the start of the process, beside a Textual app that shows one word;
* key: from `Down`, or `End`, to the repainted list, beside a key in that app;
* filter: from the last key of a word to the number of jobs that fit, beside SQLite counting them;
* change: from the commit of another process to the job's new state, beside a loop that looks for commits as often;
* idle: CPU of ten seconds in which nothing happens but the clock of a running job, beside the same in that app.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import resource
import select
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

JOBS = 50_000
RUNNING = "runs000000000000"
_PATIENCE = 60.0
_IDLE_SECONDS = 10.0
#: The keys as a terminal sends them.
_DOWN, _UP, _END, _HOME = b"\x1b[B", b"\x1b[A", b"\x1b[F", b"\x1b[H"

LEAST_APP = """
from textual.app import App
from textual.widgets import Static
class Least(App):
    def compose(self): yield Static("ready 0")
    def on_key(self, event):
        self.number = getattr(self, "number", 0) + 1
        self.query_one(Static).update(f"ready {self.number}")
Least().run()
"""
LEAST_WATCHER = """
import sqlite3, sys, time
conn = sqlite3.connect(sys.argv[1], isolation_level=None)
version = None
while True:
    now = conn.execute("PRAGMA data_version").fetchone()[0]
    if now != version:
        version = now
        print(conn.execute("SELECT status_code FROM job WHERE id = ?", (sys.argv[2],)).fetchone()[0], flush=True)
    time.sleep(0.2)
"""


class OnTerminal:
    """A program on a terminal of its own."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 36, 120, 0, 0))
        self.began = time.monotonic()
        self._process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env={**environment, "TERM": "xterm-256color"}
        )
        os.close(theirs)

    def until(self, *words: bytes) -> float:
        """The monotonic seconds at which the last of these words had been written, from now on in any order."""
        written = b""
        deadline = time.monotonic() + _PATIENCE
        while not all(word in written for word in words):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._ours], [], [], left)[0]:
                raise TimeoutError(f"{words} never came: {written[-2000:]!r}")
            written += os.read(self._ours, 1 << 16)
        return time.monotonic()

    def settle(self) -> None:
        """Read until nothing is written for a while, or no more than what a clock makes."""
        deadline = time.monotonic() + 2.0
        while time.monotonic() < deadline and select.select([self._ours], [], [], 0.4)[0]:
            os.read(self._ours, 1 << 16)

    def write(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._ours, keys)

    def answer_to(self, keys: bytes, *words: bytes) -> float:
        """Seconds from keys to words on the screen."""
        begin = time.monotonic()
        self.write(keys)
        return self.until(*words) - begin

    def cpu_of(self, seconds: float) -> float:
        """User and system seconds that it uses in so many seconds."""
        before = self._cpu()
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self._ours], [], [], left)[0]:
                os.read(self._ours, 1 << 16)
        return self._cpu() - before

    def _cpu(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        """End it, whatever it does."""
        self._process.send_signal(signal.SIGTERM)
        while self._process.poll() is None:
            if select.select([self._ours], [], [], 0.1)[0]:
                try:
                    os.read(self._ours, 1 << 16)
                except OSError:
                    break
        self._process.wait(_PATIENCE)
        os.close(self._ours)


def make_database(path: Path) -> None:
    """Many finished jobs in a few workspaces, and one that runs."""
    from jobrunner_cli.engine.states import State, StatusCode
    from jobrunner_cli.engine.store.database import Database
    from jobrunner_cli.engine.store.mapper import insert
    from jobrunner_cli.engine.store.migrating import migrate
    from jobrunner_cli.engine.store.models import Job

    now = int(time.time())
    migrate(path)
    with Database(path) as database, database.transaction() as conn:
        for number in range(JOBS + 1):
            runs = number == JOBS
            made = now - (JOBS - number) - 100
            insert(
                conn,
                Job(
                    id=RUNNING if runs else f"{number:016}",
                    job_request_id=f"r{number // 10}",
                    state=State.RUNNING if runs else State.SUCCEEDED,
                    status_code=StatusCode.EXECUTING if runs else StatusCode.SUCCEEDED,
                    repo_url="https://example.org/study",
                    commit="0" * 40,
                    workspace=f"w{number % 7}",
                    action="running_one" if runs else f"action_{number % 50}",
                    run_command="python:v2 python x.py",
                    created_at=made,
                    updated_at=made,
                    started_at=made,
                    completed_at=None if runs else made + 60,
                    status_code_updated_at=made * 10**9,
                ),
            )


def change(database: Path, code: str) -> float:
    """Commit another code of the job that runs, in a process of its own; the monotonic seconds before the commit."""
    script = (
        "import sqlite3, sys, time; conn = sqlite3.connect(sys.argv[1]); "
        "conn.execute('UPDATE job SET status_code = ?, status_code_updated_at = ?, updated_at = ? WHERE id = ?', "
        "(sys.argv[3], time.time_ns(), int(time.time()), sys.argv[2])); "
        "print(time.monotonic()); conn.commit()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(database), RUNNING, code], check=True, capture_output=True, text=True
    )
    return float(done.stdout)


class Figures:
    """Seconds of both, by what was measured."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[list[float], list[float]]] = {}

    def add(self, name: str, ours: float | None = None, least: float | None = None) -> None:
        """One more measurement of either or both."""
        found = self._found.setdefault(name, ([], []))
        for values, value in zip(found, (ours, least), strict=True):
            if value is not None:
                values.append(value)

    def show(self) -> None:
        """The medians."""
        print(f"{'':<14} {'ms':>8} {'least ms':>9} {'ratio':>6}")
        for name, (ours, least) in self._found.items():
            mine, bare = statistics.median(ours), statistics.median(least)
            print(f"{name:<14} {mine * 1000:>8.1f} {bare * 1000:>9.1f} {mine / bare:>6.1f}")


def view_round(base: Path, environment: dict[str, str], figures: Figures) -> None:
    """One live view from its start to its end."""
    database = base / "db.sqlite"
    view = OnTerminal([str(Path(sys.executable).with_name("jobrunner")), "tui"], environment)
    figures.add("first screen", ours=view.until(b"running_one", b"succeeded") - view.began)
    view.settle()
    figures.add("key: Down", ours=view.answer_to(_DOWN, b"running_one"))
    view.settle()
    figures.add("key: End", ours=view.answer_to(_END, b"action_"))
    view.settle()
    view.answer_to(_HOME, b"running_one")
    view.settle()
    view.write(b"/action_4")
    view.settle()
    figures.add("filter", ours=view.answer_to(b"9", b"1,000 of"))
    view.settle()
    view.answer_to(b"\x1b", b"running_one")
    view.settle()
    for code, word in (("executed", b"executed"), ("finalizing", b"finalizing"), ("executing", b"executing")):
        figures.add("change", ours=-change(database, code) + view.until(word))
        view.settle()
    figures.add("idle CPU", ours=view.cpu_of(_IDLE_SECONDS) / _IDLE_SECONDS)
    view.end()


def least_round(base: Path, environment: dict[str, str], figures: Figures) -> None:
    """The least that does the same."""
    import sqlite3

    database = base / "db.sqlite"
    app = OnTerminal([sys.executable, "-c", LEAST_APP], environment)
    figures.add("first screen", least=app.until(b"ready") - app.began)
    app.settle()
    for number, name in enumerate(("key: Down", "key: End"), start=1):
        figures.add(name, least=app.answer_to(_DOWN, str(number).encode()))
        app.settle()
    figures.add("idle CPU", least=max(app.cpu_of(_IDLE_SECONDS), 0.01) / _IDLE_SECONDS)
    app.end()
    begin = time.monotonic()
    conn = sqlite3.connect(database)
    rows = conn.execute("SELECT id, workspace, action FROM job WHERE action LIKE '%action_49%'").fetchall()
    conn.close()
    assert len(rows) == JOBS // 50
    figures.add("filter", least=time.monotonic() - begin)
    watcher = OnTerminal([sys.executable, "-c", LEAST_WATCHER, str(database), RUNNING], environment)
    watcher.until(b"executing")
    for code in ("executed", "finalizing", "executing"):
        figures.add("change", least=-change(database, code) + watcher.until(code.encode()))
    watcher.end()


def main() -> None:
    """Both in turn, and the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    figures = Figures()
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        environment = {**os.environ, "WORKDIR": name, "EXECUTOR": "process", "XDG_STATE_HOME": f"{name}/state"}
        make_database(base / "db.sqlite")
        for _ in range(rounds):
            view_round(base, environment, figures)
            least_round(base, environment, figures)
    figures.show()
    print(f"memory: {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024} MiB at most")


if __name__ == "__main__":
    main()
