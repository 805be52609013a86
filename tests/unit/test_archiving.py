"""Archiving a workspace and bringing it back: nothing is lost, whatever is in it and whenever it is killed."""

from __future__ import annotations

import os
import socket
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from jobrunner_cli.engine import archiving
from jobrunner_cli.engine.archive import archive_of, marker_of, refuse_absent, why_absent
from jobrunner_cli.engine.archiving import Moved, WorkspaceBusyError
from jobrunner_cli.engine.errors import DiskFullError, JobFilesError, JobRequestError, NotFoundError, UsageError
from jobrunner_cli.engine.settings import Settings
from jobrunner_cli.engine.states import StatusCode
from jobrunner_cli.engine.store.database import Connection
from jobrunner_cli.engine.store.mapper import insert
from support.jobfiles import killed_at
from support.store import make_job, new_database
from support.workspaces import fill, picture, settings_for

pytestmark = pytest.mark.slow


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_for(tmp_path)


@pytest.fixture
def conn(tmp_path: Path) -> Iterator[Connection]:
    with closing(new_database(tmp_path, make_job("done", StatusCode.SUCCEEDED))) as connection:
        yield connection


@pytest.fixture
def directory(settings: Settings) -> Path:
    path = settings.high_workspace("ws")
    path.mkdir(parents=True)
    fill(path)
    return path


def archive(settings: Settings, conn: Connection, *, check_space: bool = True) -> Moved:
    return archiving.archive(settings, conn, "ws", check_space=check_space, tell=lambda *_: None)


def unarchive(settings: Settings, conn: Connection, *, keep: bool = False) -> Moved:
    return archiving.unarchive(settings, conn, "ws", keep=keep, check_space=True, tell=lambda *_: None)


def names_in(*directories: Path) -> list[str]:
    return sorted(name for directory in directories for name in os.listdir(directory))


def test_there_and_back_again_nothing_differs(settings: Settings, conn: Connection, directory: Path) -> None:
    before = picture(directory)
    moved = archive(settings, conn)
    assert moved.done
    assert moved.files == 7
    packed = settings.high_privacy_archive_dir / "ws.tar.gz"
    assert moved.archive == archive_of(settings, "ws") == packed
    assert packed.stat().st_mode & 0o077 == 0
    assert names_in(directory.parent, packed.parent) == ["ws.tar.gz"]
    assert not archive(settings, conn).done
    back = unarchive(settings, conn)
    assert (back.done, back.archive, back.files) == (True, None, 7)
    assert picture(directory) == before
    assert names_in(directory.parent, packed.parent) == ["ws"]
    assert not unarchive(settings, conn).done


def test_the_last_workspace_comes_back_though_the_directory_of_all_is_gone(
    settings: Settings, conn: Connection, directory: Path
) -> None:
    before = picture(directory)
    archive(settings, conn)
    directory.parent.rmdir()
    assert unarchive(settings, conn).done
    assert picture(directory) == before


def test_any_tar_reads_what_was_packed(settings: Settings, conn: Connection, directory: Path, tmp_path: Path) -> None:
    before = picture(directory)
    packed = archive(settings, conn).archive
    subprocess.run(["tar", "-xzf", str(packed), "-C", str(tmp_path)], check=True)
    after = picture(tmp_path / "ws")
    assert {name: values[0] for name, values in after.items()} == {name: values[0] for name, values in before.items()}
    assert after["out/a.csv"] == before["out/a.csv"]


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.xz", ".tar.zstd"])
@pytest.mark.parametrize("top", ["ws", "."])
def test_archives_of_others_are_read(
    settings: Settings, conn: Connection, directory: Path, suffix: str, top: str
) -> None:
    before = {name: values[0] for name, values in picture(directory).items()}
    settings.high_privacy_archive_dir.mkdir(parents=True)
    packed = settings.high_privacy_archive_dir / f"ws{suffix}"
    compress = {".tar.gz": "gzip", ".tar.xz": "xz", ".tar.zstd": "zstd"}[suffix]
    place = directory.parent if top == "ws" else directory
    command = ["tar", "-I", compress, "--exclude=.staging", "-cf", str(packed), "-C", str(place), top]
    subprocess.run(command, check=True)
    subprocess.run(["rm", "-r", str(directory)], check=True)
    assert why_absent(settings, "ws") is not None
    assert unarchive(settings, conn).done
    assert {name: values[0] for name, values in picture(directory).items()} == before
    assert not packed.exists()


