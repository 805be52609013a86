"""Rows with every kind of value, as databases of older versions may have them."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from jobrunner_cli.engine.states import StatusCode
from support.store import NOW, columns_at

ODD_TEXTS = [
    None,
    "",
    "0",
    "plain",
    "Ünïcode ✓ 🦆",
    "with 'quotes' and \"more\"",
    "line\nbreak",
    "nul\0inside",
    "x" * 9000,
]
ODD_JSON = {
    "requires_outputs_from": [None, "", "null", "[]", '["a", "b"]'],
    "wait_for_job_ids": [None, "", "null", "[]", '["xyz"]'],
    "output_spec": [None, "", "null", "{}", '{"highly_sensitive": {"a": "out/*.csv"}}'],
    "outputs": [None, "", "null", "{}", '{"out/\\u00e9.csv": "highly_sensitive"}'],
    "unmatched_outputs": [None, "", "null", "[]", '["a"]'],
    "trace_context": [None, "", "null", "{}", '{"traceparent": "00-1-2-01"}'],
    "level4_excluded_files": [None, "", "null", "{}", '{"a": "too large"}'],
}
CODES = {
    "succeeded": [StatusCode.SUCCEEDED],
    "failed": [StatusCode.NONZERO_EXIT, StatusCode.INTERNAL_ERROR, StatusCode.CANCELLED_BY_USER],
    "pending": [StatusCode.CREATED, StatusCode.WAITING_ON_WORKERS],
    "running": [StatusCode.EXECUTING, StatusCode.PREPARED],
}


def odd_rows(level: int, count: int) -> list[dict[str, Any]]:
    """Rows with every kind of value in every column, unlike one another but the same at every run."""
    chance = random.Random(level)
    rows = []
    for number in range(count):
        state = chance.choice(list(CODES))
        row: dict[str, Any] = {}
        for name, kind in columns_at(level).items():
            if name in ODD_JSON:
                row[name] = chance.choice(ODD_JSON[name])
            elif kind == "TEXT":
                row[name] = chance.choice(ODD_TEXTS)
            else:
                row[name] = chance.choice([0, 1] if kind == "BOOLEAN" else [0, NOW, 2**40])
        row |= {"id": f"job{number:05d}", "state": state, "status_code": chance.choice(CODES[state]).value}
        rows.append(row)
    return rows


def job_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of jobs in a database, as they are stored."""
    with closing(sqlite3.connect(path)) as conn:
        conn.row_factory = sqlite3.Row
        return [dict(row) for row in conn.execute("SELECT * FROM job ORDER BY id")]
