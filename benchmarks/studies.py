"""How long a project.yaml takes to be read and checked, beside PyYAML's C loader in the same run.

    python benchmarks/studies.py [--rounds 40]

The study has 120 actions: those of three real ones of the corpus in one file. The aim is half as much again as the
loader alone, and a millisecond for every 20 actions. A file beyond a limit is to be refused in the time of ten such
reads. CPU times of this thread, medians of interleaved rounds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import yaml

from jobrunner_cli.engine.study.pipeline import examine
from jobrunner_cli.engine.study.reader import MAX_DEPTH, MAX_NODES, MAX_VALUE
from jobrunner_cli.engine.study.source import MAX_BYTES

CORPUS = Path(__file__).parent.parent / "tests/corpus/valid"
STUDIES = (
    "opensafely__amr-uom-brit@e0965f6e.yaml",
    "opensafely__disparities-comparison@24689877.yaml",
    "opensafely__tpp-database-import-dates.yaml",
)
ACTIONS = 120


def large_study() -> bytes:
    """The head of the first study, and the actions of all."""
    head, _, _ = (CORPUS / STUDIES[0]).read_bytes().partition(b"\nactions:")
    actions = [(CORPUS / name).read_bytes().partition(b"\nactions:")[2] for name in STUDIES]
    content = b"\n".join([head, b"actions:", *actions])
    pipeline, problems = examine(content)
    if pipeline is None or len(pipeline.actions) != ACTIONS:
        sys.exit("\n".join(["the studies do not go together", *map(str, problems)]))
    return content


def beyond_the_limits() -> dict[str, bytes]:
    """A file for each limit, and some that reach one in other ways."""
    laughs = [b"l0: &l0 [" + b"lol," * 10 + b"]"]
    laughs += [b"l%d: &l%d [" % (n, n) + b"*l%d," % (n - 1) * 10 + b"]" for n in range(1, 9)]
    return {
        "bytes": b"#" * (MAX_BYTES + 1),
        "levels": b"[" * (MAX_DEPTH + 1),
        "levels, 6 kB of [": b"[" * 6_000,
        "levels, 1 MiB of [": b"[" * MAX_BYTES,
        "levels, dashes": b"- " * (MAX_BYTES // 2),
        "values in brackets": b"[" + b"1," * MAX_NODES + b"]",
        "values in lines": b"- a\n" * (MAX_NODES + 1),
        "values by aliases": b"- &a [" + b"1," * 999 + b"]\n" + b"- *a\n" * 100,
        "values, a billion": b"\n".join(laughs),
        "characters by aliases": b"- &a " + b"x" * 90_000 + b"\n" + b"- *a\n" * 50,
        "characters of a word": b"x" * (2 * MAX_VALUE),
        "characters of a text": b'"' + b"x y " * (MAX_BYTES // 4 - 1) + b'"',
    }


def main() -> None:
    """Read the files in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    study, files = large_study(), beyond_the_limits()
    for name, content in files.items():
        if examine(content)[0] is not None:
            sys.exit(f"{name}: this file is accepted")
    work: dict[str, Callable[[], object]] = {
        "C loader alone": lambda: yaml.load(study, Loader=yaml.CSafeLoader),
        "read and checked": lambda: examine(study),
        **{name: partial(examine, content) for name, content in files.items()},
    }
    figures: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, do in work.items():
            started = time.thread_time()
            do()
            figures[name].append((time.thread_time() - started) * 1000)
    median = {name: statistics.median(values) for name, values in figures.items()}
    loader, read = median["C loader alone"], median["read and checked"]
    print(f"{ACTIONS} actions, {len(study):,} bytes\n")
    print(f"{'what':<22} {'ms':>7} {'aim':>7}")
    print(f"{'C loader alone':<22} {loader:>7.1f}")
    print(f"{'read and checked':<22} {read:>7.1f} {1.5 * loader + ACTIONS / 20:>7.1f}")
    for name in files:
        print(f"{name:<22} {median[name]:>7.1f} {10 * read:>7.1f}")


if __name__ == "__main__":
    main()
