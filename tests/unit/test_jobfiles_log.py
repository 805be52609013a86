"""The log of a job: its exact format, what is cut from an endless one, and the places where it is put."""

from __future__ import annotations

import itertools
import json
import threading
from pathlib import Path

import pytest

from jobrunner_cli.engine.errors import JobFilesError
from jobrunner_cli.engine.jobfiles import joblog, walk
from jobrunner_cli.engine.loglines import LogGap
from support.jobfiles import Job, killed_at

FACTS = {
    "hint": "look at a",
    "job_definition_id": "job1",
    "job_definition_request_id": "request",
    "commit": "c" * 40,
    "docker_image_id": "sha256:abc",
    "exit_code": "0",
    "created_at": "2024-01-01T00:00:00Z",
    "completed_at": "2024-01-01T00:01:00Z",
    "database_name": None,
    "status_message": "Completed successfully",
}
LINES = [b"2024-01-01T00:00:01.000000000Z hello", b"2024-01-01T00:00:02.000000000Z caf\xe9"]


@pytest.fixture
def control(tmp_path: Path) -> Path:
    return tmp_path / "control"


def compose(control: Path, lines=LINES, facts=FACTS, outputs=None, held_back=None, **more) -> bytes:
    return joblog.compose(lines, facts, outputs or {}, held_back or {}, control=control, **more).read_bytes()


def test_the_exact_format(control: Path) -> None:
    outputs = {"out/a.csv": "moderately_sensitive", "out/longer.csv": "highly_sensitive"}
    written = compose(control, outputs=outputs, held_back={"out/a.csv": "The file has a patient_id column"})
    assert written == (
        b"2024-01-01T00:00:01.000000000Z hello\n"
        b"2024-01-01T00:00:02.000000000Z caf\xe9\n"
        b"\n"
        b"\n"
        b"job_definition_id: job1\n"
        b"job_definition_request_id: request\n"
        b"commit: cccccccccccccccccccccccccccccccccccccccc\n"
        b"docker_image_id: sha256:abc\n"
        b"exit_code: 0\n"
        b"created_at: 2024-01-01T00:00:00Z\n"
        b"completed_at: 2024-01-01T00:01:00Z\n"
        b"status_message: Completed successfully\n"
        b"hint: look at a\n"
        b"\n"
        b"outputs:\n"
        b"  out/a.csv       - moderately_sensitive\n"
        b"  out/longer.csv  - highly_sensitive\n"
        b"\n"
        b"Invalid moderately_sensitive outputs:\n"
        b"  out/a.csv  - The file has a patient_id column\n"
    )


def test_nothing_printed_and_nothing_made(control: Path) -> None:
    written = compose(control, lines=[], facts={"job_definition_id": "job1", "hint": ""})
    assert written == b"\n\njob_definition_id: job1\n\noutputs:\n  (no outputs)\n"


def test_what_was_not_taken_is_named(control: Path) -> None:
    named = {"refused": {"out.csv": "it is a link"}, "unmatched_files": ["made.txt"]}
    written = compose(control, **named).decode("latin-1")
    assert "could not be taken:\n  out.csv  - it is a link\n\n" in written
    assert written.endswith("matched no pattern:\n  made.txt\n")
    written = compose(control, **named, refused_more=1, unmatched_more=2400).decode("latin-1")
    assert "  out.csv  - it is a link\n  and 1 more\n\n" in written
    assert written.endswith("  made.txt\n  and 2,400 more\n")


def test_a_name_cannot_forge_a_line(control: Path) -> None:
    written = compose(control, outputs={"a\n  forged.csv": "highly_sensitive"})
    assert b"\n  forged" not in written
    assert b"  a\\n  forged.csv  - highly_sensitive\n" in written


def test_the_middle_of_an_endless_log_is_cut_and_named(control: Path) -> None:
    lines = (b"%07d" % number for number in range(200_000))
    written = compose(control, lines=lines, head_bytes=800, tail_bytes=1600).split(b"\n")
    assert written[:100] == [b"%07d" % number for number in range(100)]
    assert written[100] == b"[199,700 lines (1,597,600 bytes) of this log were cut out here]"
    assert written[101:301] == [b"%07d" % number for number in range(199_800, 200_000)]
    assert written[301:303] == [b"", b""]


def test_a_gap_and_what_had_to_be_cut_are_one_cut(control: Path) -> None:
    lines = [b"%07d" % number for number in range(200)]
    gap = LogGap.of(3, 300, lines_exact=False)
    written = compose(control, lines=[*lines, gap, *lines], head_bytes=800, tail_bytes=800).split(b"\n")
    assert written[:100] == lines[:100]
    assert written[100] == b"[more than 203 lines (1,900 bytes) of this log were cut out here]"
    assert written[101:201] == lines[100:]
    assert written[201:203] == [b"", b""]


def test_a_gap_of_unknown_size_is_named_with_the_reason(control: Path) -> None:
    gap = LogGap.of(0, 0, lines_exact=False, size_exact=False, reason="the disk was full")
    written = compose(control, lines=[b"one", gap, b"two"]).split(b"\n")
    assert written[:3] == [
        b"one",
        b"[a part of this log was cut out here; how much is not known; the disk was full]",
        b"two",
    ]


