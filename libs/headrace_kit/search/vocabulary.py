"""What may stand in a filter or an order over one kind of row."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from headrace_kit.search.tree import Field, Kind


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What may stand in a filter or an order over one kind of row."""

    prefixes: Mapping[str, Kind]
    attributes: Mapping[str, Field]
    """Every name, in lower case with "_" for blanks → the field."""
    numeric: frozenset[Field]
    """Attributes that hold numbers: times, in milliseconds since 1970-01-01 UTC."""

    def is_numeric(self, field: Field) -> bool:
        """Whether it compares with numbers, not with text."""
        return field.kind is Kind.METRIC or field in self.numeric


def attribute(key: str) -> Field:
    """The attribute of this canonical name."""
    return Field(Kind.ATTRIBUTE, key)


COMMON_PREFIXES: Final = {
    **dict.fromkeys(("attributes", "attribute", "attr"), Kind.ATTRIBUTE),
    **dict.fromkeys(("tags", "tag"), Kind.TAG),
}
DATASET_KEYS: Final = ("name", "digest", "context")
