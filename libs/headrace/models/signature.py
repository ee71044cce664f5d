"""The signature of a model: the columns it takes and gives, in MLflow's schema JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeGuard, get_args

from headrace.models.errors import ModelFormatError

if TYPE_CHECKING:
    import pandas as pd

ColumnType = Literal["boolean", "integer", "long", "float", "double", "string", "datetime"]
"""integer and long are 32 and 64 bits wide, float and double too."""

_TYPES: Final = frozenset(get_args(ColumnType))
_OF_ARRAYS: Final[Mapping[str, ColumnType]] = {
    "bool": "boolean",
    "int32": "integer",
    "int64": "long",
    "float32": "float",
    "float64": "double",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column. Unnamed ones go by position; then all of them are unnamed."""

    type: ColumnType
    name: str | None = None
    required: bool = True
    """Whether it must be there; where it is, missing values are allowed in float, double, string and datetime."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """An array of any shape; kept as it was recorded, and never checked."""

    dtype: str
    shape: tuple[int, ...]
    """-1 where any length fits."""
    name: str | None = None


Outputs = tuple[Column | Tensor, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """What a model takes and gives; `outputs` is None where nobody said."""

    inputs: tuple[Column, ...]
    outputs: Outputs | None = None

    def __post_init__(self) -> None:
        names = [column.name for column in self.inputs]
        named = [name for name in names if name is not None]
        if not names or len(named) not in {0, len(names)} or len(set(named)) != len(named):
            raise ModelFormatError(
                f"signature.inputs: must be one column or more, all named differently or all unnamed; got {names}"
            )

    def check(self, frame: "pd.DataFrame") -> "pd.DataFrame":
        """The frame as the model takes it: its columns in order and of their types, others dropped.

        Integers widen to float and double, whole numbers narrow to integer and long when they fit, ISO 8601 text
        becomes datetime. Raises SchemaError naming the first column that is missing or has a value of a wrong type.
        """
        from headrace.models.frames import coerced  # noqa: PLC0415 - pandas, for those who have a frame

        return coerced(frame, self.inputs)

    def to_dict(self) -> dict[str, str | None]:
        """As it stands in MLmodel."""
        outputs = None if self.outputs is None else json.dumps([_to_json(item) for item in self.outputs])
        return {"inputs": json.dumps([_to_json(item) for item in self.inputs]), "outputs": outputs, "params": None}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Signature":
        """The inverse of `to_dict`. Raises ModelFormatError naming the part that cannot be read."""
        inputs = _parse("inputs", fields.get("inputs"))
        if len(inputs) == 1 and isinstance(inputs[0], Tensor):
            inputs = _as_columns(inputs[0])
        outputs = None if fields.get("outputs") is None else _parse("outputs", fields["outputs"])
        columns = tuple(item for item in inputs if isinstance(item, Column))
        if len(columns) != len(inputs):
            raise ModelFormatError(
                "signature.inputs: of tensors, only one of rows of numbers is supported, shape (-1, n); save it with columns"
            )
        return cls(columns, outputs)


def _as_columns(tensor: Tensor) -> Outputs:
    """Rows of numbers, as of an array that somebody trained on; the tensor itself where it is anything else."""
    kind = _OF_ARRAYS.get(tensor.dtype)
    if kind is None or len(tensor.shape) != 2 or tensor.shape[1] < 1:
        return (tensor,)
    return (Column(kind),) * tensor.shape[1]


def _to_json(item: Column | Tensor) -> dict[str, Any]:
    named = {} if item.name is None else {"name": item.name}
    if isinstance(item, Tensor):
        return {"type": "tensor", "tensor-spec": {"dtype": item.dtype, "shape": list(item.shape)}, **named}
    return {"type": item.type, **named, "required": item.required}


def _parse(part: str, text: Any) -> Outputs:
    try:
        items = json.loads(text)
    except (TypeError, ValueError) as error:
        raise ModelFormatError(f"signature.{part}: must be a JSON list, as text: {error}") from error
    if not isinstance(items, Sequence) or isinstance(items, str):
        raise ModelFormatError(f"signature.{part}: must be a JSON list, got {items!r}")
    return tuple(_from_json(f"signature.{part}[{number}]", item) for number, item in enumerate(items))


def _is_type(kind: object) -> TypeGuard[ColumnType]:
    return kind in _TYPES


def _from_json(where: str, item: Any) -> Column | Tensor:
    if not isinstance(item, Mapping):
        raise ModelFormatError(f"{where}: must be an object, got {item!r}")
    name = item.get("name")
    if name is not None and not isinstance(name, str):
        raise ModelFormatError(f"{where}.name: must be text, got {name!r}")
    kind = item.get("type")
    if kind == "tensor":
        spec = item.get("tensor-spec")
        if not isinstance(spec, Mapping) or not isinstance(spec.get("shape"), list):
            raise ModelFormatError(f"{where}.tensor-spec: must have a dtype and a shape, got {spec!r}")
        return Tensor(str(spec.get("dtype")), tuple(spec["shape"]), name)
    if not _is_type(kind):
        raise ModelFormatError(f"{where}.type: must be one of {', '.join(sorted(_TYPES))}; got {kind!r}")
    return Column(kind, name, item.get("required", True) is not False)
