"""Level 4: what may go to where the people who check outputs read it, and what is held back with which reason."""

from __future__ import annotations

import gzip
import os
import threading
import tracemalloc
from pathlib import Path

import pytest

from jobrunner_cli.engine.jobfiles import checks, walk
from support.jobfiles import NEVER

LIMITS = checks.Level4Limits(max_bytes=1 << 20, max_csv_rows=10)


def check(tmp_path: Path, content: bytes | str, *, name: str = "out/data.csv", limits=LIMITS) -> checks.Level4Check:
    file = tmp_path / "content"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return check_file(file, name=name, limits=limits)


def check_file(file: Path, *, name: str = "out/data.csv", limits=LIMITS, stop=NEVER) -> checks.Level4Check:
    handle = os.open(file, os.O_RDONLY)
    try:
        return checks.check(name, handle, file.stat().st_size, limits=limits, stop=stop)
    finally:
        os.close(handle)


@pytest.mark.parametrize(
    "suffix", [*["csv", "jpg", "jpeg", "png", "svg", "svgz", "html", "txt", "log", "json", "md"], "rds.csv"]
)
def test_possible_types(tmp_path: Path, suffix: str) -> None:
    assert check(tmp_path, "a,b\n", name=f"out/x.{suffix}").message is None


@pytest.mark.parametrize("name", ["x.rds", "x.CSV", "x.csv.gz", "x", "x.d/y", ".csv", "x.feather", "x.dta"])
def test_other_types_are_held_back(tmp_path: Path, name: str) -> None:
    assert "cannot be released" in (check(tmp_path, "a,b\n1,2\n", name=name).message or "")


def test_the_limit_of_size_is_inclusive(tmp_path: Path) -> None:
    assert check(tmp_path, b"x" * (1 << 20), name="a.txt").message is None
    message = check(tmp_path, b"x" * ((1 << 20) + 1), name="a.txt").message
    assert message == "The file is too large: 1,048,577 bytes, and the limit is 1,048,576"
    message = check(tmp_path, b"x" * (3 << 20), name="a.txt").message
    assert message == "The file is too large: 3.00 MiB, and the limit is 1.00 MiB"


@pytest.mark.parametrize(
    ("text", "rows", "columns"),
    [
        ("", 0, 0),
        ("\n\n", 0, 0),
        ("a,b,c\n", 0, 0),
        ("a,b,c", 0, 0),
        ("a,b,c\n1,2,3\n", 1, 3),
        ("a,b\r\n1,2\r\n3,4", 2, 2),
        ("a,b\r1,2\r3,4\r", 2, 2),
        ('a,b\n1,"two\nlines"\n3,4\n', 2, 2),
        ('a;b\n1;"two\nlines"\n', 1, 2),
        ("a\tb\n1\t2\n", 1, 2),
        ("a|b|c\n1|2|3\n\n\n", 1, 3),
        ("sep=;\na;b,c\n1;2\n", 1, 2),
        ("# made by hand\na,b\n1,2\n", 1, 2),
        ("\ufeffa,b\n1,2\n", 1, 2),
        ('"a,b",c\n1,2\n', 1, 2),
        ("one\n1\n2\n", 2, 1),
        ('"a" "b"\n"x y" 2\n', 1, 2),
        ("\n\na,b\n1,2\n", 1, 2),
    ],
)
def test_rows_and_columns_are_counted(tmp_path: Path, text: str, rows: int, columns: int) -> None:
    found = check(tmp_path, text)
    assert (found.message, found.row_count, found.col_count) == (None, rows, columns)


def test_the_limit_of_rows_leaves_the_header_out(tmp_path: Path) -> None:
    assert check(tmp_path, "a\n" + "1\n" * 10).message is None
    found = check(tmp_path, "a\n" + "1\n" * 11)
    assert found.message == "The file has 11 rows, and the limit is 10"
    assert (found.row_count, found.col_count) == (11, 1)