def test_without_the_program_that_an_archive_needs_one_line_says_so(
    settings: Settings, conn: Connection, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.rename(directory.with_name("other"))
    settings.high_privacy_archive_dir.mkdir(parents=True)
    (settings.high_privacy_archive_dir / "ws.tar.zstd").write_bytes(b"x")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(JobFilesError, match="zstd, which is not installed"):
        unarchive(settings, conn)


@pytest.mark.parametrize("kind", ["link", "fifo", "socket"])
def test_what_cannot_be_carried_is_named_before_anything_is_done(
    settings: Settings, conn: Connection, directory: Path, kind: str
) -> None:
    odd = directory / "out" / kind
    match kind:
        case "link":
            odd.symlink_to("/etc/passwd")
        case "fifo":
            os.mkfifo(odd)
        case _:
            os.chdir(odd.parent)
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(odd.name)
    before = picture(directory)
    with pytest.raises(JobFilesError, match=f"out/{kind}"):
        archive(settings, conn)
    assert picture(directory) == before
    assert names_in(settings.high_privacy_archive_dir) == []


def test_a_workspace_directory_that_is_a_link_is_refused(
    settings: Settings, conn: Connection, directory: Path, tmp_path: Path
) -> None:
    directory.rename(tmp_path / "elsewhere")
    directory.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(JobFilesError, match="is a link"):
        archive(settings, conn)
    assert (tmp_path / "elsewhere/out/a.csv").exists()


def test_active_jobs_are_named_and_nothing_is_packed(settings: Settings, conn: Connection, directory: Path) -> None:
    insert(conn, make_job("active", StatusCode.WAITING_ON_WORKERS, action="waits"))
    for move in (archive, unarchive):
        with pytest.raises(WorkspaceBusyError, match=r"a job is active \(waits\)"):
            move(settings, conn)
    assert why_absent(settings, "ws") is None
    assert directory.exists()


def test_nothing_can_run_in_a_workspace_while_it_is_moved_or_away(
    settings: Settings, conn: Connection, directory: Path
) -> None:
    said: dict[str, str] = {}

    def tell(doing: str, done: int, of: int) -> None:
        if doing in said:
            return
        absence = why_absent(settings, "ws")
        said[doing] = absence.message if absence is not None else ""
        with pytest.raises(JobRequestError, match="nothing can run in it"):
            refuse_absent(settings, "ws")
        with pytest.raises(WorkspaceBusyError, match="another process"):
            archive(settings, conn)

    archiving.archive(settings, conn, "ws", check_space=True, tell=tell)
    assert len(said) > 1
    assert set(said.values()) == {"workspace ws is being archived or brought back at this moment"}
    with pytest.raises(JobRequestError) as raised:
        refuse_absent(settings, "ws")
    assert "jobrunner workspaces unarchive ws" in (raised.value.hint or "")
    unarchive(settings, conn)
    refuse_absent(settings, "ws")


def test_a_file_that_changes_meanwhile_is_noticed_and_all_stands_as_it_was(
    settings: Settings, conn: Connection, directory: Path
) -> None:
    def tell(doing: str, done: int, of: int) -> None:
        if doing.startswith("comparing"):
            (directory / "out/a.csv").write_text("changed")

    with pytest.raises((JobFilesError, WorkspaceBusyError), match=r"differ|changed"):
        archiving.archive(settings, conn, "ws", check_space=True, tell=tell)
    assert (directory / "out/a.csv").read_text() == "changed"
    assert names_in(settings.high_privacy_archive_dir) == []
    assert why_absent(settings, "ws") is None


def test_without_space_nothing_is_begun(settings: Settings, conn: Connection, directory: Path) -> None:
    with (directory / "huge").open("wb") as file:
        # All hole: it takes no space here, and packed it might take all there is anywhere.
        file.truncate(1 << 43)
    with pytest.raises(DiskFullError, match="may need"):
        archive(settings, conn)
    assert names_in(settings.high_privacy_archive_dir) == []


def test_names_that_no_workspace_has(settings: Settings, conn: Connection) -> None:
    for move in (archiving.archive, archiving.unarchive):
        extra = {} if move is archiving.archive else {"keep": False}
        with pytest.raises(NotFoundError):
            move(settings, conn, "nobody", check_space=True, tell=lambda *_: None, **extra)
        with pytest.raises(UsageError):
            move(settings, conn, "../x", check_space=True, tell=lambda *_: None, **extra)


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_archive_is_named_and_nothing_takes_its_place(
    settings: Settings, conn: Connection, directory: Path, damage: str
) -> None:
    packed = archive(settings, conn).archive
    assert packed is not None
    data = packed.read_bytes()
    half = len(data) // 2
    packed.write_bytes(data[:-20] if damage == "cut" else data[:half] + bytes([data[half] ^ 255]) + data[half + 1 :])
    with pytest.raises(JobFilesError, match=r"ws\.tar\.gz is damaged"):
        unarchive(settings, conn)
    assert packed.exists()
    assert not directory.exists()
    assert why_absent(settings, "ws") is not None


@pytest.mark.parametrize("evil", ["../out.txt", "/tmp/out.txt", "ws/../../out.txt", "link", "hard"])
def test_an_archive_that_would_write_elsewhere_is_refused(settings: Settings, conn: Connection, evil: str) -> None:
    settings.high_privacy_archive_dir.mkdir(parents=True)
    packed = settings.high_privacy_archive_dir / "ws.tar.gz"
    with tarfile.open(packed, "w:gz") as tar:
        member = tarfile.TarInfo(evil)
        if evil == "link":
            member.type, member.linkname = tarfile.SYMTYPE, "/etc"
        if evil == "hard":
            member.type, member.linkname = tarfile.LNKTYPE, "/etc/passwd"
        tar.addfile(member)
    with pytest.raises(JobFilesError, match="is not unpacked"):
        unarchive(settings, conn)
    assert not settings.high_workspace("ws").exists()
    assert names_in(settings.high_privacy_archive_dir) == ["ws.tar.gz"]


def test_an_archive_beside_the_directory_is_replaced_only_by_one_that_holds_all_of_it(
    settings: Settings, conn: Connection, directory: Path
) -> None:
    archive(settings, conn)
    unarchive(settings, conn, keep=True)
    (directory / "out/new.csv").write_text("new")
    before = picture(directory)
    assert archive(settings, conn).done
    unarchive(settings, conn)
    assert picture(directory) == before


def test_killed_at_any_step_of_archiving_the_same_command_goes_on(tmp_path: Path) -> None:
    step = 0
    killed = True
    while killed:
        step += 1
        base = tmp_path / str(step)
        base.mkdir()
        settings = settings_for(base)
        directory = settings.high_workspace("ws")
        directory.mkdir(parents=True)
        (directory / "a.csv").write_text("a")
        (directory / "b").mkdir()
        (directory / "b/c.csv").write_text("c")
        with closing(new_database(base, make_job("done", StatusCode.SUCCEEDED))):
            pass
        before = picture(directory)
        killed = killed_at(step, lambda base=base, settings=settings: _in_child(base, settings, archive))
        # Each way on is tried in turn.
        with closing(_connect(base)) as conn:
            if step % 2:
                archive(settings, conn)
                assert archive_of(settings, "ws") is not None
                assert names_in(directory.parent, settings.high_privacy_archive_dir) == ["ws.tar.gz"]
            unarchive(settings, conn)
        assert picture(directory) == before
        assert not marker_of(settings, "ws").exists()
        assert set(names_in(directory.parent, settings.high_privacy_archive_dir)) <= {"ws", "ws.tar.gz"}
    assert step > 10


def test_killed_at_any_step_of_unarchiving_the_same_command_goes_on(tmp_path: Path) -> None:
    step = 0
    killed = True
    while killed:
        step += 1
        base = tmp_path / str(step)
        base.mkdir()
        settings = settings_for(base)
        directory = settings.high_workspace("ws")
        directory.mkdir(parents=True)
        (directory / "a.csv").write_text("a")
        (directory / "b").mkdir()
        (directory / "b/c.csv").write_text("c")
        before = picture(directory)
        with closing(new_database(base, make_job("done", StatusCode.SUCCEEDED))) as conn:
            archive(settings, conn)
        killed = killed_at(step, lambda base=base, settings=settings: _in_child(base, settings, unarchive))
        with closing(_connect(base)) as conn:
            if step % 2:
                archive(settings, conn)
            unarchive(settings, conn)
        assert picture(directory) == before
        assert not marker_of(settings, "ws").exists()
        assert names_in(directory.parent, settings.high_privacy_archive_dir) == ["ws"]
    assert step > 10


def _connect(base: Path) -> Connection:
    from jobrunner_cli.engine.store.database import connect

    return connect(base / "db.sqlite")


def _in_child(base: Path, settings: Settings, move) -> None:
    with closing(_connect(base)) as conn:
        move(settings, conn)
