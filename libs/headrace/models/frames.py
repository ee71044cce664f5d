"""Frames against signatures: what columns data has, and data as the columns ask for."""

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import numpy as np
import pandas as pd

from headrace.models.errors import SchemaError
from headrace.models.signature import Column, ColumnType, Signature

_EXACT: Final = 2.0**53  # every whole number up to here is a double
_SPECIAL: Final = {"NaN": np.nan, "Infinity": np.inf, "-Infinity": -np.inf}
"""How JSON spells them, as protobuf does; JSON's own numbers cannot."""

_INFERRED: Final[dict[str, ColumnType]] = {
    "boolean": "boolean",
    "string": "string",
    "integer": "long",
    "floating": "double",
    "mixed-integer-float": "double",
    "datetime": "datetime",
    "datetime64": "datetime",
    "date": "datetime",
}


def as_frame(data: Any) -> pd.DataFrame:
    """Rows as a frame: a frame, a series, an array, a list of rows or of objects, or lists by column name."""
    if isinstance(data, pd.DataFrame):
        return data
    if isinstance(data, pd.Series):
        return data.to_frame(None if data.name is None else str(data.name))
    if isinstance(data, np.ndarray) and data.ndim not in {1, 2}:
        raise SchemaError(0, f"an array must have 1 or 2 dimensions to be taken as rows, got {data.ndim}")
    return pd.DataFrame(data)


def infer_signature(inputs: Any, outputs: Any = None) -> Signature:
    """The signature that data shows: what the model takes, and what it gives when `outputs` are given.

    Takes what `as_frame` takes. A column with missing values becomes one that is not required; names are those of a
    frame or of objects, columns of arrays have none. Raises SchemaError for a column whose type cannot be told.
    """
    return Signature(_columns(inputs), None if outputs is None else _columns(outputs))


