"""The shim of one job of the process executor: runs the command, keeps its output, writes how it ended.

A program of its own, standard library only, started in isolation as `process_shim.py CONTROL_DIR LOCK_FD STATUS_FD` so
that nothing of the runner is imported and starting takes milliseconds. It outlives the runner. Its signs of life are
files in the control directory:

* `alive.lock`: the file whose lock it has inherited from the runner and holds for as long as it lives. The command does
  not inherit it, so "locked" means "the shim lives" and nothing else.
* `started.json`: written before the command starts. From then on the job counts as started, for good.
* `output.log`: what the command printed, each line with its time; more files `output.log.{offset}` when it is much.
* `orders`: a FIFO from which it takes orders, a byte each: `T` asks the command's process group to end, `K` kills it.
  So nobody has to send a signal to a process id, which may be another's by now.
* `exit.json`: how the command ended, written whole or not at all, the last thing it does.

Nothing of the command outlives the shim's regular end: on Linux orphans become the shim's children and are killed,
elsewhere the process group is. A SIGTERM for the shim itself means that the machine goes down: it kills the command and
ends without `exit.json`, so that a command which makes a success of being interrupted is started over.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import sys
import time

#: Where the kernel can hand orphans to the shim and kill the command when the shim dies (prctl(2)).
LINUX = sys.platform == "linux"
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

#: The longest line of the log, in bytes, timestamp and line end included.
PIECE_BYTES = 64 * 1024
#: Bytes of the beginning that are kept; then the end is kept in segments, the newest few of them.
HEAD_BYTES = 32 * 1024 * 1024
SEGMENT_BYTES = 4 * 1024 * 1024
SEGMENTS_KEPT = 3
#: Bytes set aside at the start so that the exit can be written to a full disk.
EXIT_BYTES = 4096

#: What a shell says of commands that are not there, or are but may not be executed.
NOT_FOUND = 127
NOT_EXECUTABLE = 126


class OutputLog:
    """The log of one job, bounded on disk and in memory.

    The beginning is `output.log`; what follows is in `output.log.{offset}`, where the offset is the place of the file's
    first byte in the whole log; of these only the newest few are kept. A line never spans two files.
    """

    def __init__(self, control: str) -> None:
        self._base = os.path.join(control, "output.log")
        self._file = _create(self._base)
        self._written = 0
        self._limit = HEAD_BYTES
        self._segments: list[str] = []
        self._rest = b""
        self._torn = False
        self._lost = 0

    def feed(self, data: bytes) -> None:
        """Take what the command printed; complete lines are written, an incomplete one is held until it is long."""
        stamp = _stamp(time.time_ns())
        room = PIECE_BYTES - len(stamp) - 1
        *lines, self._rest = (self._rest + data).split(b"\n")
        while len(self._rest) > room:
            lines.append(self._rest[:room])
            self._rest = self._rest[room:]
        if any(len(line) > room for line in lines):
            lines = [line[start : start + room] for line in lines for start in range(0, len(line) or 1, room)]
        if lines:
            self._write(b"".join([stamp + line + b"\n" for line in lines]))

    def close(self) -> None:
        """Write the last, incomplete line."""
        if self._rest:
            self.feed(b"\n")
        os.close(self._file)

    def _write(self, data: bytes) -> None:
        """Append whole lines. On a full disk they are lost, the next ones say so, and the command carries on."""
        lost, written = len(data), 0
        try:
            if self._written >= self._limit:
                self._next_segment()
            if self._lost:
                notice = b"jobrunner: the disk was full, %d bytes of output are lost here\n" % self._lost
                data = (b"\n" if self._torn else b"") + _stamp(time.time_ns()) + notice + data
            while written < len(data):
                self._torn = True
                count = os.write(self._file, data[written:])
                self._written += count
                written += count
            self._torn, self._lost = False, 0
        except OSError:
            self._lost += lost
            self._blot(data[:written].rpartition(b"\n")[2])

    def _blot(self, torn: bytes) -> None:
        """Make half a line unreadable: it may end in the middle of a secret."""
        if text := torn.partition(b" ")[2]:
            os.pwrite(self._file, b"." * len(text), os.lseek(self._file, 0, os.SEEK_CUR) - len(text))

    def _next_segment(self) -> None:
        path = f"{self._base}.{self._written}"
        new = _create(path)
        os.close(self._file)
        self._file = new
        self._torn = False
        self._segments.append(path)
        self._limit = self._written + SEGMENT_BYTES
        for old in self._segments[:-SEGMENTS_KEPT]:
            os.unlink(old)
        del self._segments[:-SEGMENTS_KEPT]


class Command:
    """The command as a child in a session of its own, and everything that descends from it."""

    def __init__(self, spec: dict[str, object]) -> None:
        self._spec = spec
        self._pid = 0
        self._status: int | None = None
        #: the reading end of what it prints; never blocks
        self.output = -1

    @property
    def exit_code(self) -> int | None:
        """Its exit code as a shell gives it; None while it runs."""
        if self._status is None:
            return None
        code = os.waitstatus_to_exitcode(self._status)
        return code if code >= 0 else 128 - code

    def start(self) -> OSError | None:
        """Start it. Returns why it could not be executed, if so; it has an exit code then."""
        self.output, output = os.pipe()
        os.set_blocking(self.output, False)
        answer, failure = os.pipe()
        prctl = _prctl()
        shim = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            self._become(output, failure, prctl, shim)
        os.close(output)
        os.close(failure)
        reason = os.read(answer, 64)
        os.close(answer)
        if not reason:
            return None
        os.waitpid(self._pid, 0)
        error = OSError(int(reason), os.strerror(int(reason)))
        missing = error.errno in {errno.ENOENT, errno.ENOTDIR}
        self._status = (NOT_FOUND if missing else NOT_EXECUTABLE) << 8
        return error

    def signal(self, number: int) -> None:
        """Send a signal to its process group."""
        if self._status is None:
            self._kill_group(number)

    def reap(self) -> None:
        """Take note of it, and of orphans, having ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._pid:
                self._status = status

    def end_rest(self) -> None:
        """Kill it, if it runs, and what it left behind, and wait until that is gone."""
        children = _children()
        if children is None:
            self._kill_group(signal.SIGKILL)
        # Killing a process hands its children to the shim: on to the next generation, until there is none.
        while children:
            for pid in children:
                os.kill(pid, signal.SIGKILL)
            os.waitpid(-1, 0)
            children = _children()

    def _kill_group(self, number: int) -> None:
        try:
            os.killpg(self._pid, number)
        except (ProcessLookupError, PermissionError):
            pass

    def _become(self, output: int, failure: int, prctl: object, shim: int) -> None:
        """In the child: become the command, or write the error's number and end."""
        try:
            os.setsid()
            if callable(prctl):
                prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
                if os.getppid() != shim:
                    os._exit(NOT_EXECUTABLE)
            # An ignored signal stays ignored across exec, and Python ignores SIGPIPE.
            for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
                if signal.getsignal(number) is not signal.SIG_DFL:
                    signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            null = os.open(os.devnull, os.O_RDONLY)
            for target, source in ((0, null), (1, output), (2, output)):
                os.dup2(source, target)
            os.chdir(str(self._spec["directory"]))
            command, env = self._spec["command"], self._spec["env"]
            assert isinstance(command, list)
            assert isinstance(env, dict)
            os.execvpe(command[0], command, env)
        except (OSError, ValueError) as error:
            os.write(failure, str(getattr(error, "errno", errno.EINVAL)).encode())
        finally:
            os._exit(NOT_EXECUTABLE)


