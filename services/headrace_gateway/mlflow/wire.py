"""MLflow's JSON: protobuf's JSON form of its messages, with names in snake_case and 64-bit integers as numbers.

Requests are `msgspec` types; what a type says is all that is checked here. Answers are plain dicts and lists.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Generic, TypeAlias, TypeVar

import msgspec
from msgspec import inspect
from starlette.datastructures import QueryParams

from headrace_gateway.mlflow import failures

JSON: Final = "application/json"

Text: TypeAlias = Annotated[str, msgspec.Meta(min_length=1)]
"""A string that must be there; an empty one counts as missing, as in proto2's JSON."""
Int64: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""A number, or its digits as a string."""
Number: TypeAlias = float | str
"""A double; strings among them are "NaN", "Infinity", "-Infinity" or digits. See `double`."""
Answer: TypeAlias = dict[str, Any]
"""The JSON object of an answer; fields that are not set are left out."""

_LARGEST: Final = 1.7976931348623157e308
_MISSING: Final = re.compile(r"Object missing required field `(?P<field>[^`]+)`(?: - at `\$(?P<at>.*)`)?")
_AT: Final = re.compile(r"(?P<problem>.*) - at `\$\.?(?P<at>.*)`")
_EMPTY: Final = "of length >= 1"

encode: Final = msgspec.json.Encoder().encode


class Request(msgspec.Struct):
    """Fields that a type does not name are passed over, as MLflow does."""


R = TypeVar("R", bound=Request)


class Tag(Request):
    """Also a param."""

    key: Text
    value: str = ""


class Reader(Generic[R]):
    """Reads requests of one type. Every method raises Failure."""

    def __init__(self, kind: type[R]) -> None:
        self._kind = kind
        self._decoder = msgspec.json.Decoder(kind, strict=False)
        fields = {field.encode_name: field.type for field in inspect.type_info(kind).fields}  # type: ignore[attr-defined] # of a Struct
        self._lists = {name for name, type_ in fields.items() if isinstance(type_, inspect.VarTupleType)}
        self._flags = {name for name, type_ in fields.items() if isinstance(type_, inspect.BoolType)}

    def body(self, body: bytes, path: Mapping[str, str]) -> R:
        """From a JSON body, and from what the path of the URL names."""
        if not path:
            try:
                return self._decoder.decode(body)
            except (msgspec.DecodeError, UnicodeDecodeError):
                pass  # read again below: slower, with nulls, bare NaNs and older clients' forms
        try:
            return self._converted({**_object(body), **path})
        except (ValueError, RecursionError) as error:
            raise failures.Failure("BAD_REQUEST", f"The body is not a JSON object: {error}") from None

    def query(self, query: QueryParams, path: Mapping[str, str]) -> R:
        """From the query of the URL and its path."""
        given: dict[str, Any] = {}
        for name in query:
            if name in self._lists:
                given[name] = query.getlist(name)
            elif name in self._flags and query[name].lower() not in {"true", "false"}:
                raise failures.invalid(f"Invalid boolean value: {query[name]}, must be 'true' or 'false'.")
            else:
                given[name] = query[name]
        return self._converted({**given, **path})

    def _converted(self, given: dict[str, Any]) -> R:
        if "run_uuid" in given and not given.get("run_id"):
            given["run_id"] = given["run_uuid"]
        try:
            return msgspec.convert(given, self._kind, strict=False)
        except msgspec.ValidationError as error:
            raise _refusal(str(error), given) from None


def double(parameter: str, value: Number) -> float:
    """Raises Failure where the text is none."""
    try:
        return float(value)
    except ValueError:
        raise failures.unusable(parameter, value, "it must be a number.") from None


def number(value: float) -> Number:
    """As MLflow answers it: no infinities, and NaN as a text."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else math.copysign(_LARGEST, value)


def tags(values: Mapping[str, str]) -> list[Answer]:
    """Tags or params, in order of key."""
    return [{"key": key, "value": values[key]} for key in sorted(values)]


def without_empty(answer: Answer) -> Answer:
    """Fields that hold nothing are not set."""
    return {name: value for name, value in answer.items() if value not in ("", [], None)}


def _object(body: bytes) -> dict[str, Any]:
    value = json.loads(body) if body.strip() else {}
    if isinstance(value, str):  # clients of old encode twice
        value = json.loads(value)
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise ValueError(f"it is of type {type(value).__name__}")  # noqa: TRY004 - of the client's text
    return _without_nulls(value)


def _without_nulls(value: dict[str, Any]) -> dict[str, Any]:
    return {name: _cleared(one) for name, one in value.items() if one is not None}


def _cleared(value: Any) -> Any:
    if isinstance(value, dict):
        return _without_nulls(value)
    return [_cleared(one) for one in value] if isinstance(value, list) else value


def _refusal(problem: str, given: Mapping[str, Any]) -> failures.Failure:
    lacking = _MISSING.fullmatch(problem)
    if lacking is not None:
        at = lacking["at"] or ""
        return failures.missing(f"{at}.{lacking['field']}".lstrip("."))
    placed = _AT.fullmatch(problem)
    if placed is None:
        return failures.Failure("BAD_REQUEST", f"The body is not as it must be: {problem}")
    if placed["problem"].endswith(_EMPTY):
        return failures.missing(placed["at"])
    value = given.get(re.split(r"[.\[]", placed["at"])[0])
    return failures.unusable(placed["at"], value, f"{placed['problem']}.")