def test_a_log_that_just_fits_is_not_cut(control: Path) -> None:
    lines = [b"%07d" % number for number in range(300)]
    assert compose(control, lines=lines, head_bytes=800, tail_bytes=1600).split(b"\n")[:300] == lines


def test_a_composed_log_is_found_again_and_a_half_done_one_is_not(control: Path) -> None:
    def breaks():
        yield b"line"
        raise ConnectionError

    with pytest.raises(JobFilesError):
        compose(control, lines=breaks())
    assert joblog.composed(control) is None
    written = compose(control)
    found = joblog.composed(control)
    assert found is not None
    assert found.read_bytes() == written


def test_composing_an_endless_log_stops_when_told(control: Path) -> None:
    stop = threading.Event()

    def lines():
        for number in itertools.count():
            if number == 5000:
                stop.set()
            yield b"line"

    with pytest.raises(walk.Stopped):
        compose(control, lines=lines(), stop=stop)
    assert joblog.composed(control) is None


def test_the_places_of_a_published_log(tmp_path: Path, control: Path) -> None:
    job = Job(base=tmp_path)
    directory = joblog.log_directory(tmp_path / "high", "job1", 1_709_251_199)
    assert directory == tmp_path / "high/logs/2024-02/os-job-job1"
    text = compose(control)
    metadata = joblog.metadata(FACTS, {"a.csv": "highly_sensitive"}, {"Id": "1", "Config": {"Env": ["A=1"]}})
    log = joblog.composed(control)
    assert log is not None
    for _ in range(2):
        joblog.place(log, directory=directory, metadata=metadata, stores=job.stores, action="make")
    for place in (job.high / "metadata/make.log", job.medium / "metadata/make.log", directory / "logs.txt"):
        assert place.read_bytes() == text
    written = json.loads((directory / "metadata.json").read_text())
    assert written == {
        **FACTS,
        "outputs": {"a.csv": "highly_sensitive"},
        "container_metadata": {"Id": "1", "Config": {"Env": ["A=1"]}},
    }
    assert next(iter(written)) == "job_definition_id"
    assert list(tmp_path.rglob(".*")) == []


def test_the_log_of_a_cancelled_job_is_kept_and_the_workspaces_is_not_touched(tmp_path: Path, control: Path) -> None:
    job = Job(base=tmp_path)
    compose(control)
    directory = joblog.log_directory(tmp_path / "high", "job1", 0)
    joblog.place(control / "log.txt", directory=directory, metadata={})
    assert sorted(path.name for path in directory.iterdir()) == ["logs.txt", "metadata.json"]
    assert not job.high.exists()
    assert not job.medium.exists()


@pytest.mark.parametrize("action", ["../x", "a/b", "", "..", "a\0b"])
def test_an_action_that_is_no_name_gets_no_log(tmp_path: Path, control: Path, action: str) -> None:
    compose(control)
    with pytest.raises(JobFilesError, match="cannot name a log"):
        joblog.place(
            control / "log.txt", directory=tmp_path, metadata={}, stores=Job(base=tmp_path).stores, action=action
        )


def test_a_log_that_cannot_be_placed_everywhere_leaves_nothing_half_done(tmp_path: Path, control: Path) -> None:
    job = Job(base=tmp_path)
    compose(control)
    job.medium.parent.mkdir(parents=True)
    job.medium.write_text("not a directory")
    with pytest.raises(JobFilesError, match="cannot store the job's log"):
        joblog.place(control / "log.txt", directory=tmp_path / "l", metadata={}, stores=job.stores, action="make")
    assert list((tmp_path / "l").iterdir()) == list((job.high / "metadata").iterdir()) == []


def test_a_long_name_of_an_action_is_fine(tmp_path: Path, control: Path) -> None:
    job = Job(base=tmp_path)
    compose(control)
    joblog.place(control / "log.txt", directory=tmp_path / "l", metadata={}, stores=job.stores, action="a" * 251)
    assert (job.high / "metadata" / ("a" * 251 + ".log")).exists()


def test_killed_at_any_step_of_placing_readers_see_the_old_log_or_the_new(tmp_path: Path, control: Path) -> None:
    job = Job(base=tmp_path)
    directory = joblog.log_directory(tmp_path / "high", "job1", 0)
    places = [job.high / "metadata/make.log", job.medium / "metadata/make.log", directory / "logs.txt"]

    def write(line: bytes) -> bytes:
        text = compose(control, lines=[line])
        joblog.place(control / "log.txt", directory=directory, metadata={"x": 1}, stores=job.stores, action="make")
        return text

    old, step = write(b"old"), 1
    new = write(b"new")
    while write(b"old") and killed_at(step, lambda: write(b"new")):
        for place in places:
            assert place.read_bytes() in {old, new}
        json.loads((directory / "metadata.json").read_text())
        assert write(b"new") == new
        assert [place.read_bytes() for place in places] == [new] * 3
        step += 1
    assert step > 15
    assert list(tmp_path.rglob(".*partial")) == []
