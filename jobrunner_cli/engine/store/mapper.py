"""The minimal mapper between stored classes and rows: columns are fields, converted by their types.

Enums are stored as their values, booleans as 0 and 1, tuples and mappings as JSON; an empty column (NULL, and for JSON
also no text or `null`) of a field that cannot be None reads as the type's empty value, because databases of existing
installations have such rows.
"""

from __future__ import annotations

import json
import sqlite3
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import Enum
from functools import cache
from typing import Any, ClassVar, Protocol, TypeVar, cast

from jobrunner_cli.engine.errors import ConfigurationError


class Stored(Protocol):
    """A dataclass that states its table.

    `__readers__`, where a class has it, maps a column to a function that reads it from the whole row.
    """

    __tablename__: ClassVar[str]
    __tableschema__: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]


S = TypeVar("S", bound=Stored)
J = TypeVar("J", dict[str, Any], list[Any])
Convert = Callable[[Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """How one field is stored."""

    name: str
    #: from the column's value; None takes it as it is
    load: Convert | None
    #: to the column's value; None gives it as it is
    dump: Convert | None
    #: from the whole row, in place of `load`
    reader: Callable[[sqlite3.Row], Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """How one class is stored."""

    name: str
    columns: tuple[Column, ...]
    #: the same by their names
    by_name: Mapping[str, Column]
    #: the columns for a SELECT or INSERT, quoted
    listed: str


def _text(value: str | None) -> str | None:
    """Text that SQLite takes: names of files may carry bytes that are not UTF-8, as lone surrogates."""
    if value is None or value.isascii():
        return value
    return value.encode("utf-8", "backslashreplace").decode("utf-8")


def to_json(value: Any) -> str:
    """JSON as it is stored: ASCII, compact, mappings of any kind as objects."""
    return json.dumps(value, separators=(",", ":"), default=dict)


def _mapping(text: str) -> dict[str, Any] | None:
    # Most of the columns of most rows are empty, and a listing may have a hundred thousand rows.
    return {} if text == "{}" else _json(text, dict)


def _tuple(text: str) -> tuple[Any, ...]:
    return () if text == "[]" else tuple(_json(text, list) or ())


def _json(text: str, kind: type[J]) -> J | None:
    """The value of a JSON text; None for an empty one. Raises ValueError for another kind of value."""
    value = json.loads(text) if text else None
    if value is None or isinstance(value, kind):
        return value
    msg = f"a JSON {kind.__name__} was expected, not {text[:40]!r}"
    raise ValueError(msg)


def _nullable(convert: Convert) -> Convert:
    return lambda value: None if value is None else convert(value)


def _or_empty(convert: Convert, empty: Callable[[], Any]) -> Convert:
    return lambda value: empty() if value is None else convert(value)


def _conversions(hint: Any) -> tuple[Convert | None, Convert | None]:
    """The `load` and `dump` for a field of this type."""
    optional = typing.get_origin(hint) in {types.UnionType, typing.Union}
    if optional:
        (hint,) = (part for part in typing.get_args(hint) if part is not type(None))
    origin = typing.get_origin(hint) or hint
    if origin is tuple:
        return _or_empty(_tuple, tuple), lambda value: to_json(list(value))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return (_nullable(_mapping) if optional else lambda text: _mapping(text or "") or {}), _nullable(to_json)
    if isinstance(origin, type) and issubclass(origin, Enum):
        return _nullable(origin), _nullable(lambda member: member.value)
    if origin is bool:
        return bool, int
    if origin is str:
        return (None if optional else _or_empty(str, str)), _text
    if origin in {int, float} and not optional:
        return _or_empty(origin, origin), None
    return None, None


@cache
def table_of(cls: type[Stored]) -> Table:
    """The table of a stored class, worked out once."""
    hints = typing.get_type_hints(cls)
    readers: Mapping[str, Callable[[sqlite3.Row], Any]] = getattr(cls, "__readers__", {})
    columns = []
    for item in fields(cls):
        load, dump = _conversions(hints[item.name])
        columns.append(Column(name=item.name, load=load, dump=dump, reader=readers.get(item.name)))
    listed = ", ".join(f'"{column.name}"' for column in columns)
    by_name = {column.name: column for column in columns}
    return Table(name=cls.__tablename__, columns=tuple(columns), by_name=by_name, listed=listed)


def load(cls: type[S], row: sqlite3.Row) -> S:
    """A stored object from its row. Raises ConfigurationError for a value that cannot be read, naming row and column."""
    table = table_of(cls)
    values = {}
    for column in table.columns:
        try:
            if column.reader is not None:
                values[column.name] = column.reader(row)
            else:
                value = row[column.name]
                values[column.name] = value if column.load is None else column.load(value)
        except (ValueError, TypeError) as error:
            msg = f"the database has a damaged row in {table.name}, {row[0]}: column {column.name}: {error}"
            raise ConfigurationError(msg) from error
    return cls(**values)


def is_undecodable(error: sqlite3.Error) -> bool:
    """Whether this is about bytes that are no text: the module says so without a code."""
    return str(error).startswith("Could not decode")


def find_where(conn: sqlite3.Connection, cls: type[S], clause: str, parameters: Sequence[object] = ()) -> list[S]:
    """The objects that a clause (`WHERE … ORDER BY … LIMIT …`) selects; the cursor is read to its end.

    Raises what `load` raises, also for bytes that are no text where there should be some.
    """
    table = table_of(cls)
    try:
        rows = conn.execute(f"SELECT {table.listed} FROM {table.name} {clause}", parameters).fetchall()  # noqa: S608
    except sqlite3.OperationalError as error:
        if not is_undecodable(error):
            raise
        msg = f"the database has a damaged row in {table.name}: {error}"
        raise ConfigurationError(msg) from error
    return [load(cls, row) for row in rows]


def find_one(conn: sqlite3.Connection, cls: type[S], clause: str, parameters: Sequence[object] = ()) -> S | None:
    """The first object that a clause selects, if there is one."""
    found = find_where(conn, cls, f"{clause} LIMIT 1", parameters)
    return found[0] if found else None


def insert(conn: sqlite3.Connection, *objects: Stored, leave_existing: bool = False) -> None:
    """Insert objects. Raises sqlite3.IntegrityError if one is there already, unless those are to be left."""
    verb = "INSERT OR IGNORE" if leave_existing else "INSERT"
    for item in objects:
        table = table_of(type(item))
        marks = ", ".join("?" * len(table.columns))
        conn.execute(f"{verb} INTO {table.name} ({table.listed}) VALUES ({marks})", _dumped(table, item))


def _dumped(table: Table, item: Stored) -> list[object]:
    values = ((column, getattr(item, column.name)) for column in table.columns)
    return [value if column.dump is None else column.dump(value) for column, value in values]


def assignments(cls: type[Stored], changes: Mapping[str, Any]) -> tuple[str, list[object]]:
    """The `SET` part of an update and its parameters. Raises KeyError for what is not a field."""
    by_name = table_of(cls).by_name
    columns = [(by_name[name], value) for name, value in changes.items()]
    listed = ", ".join(f'"{column.name}" = ?' for column, _ in columns)
    return listed, [value if column.dump is None else column.dump(value) for column, value in columns]


def id_list(ids: Iterable[str]) -> str:
    """Ids as one parameter, for `IN (SELECT value FROM json_each(?))`: no limit to how many."""
    return json.dumps(list(ids))


def statements(script: str) -> list[str]:
    """The single statements of a script (`executescript` would commit in between)."""
    found, pending = [], ""
    for part in script.split(";"):
        pending += part + ";"
        if sqlite3.complete_statement(pending):
            if pending.strip(" \n\t;"):
                found.append(pending.strip())
            pending = ""
    return found


def schema_of(classes: Iterable[object]) -> list[str]:
    """The statements that make the tables of these classes in a new database."""
    return [statement for cls in classes for statement in statements(cast("type[Stored]", cls).__tableschema__)]
