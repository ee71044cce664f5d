"""Describes data as a dataset: its columns, its size, and a digest by which the same data is known again."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from headrace.records import Dataset

_DIGEST_CHARACTERS: Final = 32  # 128 bits; the field holds 36
_TYPES: Final = {"b": "boolean", "i": "long", "u": "long", "f": "double", "c": "string", "M": "datetime"}
"""Kinds of numpy's types, in the words of MLflow's schemas."""


def dataset_from(data: Any, *, name: str = "dataset", source: str = "") -> Dataset:
    """The dataset that some data is.

    `data` is a pandas (or polars, ...) frame, a mapping of column name to column, or one array; a column is an array of
    numpy's or any sequence, all of the same length. The digest covers names, types, order and every value; it is the same
    on every machine. Reads all data once, copies one column at a time. Raises ValueError where lengths differ.
    """
    columns = _columns(data)
    digest = hashlib.sha256()
    fields: list[dict[str, object]] = []
    rows = _rows(columns)
    for column, values in columns.items():
        kind, content = _content(values)
        fields.append({"name": column, "type": kind, "required": True})
        for part in (column.encode(), kind.encode(), content):
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
    return Dataset(
        name=name,
        digest=digest.hexdigest()[:_DIGEST_CHARACTERS],
        source=source,
        schema=json.dumps({"mlflow_colspec": fields}),
        profile=json.dumps({"num_rows": rows, "num_elements": rows * len(columns)}),
    )


def _columns(data: Any) -> Mapping[str, Any]:
    names = getattr(data, "columns", None)
    if names is not None:
        return {str(name): data[name] for name in names}
    if isinstance(data, Mapping):
        return {str(name): column for name, column in data.items()}
    shape = getattr(data, "shape", None)
    if shape is not None and len(shape) == 2:
        return {str(i): data[:, i] for i in range(shape[1])}
    return {"0": data}


def _rows(columns: Mapping[str, Any]) -> int:
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the columns of a dataset have one length, these have {lengths}")
    return next(iter(lengths.values()), 0)


def _content(column: Any) -> tuple[str, bytes]:
    """The type of a column and its values as bytes: numbers little-endian and 8 bytes wide, all else as text."""
    values = column.to_numpy() if hasattr(column, "to_numpy") else column
    kind: str = getattr(getattr(values, "dtype", None), "kind", "")
    if kind in "iuf" and kind:
        return _TYPES[kind], values.astype({"i": "<i8", "u": "<u8", "f": "<f8"}[kind]).tobytes()
    if kind == "b":
        return _TYPES[kind], values.astype("u1").tobytes()
    if kind == "M":
        return _TYPES[kind], values.astype("<M8[ns]").tobytes()
    items: Sequence[object] = values.tolist() if hasattr(values, "tolist") else list(values)
    return _type_of(items), _texts(items)


def _type_of(items: Sequence[object]) -> str:
    types = {type(item) for item in items}
    if types == {bool}:
        return "boolean"
    if types == {int}:
        return "long"
    return "double" if types and types <= {int, float} else "string"


def _texts(items: Iterable[object]) -> bytes:
    """Each item as text, behind the length of it, so that no two columns look alike."""
    encoded = (repr(item).encode() for item in items)
    return b"".join(len(item).to_bytes(4, "big") + item for item in encoded)
