"""What a filter and an order mean, as a tree."""

from dataclasses import dataclass
from enum import Enum
from typing import Literal, TypeAlias


class Kind(Enum):
    """What a field belongs to."""

    METRIC = "metrics"
    PARAM = "params"
    TAG = "tags"
    ATTRIBUTE = "attributes"
    DATASET = "datasets"


@dataclass(frozen=True, slots=True)
class Field:
    """Something of a row that can be compared or ordered by; the key of an attribute is its canonical name."""

    kind: Kind
    key: str


Operator = Literal["=", "!=", ">", ">=", "<", "<=", "LIKE", "ILIKE", "IN", "NOT IN", "IS NULL", "IS NOT NULL"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """`value` is a number for numeric fields, a text for the others, texts for IN, None for IS NULL."""

    field: Field
    operator: Operator
    value: float | str | tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class And:
    """All of two or more."""

    terms: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of two or more."""

    terms: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """All rows but those of `term`."""

    term: "Filter"


Filter: TypeAlias = Comparison | And | Or | Not


@dataclass(frozen=True, slots=True)
class Order:
    """Rows with a value come first, in this direction; then those where it is NaN; then those without."""

    field: Field
    descending: bool
