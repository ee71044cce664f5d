"""The fields that runs and experiments have, under all their names."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from headrace_tracking.search.tree import Field, Kind

RUN_NAME_TAG: Final = "mlflow.runName"


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


def _attribute(key: str) -> Field:
    return Field(Kind.ATTRIBUTE, key)


_COMMON_PREFIXES: Final = {
    **dict.fromkeys(("attributes", "attribute", "attr"), Kind.ATTRIBUTE),
    **dict.fromkeys(("tags", "tag"), Kind.TAG),
}
RUNS: Final = Vocabulary(
    prefixes={
        **_COMMON_PREFIXES,
        "run": Kind.ATTRIBUTE,
        **dict.fromkeys(("metrics", "metric"), Kind.METRIC),
        **dict.fromkeys(("params", "param", "parameters", "parameter"), Kind.PARAM),
        **dict.fromkeys(("datasets", "dataset"), Kind.DATASET),
    },
    attributes={
        **dict.fromkeys(("run_id", "run_uuid"), _attribute("run_id")),
        **dict.fromkeys(("run_name", "name"), Field(Kind.TAG, RUN_NAME_TAG)),
        **dict.fromkeys(("user_id", "user"), _attribute("user_id")),
        **dict.fromkeys(("status", "state"), _attribute("status")),
        **dict.fromkeys(("start_time", "created"), _attribute("start_time")),
        "end_time": _attribute("end_time"),
    },
    numeric=frozenset({_attribute("start_time"), _attribute("end_time")}),
)
EXPERIMENTS: Final = Vocabulary(
    prefixes={**_COMMON_PREFIXES, "experiment": Kind.ATTRIBUTE},
    attributes={
        "experiment_id": _attribute("experiment_id"),
        "name": _attribute("name"),
        **dict.fromkeys(("create_time", "creation_time", "created"), _attribute("create_time")),
        **dict.fromkeys(("update_time", "last_update_time"), _attribute("update_time")),
    },
    numeric=frozenset({_attribute("create_time"), _attribute("update_time")}),
)
DATASET_KEYS: Final = ("name", "digest", "context")
