"""What a filter and an order mean, as a tree."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    dataset: tuple[str, str] | None = None
    """Of a metric of a logged model: name and digest of the dataset that it was measured on; None for any."""


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


def on_datasets(tree: Filter, datasets: Sequence[tuple[str, str]]) -> Filter:
    """The filter, where of metrics only those on one of the datasets count."""
    match tree:
        case And(terms):
            return And(tuple(on_datasets(term, datasets) for term in terms))
        case Or(terms):
            return Or(tuple(on_datasets(term, datasets) for term in terms))
        case Not(term):
            return Not(on_datasets(term, datasets))
        case Comparison(field) if field.kind is Kind.METRIC:
            each = tuple(replace(tree, field=replace(field, dataset=dataset)) for dataset in datasets)
            return each[0] if len(each) == 1 else Or(each)
        case Comparison():
            return tree
