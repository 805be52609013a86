"""What jobs used, as it was sampled into a database of its own (section 9): reading and writing its one table."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any


def recorded_usage(path: Path, job_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Job -> its samples, for those that have some. A database that is absent or cannot be read has none."""
    if not path.exists():
        return {}
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1.0)) as conn:
            return read_usage(conn, job_ids)
    except sqlite3.Error:
        return {}


def read_usage(conn: sqlite3.Connection, job_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Job -> its samples, for those that have some. Raises sqlite3.Error."""
    query = "SELECT id, metrics FROM jobs WHERE id IN (SELECT value FROM json_each(?))"
    rows = conn.execute(query, (json.dumps(list(job_ids)),)).fetchall()
    return {job_id: samples for job_id, text in rows if (samples := _samples(text))}


def write_usage(conn: sqlite3.Connection, samples: Mapping[str, Mapping[str, Any]]) -> None:
    """Store the samples of these jobs in place of those before. Raises sqlite3.Error."""
    # The table of an existing installation may have no key to be replaced by.
    conn.executemany("DELETE FROM jobs WHERE id = ?", [(job_id,) for job_id in samples])
    conn.executemany(
        "INSERT INTO jobs (id, metrics) VALUES (?, ?)", [(job, json.dumps(of)) for job, of in samples.items()]
    )


def _samples(text: object) -> dict[str, Any]:
    try:
        # Numbers that JSON does not have would spoil the whole body.
        samples = json.loads(str(text), parse_constant=lambda name: None)
    except ValueError:
        return {}
    return samples if isinstance(samples, dict) else {}
