"""Requests to frames and predictions to answers, in the forms of MLflow's scoring server."""

import base64
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, Final

import numpy as np
import pandas as pd

from headrace.models import Signature

JSON: Final = "application/json"
CSV: Final = "text/csv"


class BadInput(Exception):  # noqa: N818 - says what it is
    """The request cannot be read as rows; the message names the field."""


class UnsupportedType(Exception):  # noqa: N818 - says what it is
    """The request's content type is none of ours."""


class UnspeakableAnswer(Exception):  # noqa: N818 - says what it is
    """The model answered with something that has no JSON form."""


def frame_of(content_type: str, body: bytes, signature: Signature | None) -> pd.DataFrame:
    """The rows of a request, not yet checked against the signature. Raises BadInput and UnsupportedType."""
    kind, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charsets = [value.strip('"') for name, _, value in (p.partition("=") for p in parameters) if name == "charset"]
    if kind not in {JSON, CSV} or any(charset not in {"utf-8", "utf8", "us-ascii"} for charset in charsets):
        raise UnsupportedType(f"content type {content_type!r} is not supported; send {JSON} or {CSV}, both in UTF-8")
    return _from_csv(body, signature) if kind == CSV else _from_json(body)


def answer_of(predictions: Any) -> bytes:
    """{"predictions": ...}: rows of numbers or objects. NaN becomes null, infinities "Infinity" and "-Infinity".

    Raises UnspeakableAnswer.
    """
    return json.dumps({"predictions": _plain(predictions)}, allow_nan=False, separators=(",", ":")).encode()


def _from_csv(body: bytes, signature: Signature | None) -> pd.DataFrame:
    texts = {c.name: str for c in signature.inputs if c.type == "string"} if signature else {}
    try:
        return pd.read_csv(io.BytesIO(body), dtype={name: kind for name, kind in texts.items() if name is not None})
    except ValueError as error:  # ParserError, EmptyDataError and UnicodeDecodeError are all of this kind
        raise BadInput(f"the body is no CSV with a header line: {error}") from error


def _from_json(body: bytes) -> pd.DataFrame:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"the body is no JSON: {error}") from error
    given = [name for name in _FORMS if name in document] if isinstance(document, dict) else []
    if len(given) != 1:
        raise BadInput(
            f"the body must be an object with one of {', '.join(_FORMS)}; it has {', '.join(given) or 'none'}"
        )
    unknown = sorted(set(document) - set(given))
    if unknown:
        raise BadInput(f"{unknown[0]}: unknown field; this model takes {given[0]} alone")
    return _FORMS[given[0]](given[0], document[given[0]])


def _split(field: str, value: Any) -> pd.DataFrame:
    if not isinstance(value, dict):
        raise BadInput(f"{field}: must be an object with columns and data, got {_kind(value)}")
    columns, data = value.get("columns"), value.get("data")
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        raise BadInput(f"{field}.columns: must be a list of names, got {_kind(columns)}")
    if not isinstance(data, list):
        raise BadInput(f"{field}.data: must be a list of rows, got {_kind(data)}")
    for number, row in enumerate(data):
        if not isinstance(row, list) or len(row) != len(columns):
            size = f"{len(row)} values" if isinstance(row, list) else _kind(row)
            raise BadInput(f"{field}.data[{number}]: must be a list of {len(columns)} values, got {size}")
    return pd.DataFrame(data, columns=columns)


def _records(field: str, value: Any) -> pd.DataFrame:
    if not isinstance(value, list):
        raise BadInput(f"{field}: must be a list of objects, got {_kind(value)}")
    for number, row in enumerate(value):
        if not isinstance(row, dict):
            raise BadInput(f"{field}[{number}]: must be an object, got {_kind(row)}")
    return pd.DataFrame(value)


def _instances(field: str, value: Any) -> pd.DataFrame:
    """Objects, or rows by position; bare values are rows of one column."""
    if not isinstance(value, list):
        raise BadInput(f"{field}: must be a list of rows, got {_kind(value)}")
    if value and isinstance(value[0], dict):
        return _records(field, value)
    rows = value if value and isinstance(value[0], list) else [[item] for item in value]
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(rows[0]):
            raise BadInput(f"{field}[{number}]: must be a list of {len(rows[0])} values, as the first row is")
    return pd.DataFrame(rows)


def _inputs(field: str, value: Any) -> pd.DataFrame:
    """Lists by column name, or rows as in `instances`."""
    if not isinstance(value, dict):
        return _instances(field, value)
    sizes = {name: len(values) if isinstance(values, list) else -1 for name, values in value.items()}
    for name, size in sizes.items():
        if size < 0:
            raise BadInput(f"{field}.{name}: must be a list of values, got {_kind(value[name])}")
        if size != next(iter(sizes.values())):
            raise BadInput(
                f"{field}.{name}: has {size} values, and {next(iter(sizes))} has {next(iter(sizes.values()))}"
            )
    return pd.DataFrame(value)


_FORMS: Final[Mapping[str, Callable[[str, Any], pd.DataFrame]]] = {
    "dataframe_split": _split,
    "dataframe_records": _records,
    "instances": _instances,
    "inputs": _inputs,
}


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "nothing"}
    return names.get(type(value), "a number")


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        items = value.tolist()
        return (
            items
            if value.dtype.kind in "iub" or (value.dtype.kind == "f" and np.isfinite(value).all())
            else _plain(items)
        )
    if isinstance(value, pd.DataFrame):
        return _plain(value.to_dict("records"))
    if isinstance(value, pd.Series | pd.Index | np.generic):
        return _plain(value.tolist())
    if hasattr(value, "toarray"):  # scipy's sparse matrices
        return _plain(value.toarray())
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(item) for item in value]
    return _plain_scalar(value)


def _plain_scalar(value: Any) -> Any:
    if value is None or value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, str | int | float):
        return value
    raise UnspeakableAnswer(f"the model answered with {type(value).__name__}, which has no JSON form")
