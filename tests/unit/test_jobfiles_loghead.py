"""The kept beginning of a log: bounded, whole lines only, and it survives a crash and a full disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from jobrunner_cli.engine.jobfiles.loghead import HeadFile, read_head
from support.jobfiles import small_disk


def test_lines_are_kept_until_it_is_full(tmp_path: Path) -> None:
    assert read_head(tmp_path) is None
    with HeadFile(tmp_path, full_bytes=100) as file:
        assert not file.found
        while not file.is_full:
            file.add(b"123456789")
    head = read_head(tmp_path, full_bytes=100)
    assert head is not None
    assert head.full
    assert head.lines == [b"123456789"] * 10


def test_a_line_that_a_crash_has_torn_is_written_anew(tmp_path: Path) -> None:
    with HeadFile(tmp_path) as file:
        file.add(b"one")
        file.add(b"two")
    with (tmp_path / "log.head").open("ab") as stream:
        stream.write(b"thr")
    with HeadFile(tmp_path) as file:
        assert file.found == [b"one", b"two"]
        file.add(b"three")
    head = read_head(tmp_path)
    assert head is not None
    assert head.lines == [b"one", b"two", b"three"]
    assert not head.full


def flood(file: HeadFile) -> None:
    while True:
        file.add(b"x" * 999)


def test_full_disk_leaves_whole_lines_and_room_for_more_later(tmp_path: Path) -> None:
    with small_disk(tmp_path, 1) as disk:
        file = HeadFile(disk)
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            flood(file)
        head = read_head(disk)
        assert head is not None
        assert set(head.lines) == {b"x" * 999}
        file.add(b"y")
        with file:
            pass
        head = read_head(disk)
        assert head is not None
        assert head.lines[-1] == b"y"


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "log.head").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        HeadFile(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_nothing_where_there_is_no_directory(tmp_path: Path) -> None:
    assert read_head(tmp_path / "absent") is None