class Shim:
    """Runs one command from start to end."""

    def __init__(self, control: str) -> None:
        self._control = control
        self._going_down = False
        self._wake, wake = os.pipe()
        for descriptor in (self._wake, wake):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.signal(signal.SIGTERM, self._go_down)
        for number in (signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)

    def begin(self) -> dict[str, object]:
        """Read what is to be run and take note that it was started; the file with the secrets is removed.

        Raises OSError or ValueError: then nothing was started.
        """
        path = os.path.join(self._control, "spec.json")
        with open(path, encoding="utf-8") as stream:
            spec: dict[str, object] = json.load(stream)
        for name in ("orders", "exit.json.new"):
            self._discard(name)
        self._reserve = _create(os.path.join(self._control, "exit.json.new"))
        os.write(self._reserve, b" " * EXIT_BYTES)
        self._log = OutputLog(self._control)
        orders = os.path.join(self._control, "orders")
        os.mkfifo(orders, 0o600)
        self._orders = os.open(orders, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        # With a writer of its own the FIFO never comes to an end, which would keep waking the shim.
        os.open(orders, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        started = os.path.join(self._control, "started.json")
        with open(_create(f"{started}.new"), "w", encoding="utf-8") as stream:
            json.dump({"pid": os.getpid(), "started_at": time.time()}, stream)
        os.rename(f"{started}.new", started)
        os.unlink(path)
        return spec

    def run(self, spec: dict[str, object]) -> Command:
        """Start the command; it has an exit code at once if it cannot be executed, and the log says why."""
        if LINUX:
            prctl = _prctl()
            if callable(prctl):
                prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        command = Command(spec)
        error = command.start()
        if error is not None:
            words = spec["command"]
            assert isinstance(words, list)
            name = str(words[0]).encode("utf-8", "replace")
            self._log.feed(b"jobrunner: cannot run " + name + b": " + str(error.strerror).encode() + b"\n")
        return command

    def attend(self, command: Command) -> None:
        """Keep the output and pass orders on until the command has ended and nothing of it is left."""
        poll = select.poll()
        for descriptor in (self._wake, self._orders, command.output):
            poll.register(descriptor, select.POLLIN)
        while command.exit_code is None and not self._going_down:
            for descriptor, _ in poll.poll():
                if descriptor == self._wake:
                    os.read(self._wake, PIECE_BYTES)
                elif descriptor == self._orders:
                    self._obey(command)
                elif not self._drain(command.output, most=16):
                    # Closed, and yet it runs: only its end is waited for.
                    poll.unregister(command.output)
            command.reap()
        command.end_rest()
        self._drain(command.output, most=4096)
        self._log.close()
        if self._going_down:
            os._exit(1)

    def end(self, exit_code: int) -> None:
        """Write how it ended. On a full disk the space set aside serves."""
        content = json.dumps({"exit_code": exit_code, "finished_at": time.time()}).encode()
        os.pwrite(self._reserve, content.ljust(EXIT_BYTES), 0)
        os.fsync(self._reserve)
        path = os.path.join(self._control, "exit.json")
        os.rename(f"{path}.new", path)

    def _obey(self, command: Command) -> None:
        orders = os.read(self._orders, PIECE_BYTES)
        if b"T" in orders:
            command.signal(signal.SIGTERM)
        if b"K" in orders:
            command.signal(signal.SIGKILL)

    def _go_down(self, _number: int, _frame: object) -> None:
        self._going_down = True

    def _discard(self, name: str) -> None:
        try:
            os.unlink(os.path.join(self._control, name))
        except FileNotFoundError:
            pass

    def _drain(self, output: int, most: int) -> bool:
        """Read what is there, at most so many times 64 KiB, so that signals get their turn; false at its end."""
        for _ in range(most):
            try:
                data = os.read(output, PIECE_BYTES)
            except BlockingIOError:
                return True
            if not data:
                return False
            self._log.feed(data)
        return True


def main(control: str, lock: int, status: int) -> None:
    """Leave the runner, run the command, and tell the runner through `status` that it was started, or why not.

    The status is `started`, or `failed` and the reason. The lock is held until this process ends.
    """
    for descriptor in (lock, status):
        os.set_inheritable(descriptor, False)
    if os.fork():
        # The runner waits for this one only, so that the shim is nobody's zombie.
        os._exit(0)
    os.setsid()
    shim = Shim(control)
    try:
        spec = shim.begin()
    except (OSError, ValueError) as error:
        _tell(status, f"failed {getattr(error, 'strerror', None) or error}")
        os._exit(1)
    command = shim.run(spec)
    _tell(status, "started")
    shim.attend(command)
    shim.end(command.exit_code or 0)


def _tell(status: int, message: str) -> None:
    """Answer the runner, which may be gone by now."""
    try:
        os.write(status, message.encode("utf-8", "replace"))
    except BrokenPipeError:
        pass
    os.close(status)


def _create(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)


def _stamp(nanoseconds: int) -> bytes:
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return b"%s.%09dZ " % (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode(), rest)


def _prctl() -> object:
    """The function prctl(2), where there is one."""
    if not LINUX:
        return None
    try:
        import ctypes

        return ctypes.CDLL(None).prctl
    except (ImportError, OSError, AttributeError):
        return None


def _children() -> list[int] | None:
    """The process ids of this process's children, orphans that were handed to it included; None if nothing tells."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as stream:
            return [int(pid) for pid in stream.read().split()]
    except OSError:
        return None


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