@pytest.mark.parametrize(
    "header",
    [
        "patient_id",
        "patient_id,age",
        "age,PATIENT_ID",
        "age, Patient_Id ,sex",
        'age,"patient_id"',
        'age, "patient_id"',
        "age,'patient_id'",
        "\ufeffpatient_id,age",
        '\ufeff"patient_id",age',
        "age;patient_id",
        "age\tpatient_id",
        "age|patient_id|sex",
        "a,b;patient_id;c",
        '"age" "patient_id"',
        "age patient_id",
        "age/patient_id",
        "patient id\u00a6age",
        "#patient_id,age",
        "#patient_id\nage,sex",
        "sep=;\nage;patient_id",
        "\n\npatient_id,age",
        '"patient_id\n",age',
        "age,\u00a0patient_id",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig", "utf-32"])
def test_a_patient_id_column_is_found_however_it_is_written(tmp_path: Path, header: str, encoding: str) -> None:
    found = check(tmp_path, f"{header}\n1,2\n".encode(encoding))
    assert found.message == "The file has a patient_id column"


@pytest.mark.parametrize(
    "text", ["patient_id_count,n\n1,2\n", "n_distinct(patient_id)\n1\n", "n patients,x\n", "name,n\npatient_id,3\n"]
)
def test_other_columns_are_not_taken_for_it(tmp_path: Path, text: str) -> None:
    assert check(tmp_path, text).message is None


def test_big_endian_and_old_encodings(tmp_path: Path) -> None:
    assert check(tmp_path, b"\xfe\xff" + "age,patient_id\n".encode("utf-16-be")).message
    found = check(tmp_path, "café,b\nü,2\n".encode("latin-1"))
    assert (found.message, found.row_count, found.col_count) == (None, 1, 2)


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(b"a,b\n1,2\n", mtime=0),
        b"PK\x03\x04rest",
        b"a,b\n1,\x002\n",
        b"\x00" * 1000,
        "age,patient_id\n".encode("utf-16-le"),
        b"\xff\xfea\x00,\x00\xd8",
        b'a,b\n1,"never closed\n2,3\n',
        b'a,b\n"x"y,2\n',
        b"a\x1fpatient_id\n",
        b"a,b\n" + b"x" * (1 << 21),
        b'a,b\n"' + b"x" * 200_000 + b'",2\n',
        b'"a\n",' * 900_000,
    ],
)
def test_what_is_no_csv_is_held_back(tmp_path: Path, content: bytes) -> None:
    found = check(tmp_path, content, limits=checks.Level4Limits(max_bytes=1 << 30, max_csv_rows=10))
    assert (found.message or "").startswith("The file cannot be read as CSV: ")
    assert (found.row_count, found.col_count) == (None, None)


def test_all_reasons_are_given(tmp_path: Path) -> None:
    limits = checks.Level4Limits(max_bytes=10, max_csv_rows=1)
    found = check(tmp_path, "patient_id,age\n1,2\n3,4\n", limits=limits)
    assert len(found.reasons) == 3
    assert (found.row_count, found.col_count) == (2, 2)


def test_a_terabyte_of_nothing_takes_no_time(tmp_path: Path) -> None:
    file = tmp_path / "sparse"
    file.touch()
    os.truncate(file, 1 << 40)
    found = check_file(file)
    assert found.reasons[0].startswith("The file is too large")
    with file.open("r+b") as sparse:
        sparse.write(b"a,b\n1,2\n")
    limits = checks.Level4Limits(max_bytes=1 << 41, max_csv_rows=10)
    assert "cannot be read as CSV" in (check_file(file, limits=limits).message or "")


@pytest.mark.parametrize("content", [b'"x","y","z"\n' * 100_000, b'"a\n",' * 100_000, b"x" * (6 << 20)])
def test_memory_stays_small(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "big"
    file.write_bytes(content)
    limits = checks.Level4Limits(max_bytes=1 << 30, max_csv_rows=10)
    tracemalloc.start()
    check_file(file, limits=limits)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 60 << 20


def test_a_long_check_stops_when_told(tmp_path: Path) -> None:
    file = tmp_path / "long"
    file.write_bytes(b"a,b\n" * 10_000)
    stop = threading.Event()
    stop.set()
    with pytest.raises(walk.Stopped):
        check_file(file, stop=stop)