def coerced(frame: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
    """The contract of `Signature.check`."""
    if not frame.columns.is_unique:
        raise SchemaError(frame.columns[frame.columns.duplicated()][0], "is there more than once")
    frame = _by_position(frame, columns)
    absent = [c.name for c in columns if c.required and c.name is not None and c.name not in frame.columns]
    if absent:
        others = f"; also missing: {', '.join(absent[1:])}" if absent[1:] else ""
        raise SchemaError(absent[0], f"is missing{others}")
    cast: dict[Any, pd.Series] = {}
    for number, column in enumerate(columns):
        key = number if column.name is None else column.name
        if key in frame.columns:
            cast[key] = _CASTS[column.type](key, _without_gaps(key, frame[key], column), column)
    return pd.DataFrame(cast, index=frame.index)


def _columns(data: Any) -> tuple[Column, ...]:
    frame = as_frame(data)
    unnamed = isinstance(frame.columns, pd.RangeIndex)
    return tuple(
        Column(_type_of(label, frame[label]), None if unnamed else str(label), not frame[label].isna().any())
        for label in frame.columns
    )


def _type_of(label: Any, values: pd.Series) -> ColumnType:
    dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _type_of(label, pd.Series(dtype.categories))
    kind, size = dtype.kind, getattr(dtype, "itemsize", 8)
    match kind:
        case "b":
            return "boolean"
        case "i":
            return "integer" if size <= 4 else "long"
        case "u" if size <= 4:
            return "integer" if size <= 2 else "long"
        case "f":
            return "float" if size <= 4 else "double"
        case "M":
            return "datetime"
        case _:
            found = pd.api.types.infer_dtype(values, skipna=True)
            if found not in _INFERRED:
                raise SchemaError(label, f"its type cannot be told: dtype {dtype}, values are {found}")
            return _INFERRED[found]


def _by_position(frame: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
    """Rows without names take the columns' names, rows with names lose them where the columns have none."""
    unnamed = isinstance(frame.columns, pd.RangeIndex)
    names = [c.name for c in columns]
    if names[0] is not None and not unnamed:
        return frame
    if len(frame.columns) != len(columns):
        raise SchemaError(len(columns), f"the model takes {len(columns)} columns, got {len(frame.columns)}")
    labels: Any = range(len(columns)) if names[0] is None else names
    return frame.set_axis(labels, axis="columns")


def _without_gaps(key: str | int, values: pd.Series, column: Column) -> pd.Series:
    """Refuses missing values where the type has no place for them; floats, text and times have one."""
    if column.type in {"boolean", "integer", "long"}:
        gaps = np.flatnonzero(values.isna().to_numpy())
        if len(gaps):
            raise SchemaError(key, f"row {gaps[0]} has no value, and {column.type} columns cannot miss one")
    return values


def _refused(key: str | int, values: pd.Series, bad: np.ndarray, column: Column) -> SchemaError:
    row = int(np.flatnonzero(bad)[0])
    value = values.iloc[row]
    return SchemaError(key, f"row {row} is {value!r} ({type(value).__name__}), and the model takes {column.type}")


def _each(values: pd.Series, accepts: Callable[[Any], bool]) -> np.ndarray:
    return np.fromiter((accepts(value) for value in values), dtype=bool, count=len(values))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _is_gap(value: Any) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and np.isnan(value))


def _numbers(key: str | int, values: pd.Series, column: Column) -> pd.Series:
    """The values as a numeric array; text and booleans are not numbers, but for JSON's spelling of NaN and infinities."""
    if values.dtype.kind in "iuf":
        return values
    bad = ~_each(values, lambda v: _is_number(v) or _is_gap(v) or (isinstance(v, str) and v in _SPECIAL))
    if values.dtype.kind == "b" or bad.any():
        raise _refused(key, values, bad if bad.any() else np.ones(len(values), bool), column)
    plain = [_SPECIAL[v] if isinstance(v, str) else np.nan if _is_gap(v) else v for v in values]
    # Whole numbers stay whole: a long passed through a double loses digits.
    return pd.Series(
        np.array(plain) if all(isinstance(v, int) for v in plain) else np.array(plain, float), values.index
    )


def _to_float(key: str | int, values: pd.Series, column: Column) -> pd.Series:
    numbers = _numbers(key, values, column).astype(np.float64)
    if column.type == "double":
        return numbers
    raw = numbers.to_numpy()
    bad = np.isfinite(raw) & (np.abs(raw) > np.finfo(np.float32).max)
    if bad.any():
        raise _refused(key, numbers, bad, column)
    return numbers.astype(np.float32)


def _to_whole(key: str | int, values: pd.Series, column: Column) -> pd.Series:
    numbers = _numbers(key, values, column)
    target: Literal["int32", "int64"] = "int32" if column.type == "integer" else "int64"
    if numbers.dtype == target:
        return numbers
    least, most = np.iinfo(target).min, np.iinfo(target).max
    raw = numbers.to_numpy()
    if raw.dtype.kind == "f":
        bad = ~np.isfinite(raw) | (raw != np.trunc(raw)) | (np.abs(raw) > min(most, _EXACT))
    else:
        bad = (raw > most) | (raw < least)
    if bad.any():
        raise _refused(key, numbers, bad, column)
    return numbers.astype(target)


def _to_boolean(key: str | int, values: pd.Series, column: Column) -> pd.Series:
    if values.dtype.kind != "b":
        bad = ~_each(values, lambda v: isinstance(v, bool | np.bool_))
        if bad.any():
            raise _refused(key, values, bad, column)
    return values.astype(bool)


def _to_text(key: str | int, values: pd.Series, column: Column) -> pd.Series:
    bad = ~_each(values, lambda v: isinstance(v, str) or _is_gap(v))
    if bad.any():
        raise _refused(key, values, bad, column)
    return values


def _to_time(key: str | int, values: pd.Series, column: Column) -> pd.Series:
    """datetime64 in UTC without a zone, as numpy has it."""
    if values.dtype.kind != "M":
        text = _each(values, lambda v: isinstance(v, str) or hasattr(v, "isoformat") or _is_gap(v))
        if not text.all():
            raise _refused(key, values, ~text, column)
        parsed = pd.to_datetime(values, format="ISO8601", errors="coerce", utc=True)
        bad = (parsed.isna() & ~values.isna()).to_numpy()
        if bad.any():
            raise _refused(key, values, bad, column)
        values = parsed
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        values = values.dt.tz_convert("UTC").dt.tz_localize(None)
    return values


_CASTS: Final[dict[ColumnType, Callable[[str | int, pd.Series, Column], pd.Series]]] = {
    "boolean": _to_boolean,
    "integer": _to_whole,
    "long": _to_whole,
    "float": _to_float,
    "double": _to_float,
    "string": _to_text,
    "datetime": _to_time,
}
