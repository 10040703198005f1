"""From a few bytes of an engine to the contents of a file: as they are, as edits of a whole file, or of its structure.

Bytes alone rarely get past a parser. Edits that know what a config, a table or a header is made of do.
"""

from __future__ import annotations

import copy
import io
import json
import struct
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq

ODD = [
    None,
    True,
    -1,
    0,
    1,
    2,
    5,
    2**16,
    2**31,
    2**63,
    10**30,
    1.5,
    1e308,
    float("nan"),
    float("-inf"),
    "",
    " ",
    "a",
    "0.9",
    "2.0",
    "float16",
    "int8",
    "mlp",
    "knowledge-base",
    "knowledge-plugin",
    "../outside.parquet",
    "../embeddings-00001-of-00001.safetensors",
    "embeddings-00002-of-00002.safetensors",
    "/etc/passwd",
    "user/name",
    "\ud800",
    "\0",
    "e\u0301",
    "0" * 40,
    "0" * 64,
    "a" * 300,
    [],
    [0],
    ["a"],
    {},
    {"a": 1},
    {"size": 0, "sha256": "0" * 64},
]
TYPES = [
    pa.string(),
    pa.int64(),
    pa.float32(),
    pa.float64(),
    pa.list_(pa.string()),
    pa.binary(),
    pa.large_string(),
    pa.dictionary(pa.int32(), pa.string()),
    pa.null(),
    pa.bool_(),
    pa.struct([("a", pa.string())]),
]


class Choices:
    """Hands out small numbers from bytes, zeros when there are no more."""

    def __init__(self, data: bytes) -> None:
        self._data = iter(data)
        self.left = len(data)

    def below(self, n: int) -> int:
        """Return a number from 0 to ``n - 1``; two bytes of it if one cannot say it."""
        value = self._next()
        return (value if n <= 256 else value * 256 + self._next()) % n

    def _next(self) -> int:
        self.left -= 1
        return next(self._data, 0)


def edited_bytes(whole: bytes, choices: Choices) -> bytes:
    """Alter, cut, double and insert at some places."""
    data = bytearray(whole)
    while choices.left > 0 and data:
        place, action, value = choices.below(len(data)), choices.below(6), choices.below(256)
        if action == 0:
            data[place] ^= value or 0xFF
        elif action == 1:
            data[place] = value
        elif action == 2:
            del data[place : place + value + 1]
        elif action == 3:
            data[place:place] = data[place : place + value + 1]
        elif action == 4:
            data[place:place] = bytes([value])
        else:
            del data[len(data) - 1 - value % len(data) :]
    return bytes(data)


def edited_json(whole: bytes, choices: Choices) -> bytes:
    """Put odd values and names into an object, and take some away."""
    data = json.loads(whole)
    while choices.left > 0:
        places = list(_places(data))
        if not places:
            break
        parent, key = places[choices.below(len(places))]
        action, value = choices.below(4), copy.deepcopy(ODD[choices.below(len(ODD))])
        if action == 0:
            del parent[key]
        elif action == 1 and isinstance(parent, dict):
            parent[str(value)] = parent.pop(key)
        elif action == 2 and isinstance(parent, dict):
            parent[str(value)] = parent[key]
        else:
            parent[key] = value
    return json.dumps(data).encode()


def _places(data):
    for key, value in list(data.items() if isinstance(data, dict) else enumerate(data)):
        yield data, key
        if isinstance(value, (dict, list)):
            yield from _places(value)


def edited_safetensors(whole: bytes, choices: Choices) -> bytes:
    """Edit the header as an object, and leave the tensors."""
    (length,) = struct.unpack("<Q", whole[:8])
    header = edited_json(whole[8 : 8 + length], choices)
    return struct.pack("<Q", len(header)) + header + whole[8 + length :]


def edited_table(whole: bytes, choices: Choices) -> bytes:
    """Change columns, types, cells and rows of a table, and how it is stored."""
    table = pq.read_table(io.BytesIO(whole))
    groups, compression = 1 + choices.below(8), ["none", "zstd", "snappy", "gzip"][choices.below(4)]
    while choices.left > 0 and table.num_columns:
        column, action = choices.below(table.num_columns), choices.below(7)
        field, values = table.schema.field(column), table[column].to_pylist()
        if action == 0:
            table = table.remove_column(column)
        elif action == 1:
            table = table.append_column(field.name, table[column])
        elif action == 2:
            table = table.slice(choices.below(table.num_rows + 1))
        elif action == 3:
            table = pa.concat_tables([table, table]).combine_chunks() if table.num_rows < 1000 else table
        elif action == 4:
            table = _replaced(table, column, values, TYPES[choices.below(len(TYPES))])
        else:
            value = ODD[choices.below(len(ODD))]
            if action == 5 and values:
                values[choices.below(len(values))] = value
            else:
                values = [value] * len(values)
            table = _replaced(table, column, values, field.type)
    file = io.BytesIO()
    try:
        pq.write_table(table, file, row_group_size=groups, compression=compression)
    except (pa.ArrowException, UnicodeEncodeError):  # no file can hold this table
        return whole
    return file.getvalue()


def _replaced(table: pa.Table, column: int, values: list, kind: pa.DataType) -> pa.Table:
    try:
        array = pa.array(values, kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        try:
            array = table[column].cast(kind)
        except (pa.ArrowException, TypeError):
            return table
    return table.set_column(column, table.schema.field(column).name, array)


STRUCTURES: dict[str, Callable[[bytes, Choices], bytes]] = {
    ".json": edited_json,
    ".parquet": edited_table,
    ".safetensors": edited_safetensors,
}
