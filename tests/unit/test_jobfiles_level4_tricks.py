"""Level 4 against files that are made, or happened, to look like something else: rows and identifiers are still found."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import os
import zipfile
from pathlib import Path

import pytest

from jobrunner_cli.engine.jobfiles import checks
from jobrunner_cli.engine.jobfiles.identifiers import is_patient_id
from support.jobfiles import NEVER, Job, files_below

LIMITS = checks.Level4Limits(max_bytes=1 << 30, max_csv_rows=10)
ROWS = "".join(f"{number},{number}\n" for number in range(1000, 1011))


def check(tmp_path: Path, content: bytes | str, *, limits=LIMITS) -> checks.Level4Check:
    file = tmp_path / "content"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    handle = os.open(file, os.O_RDONLY)
    try:
        return checks.check("out/data.csv", handle, file.stat().st_size, limits=limits, stop=NEVER)
    finally:
        os.close(handle)


def zipped(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("data.csv", content)
    return packed.getvalue()


def test_compressed_whatever_the_packer(tmp_path: Path) -> None:
    content = b"a,b\n1,2\n" * 50
    for packed in (gzip.compress(content), bz2.compress(content), lzma.compress(content), zipped(content)):
        assert "cannot be read as CSV" in (check(tmp_path, packed).message or "")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "cp037", "cp500"])
def test_encodings_that_nothing_announces_are_held_back(tmp_path: Path, encoding: str) -> None:
    assert "cannot be read as CSV" in (check(tmp_path, "patient_id,age\n1,2\n".encode(encoding)).message or "")
    assert "cannot be read as CSV" in (check(tmp_path, "patient_id,age;1,2;3,4".encode(encoding)).message or "")


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE])
@pytest.mark.parametrize("padding", [0, 1, 2, 3])
def test_a_mark_of_an_encoding_before_plain_text_is_held_back(tmp_path: Path, mark: bytes, padding: int) -> None:
    """Its bytes are characters in UTF-16, too: one long line of Chinese without a row."""
    content = mark + b"patient_id,age\n1,22\n3,44\n" + b" " * padding
    assert "cannot be read as CSV" in (check(tmp_path, content).message or "")


def test_text_that_goes_over_into_another_encoding_is_held_back(tmp_path: Path) -> None:
    content = b"a,b\n" + "patient_id,age\n".encode("utf-16-le")
    assert "cannot be read as CSV" in (check(tmp_path, content).message or "")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig", "latin-1", "cp1252"])
def test_accents_and_symbols_are_no_reason(tmp_path: Path, encoding: str) -> None:
    text = "région,coût (£)\nÎle-de-France,12\nçà et là,3\n"
    found = check(tmp_path, text.encode(encoding))
    assert (found.message, found.row_count, found.col_count) == (None, 2, 2)


@pytest.mark.parametrize(
    "name",
    [
        "patient\u200b_id",
        "\u200dpatient_id",
        "patient_\u00adid",
        "patient_id\u2060",
        "\ufeff\ufeffpatient_id",
        "\u202epatient_id",
        "p\u0301atient_id",
        "patient\u3164_id",
        "patient\uff3fid",
        "\uff50\uff41\uff54\uff49\uff45\uff4e\uff54\uff3f\uff49\uff44",
        "\U0001d429atient_id",
        "p\u0430tient_id",
        "\u0440\u0430\u0442\u0456\u0435nt_id",
        "PAT\u0406ENT_ID",
        "\u03c1atient_id",
        "pat\u0131ent_id",
        "PAT\u0130ENT_\u0130D",
        "\u00ef\u00bb\u00bfpatient_id",
        "patient id",
        "Patient-ID",
        "patient.id",
        "PatientId",
        "patient__id",
        "patient_id_x",
        "patient_id.y",
        "patient_id.1",
        " \t`patient_id` ",
        "'patient_id'",
        "[patient_id]",
    ],
)
def test_the_identifier_in_disguise(tmp_path: Path, name: str) -> None:
    for header in (name, f"age,{name}", f"age;{name};sex", f"{name}\tage"):
        found = check(tmp_path, f"{header}\nx,y\n")
        assert "The file has a patient_id column" in found.reasons, header


def test_endless_accents_on_a_letter_hide_nothing_and_cost_little(tmp_path: Path) -> None:
    # Putting them into the order of the standard would take longer than anybody waits, and stop the runner meanwhile.
    accented = "a" + "\u0301\u0327" * 60_000
    text = f"{accented},{accented},{accented},patient_id\n" + f"{accented},{accented},x,1\n" * 3
    assert check(tmp_path, text).message == "The file has a patient_id column"
    assert check(tmp_path, text.replace("patient_id", "practice")).message is None
    assert is_patient_id("patient" + "\u0301\u0327" * 100_000 + "_id")


@pytest.mark.parametrize(
    "name",
    [
        "patient",
        "patients",
        "id",
        "n_patient_id",
        "patient_ids",
        "patient_id_count",
        "n_distinct(patient_id)",
        "inpatient_id",
        "practice_id",
    ],
)
def test_names_that_are_not_the_identifier(tmp_path: Path, name: str) -> None:
    assert not is_patient_id(name)
    assert check(tmp_path, f"age,{name}\n1,2\n").message is None


@pytest.mark.parametrize(
    "text",
    [
        "Table 1\npatient_id,age\n1,2\n",
        "Table 1, by age\npatient_id,age\n1001,2\n",
        "made by,hand,in,March\npatient_id,age\nab,2\n",
        "// a comment\npatient_id;age\n1;2\n",
        "% a comment\n\n\npatient_id\n1001\n1002\n",
        ",age,age\n,mean,sd\npatient_id,,\n1001,2,3\n",
        "a,b\n1,2\n\npatient_id,c\nxy,2\n",
        "a,b\n1,2\n3,4,patient_id\n",
        'a,b\n"patient_id",b\n"1001",2\n',
        "a;b\npatient_id,b;c\n1001,b;c\n",
        "\u2028a,b\u2028patient_id,b\n1001,b\n",
        "#\n#\npatient_id,age\n1,2\n",
        'sep=^\nage^patient_id\n1^2\n',
        "SEP=;\nage;patient_id\n1;2\n",
        "sep=p\nage,patient_id\n1,2\n",
        "age^patient_id^sex\n1^2^3\n",
        "id:patient_id sex\n1:2 3\n",
        "a:patient_id b\n1:2 3\n",
        "a^b patient_id^c\n1^2 3^4\n",
        "\u00e9a:patient_id\u2003b\n1:2\u20033\n",
        "a-patient_id-b\n1-2-3\n",
        "a.patient_id.b\n1.2.3\n",
        "a(patient_id)b\n1(2)3\n",
        "a-patient id-b\n1-2-3\n",
        "a:patient-id:b\n1:2:3\n",
        "a:patient-id b\n1:2 3\n",
        "a - patient_id / b\n1 - 2 / 3\n",
        "age,patient_id,patient_id\n1,2,3\n",
        'age,"patient_id\r\n"\n1,2\n',
        'age,"""patient_id"""\n1,2\n',
        "x\ufeff,y\n\ufeffpatient_id,age\n1001,2\n",
    ],
)  # fmt: skip
def test_a_header_that_is_not_where_it_should_be(tmp_path: Path, text: str) -> None:
    assert "The file has a patient_id column" in check(tmp_path, text).reasons


@pytest.mark.parametrize(
    "text",
    [
        "column,type\npatient_id,int64\nage,int64\n",
        "name,n\npatient_id,3\nage,4\n",
        "name\nage\npatient_id\nsex\n",
        "name,n\npatient_id,3\n",
        "note,n\ngrouped by patient_id,3\n,4\n",
    ],
)
def test_a_list_of_columns_is_no_table_of_patients(tmp_path: Path, text: str) -> None:
    assert check(tmp_path, text).message is None


@pytest.mark.parametrize(
    "text",
    [
        'a,b\n"' + ROWS + '",1\n',
        'a,b\n1,"x\n' + ROWS + '"\n',
        '"a\n' + ROWS + '",b\n',
        "a,b\n" + ROWS.replace("\n", "\r"),
        "a,b\r\n" + ROWS.replace("\n", "\r\n"),
        "a,b\r" + ROWS.replace("\n", "\r\n", 5).replace("\n", "\n\r", 2),
        'a,b\n"x\n' + ROWS.replace(",", ";") + '",1\n',
        'a\n"' + "\n".join(str(number) for number in range(12)) + '"\n',
        "a,b\nx" + ROWS.replace("\n", "\u2028"),
        "a,b\nx" + ROWS.replace("\n", "\u0085"),
        'a,b\n1,"x' + ROWS.replace("\n", "\u2029") + '"\n',
    ],
)
def test_rows_are_found_wherever_lines_end(tmp_path: Path, text: str) -> None:
    found = check(tmp_path, text)
    assert "rows" in (found.message or "")
    assert "the limit is 10" in (found.message or "")


def test_text_of_several_lines_in_a_cell_is_one_row(tmp_path: Path) -> None:
    text = "age,comment\n" + '1,"first line\nsecond line\n\nthird line"\n' * 10
    found = check(tmp_path, text)
    assert (found.message, found.row_count) == (None, 10)


@pytest.mark.parametrize(
    "text",
    [
        'a,b\n1,"' + "x\n" * 101 + '"\n',
        'a,b\n1,"x\n' + ROWS * 10 + '1,x"\n',
        "# note\n" * 101 + "a,b\n1,2\n",
        "a,b\n1,2\x0b3,4\n",
        "a,b\n1,2\x0c3,4\n",
        "a,b\n1,2\x1e3,4\n",
        "a,b\n1,2\n\x1a3,4\n",
        "a,b\n1,2\x7f\n",
        'a,b\n1,"2\n3,4\n',
        'a,b\n"1"2,"3\n',
    ],
)
def test_what_cannot_be_understood_is_held_back(tmp_path: Path, text: str) -> None:
    assert (check(tmp_path, text).message or "").startswith("The file cannot be read as CSV: ")


def test_a_table_on_its_side_is_held_back(tmp_path: Path) -> None:
    wide = ",".join(str(number) for number in range(5001))
    for text in (f"{wide}\n1\n", f"id,age\n{wide}\n", f"{wide.replace(',', ';')}\n"):
        assert check(tmp_path, text).message == "The file has 5,001 columns, and the limit is 5,000"
    assert check(tmp_path, wide.rpartition(",")[0] + "\n1\n").message is None
    limits = checks.Level4Limits(max_bytes=1 << 30, max_csv_rows=6000)
    assert check(tmp_path, f"{wide}\n1\n", limits=limits).message is None


def test_a_header_of_any_length_is_read_or_held_back(tmp_path: Path) -> None:
    names = ",".join(f"{'x' * 200}{number}" for number in range(4000))
    assert check(tmp_path, f"{names},patient_id\n1\n").message == "The file has a patient_id column"
    assert "does not end" in (check(tmp_path, f"{names},{names},patient_id\n1\n").message or "")


def test_a_reason_tells_nothing_of_the_content(tmp_path: Path) -> None:
    job = Job(base=tmp_path)
    job.lay_out()
    job.make("quote.csv", 'a,b\n1,"secret\n')
    job.make("odd.csv", 'secret,b\n"secret"secret,2\n')
    job.make("name.csv", "patient_id,secret\n1,secret\n")
    job.make("binary.csv", "secret\x00secret\n")
    job.publish(moderate="*.csv")
    reasons = files_below(job.medium)
    assert sorted(reasons) == ["binary.csv.txt", "name.csv.txt", "odd.csv.txt", "quote.csv.txt"]
    assert not any(b"secret" in reason for reason in reasons.values())


@pytest.mark.parametrize("suffix", ["html", "txt", "log", "json", "md", "svg", "svgz", "png"])
def test_of_other_types_only_suffix_and_size_count(tmp_path: Path, suffix: str) -> None:
    job = Job(base=tmp_path)
    job.lay_out()
    job.make(f"a.{suffix}", "patient_id,age\n" + ROWS * 2000)
    (output,) = job.publish(moderate=f"a.{suffix}")
    assert (output.excluded, output.row_count, output.col_count) == (False, None, None)
    (output,) = job.publish(checks.Level4Limits(max_bytes=100, max_csv_rows=10), moderate=f"a.{suffix}")
    assert output.excluded


def test_a_link_is_judged_by_its_own_name_and_what_it_leads_to(tmp_path: Path) -> None:
    job = Job(base=tmp_path)
    job.lay_out()
    job.make("data/all.txt", "patient_id,age\n1,2\n")
    (job.work / "released.csv").symlink_to("data/all.txt")
    (output,) = job.publish(moderate="released.csv")
    assert output.message == "The file has a patient_id column"
    assert list(files_below(job.medium)) == ["released.csv.txt"]


@pytest.mark.slow
def test_a_large_file_is_read_in_little_memory(tmp_path: Path) -> None:
    file = tmp_path / "large.csv"
    line = (b"12345," * 170)[:-1] + b"\n"
    with file.open("wb") as large:
        large.write(line.replace(b"12345", b"name"))
        for _ in range(200):
            large.write(line * 1040)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if _is_read_in_little_memory(file) else 2
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    file.unlink()
    assert os.waitstatus_to_exitcode(status) == 0


def _is_read_in_little_memory(file: Path) -> bool:
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    handle = os.open(file, os.O_RDONLY)
    found = checks.check("a.csv", handle, file.stat().st_size, limits=LIMITS, stop=NEVER)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return found.row_count == 208_000 and found.col_count == 170 and grown < 40 << 10
